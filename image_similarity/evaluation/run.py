"""One evaluation from request to result: read, refuse training pictures, embed, measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from image_similarity.errors import FolderMissing, InvalidSetting, NothingToEvaluate
from image_similarity.evaluation import reading, tasks
from image_similarity.evaluation.bootstrap import figures
from image_similarity.evaluation.embedders import Embedder, Facts, load_embedders, scripts_of
from image_similarity.evaluation.inputs import Input, digest, labelled, numbers, read_input, setting
from image_similarity.evaluation.measures import Outcomes
from image_similarity.evaluation.reading import Account
from image_similarity.evaluation.request import EvaluationRequest
from image_similarity.evaluation.results import Evaluation, ModelResult
from image_similarity.evaluation.sources import Pairs, read_pairs, read_pictures
from image_similarity.evaluation.tasks import Labelled
from image_similarity.evaluation.training_pictures import UNTRAINED, check_unseen
from image_similarity.evaluation.work import Work
from image_similarity.events import Listener, ignore

if TYPE_CHECKING:
    from image_similarity.evaluation.database import StoredPictures

# What a list without classes is told, and a folder of pictures that lie flat.
_NO_TASK = (
    "name a folder with a folder for each class, a list with classes, --edits, or --pairs FILE.csv"
)


def evaluate(request: EvaluationRequest, *, on_event: Listener = ignore) -> Evaluation:
    """Measure models on pictures, pairs or a database, and return their figures with intervals.

    Every task that the input allows is done: classes give retrieval, drawn triplets and, where all are scenes of a
    model, its scene figures; `edits` give copy detection and what the scene filter does to copies; a pairs file gives
    pairs or triplets. The same request gives the same figures.

    Raises:
        InvalidSetting, FolderMissing: the request is wrong.
        NothingToEvaluate: no task can be made of it.
        TrainingPicturesMet: a model was trained on one of the files.
        ModelError, DatabaseError, ExtraMissing.
    """
    request.check()
    if request.database is not None:
        return _on_database(request)
    return _on_files(request, on_event)


def _on_files(request: EvaluationRequest, on_event: Listener) -> Evaluation:
    account = Account(on_event)
    given = read_input(request, account)
    pictures = labelled([each.file for each in given.pictures])
    if not (request.edits or given.paired or pictures.has_queries):
        raise NothingToEvaluate(
            f"of {len(given.pictures)} pictures no task can be made: it takes two classes and two pictures of one",
            hint=_NO_TASK,
        )
    embedders = load_embedders(request.models, device=request.device)
    names = {
        each.sha256: each.file.name for each in (*given.pictures, *given.gallery, *given.paired)
    }
    training = [_training(each.facts, names) for each in embedders]
    if request.background is not None:
        _centre(embedders, request, given, account)
    work = Work(request, given, embedders, account)
    outcomes = work.outcomes()
    facts = [each.facts for each in embedders]
    return Evaluation(
        setting(request, given),
        (*given.notes, *work.notes, *_idle_background(embedders, request)),
        tuple(
            _result(each, said, mine, request)
            for each, said, mine in zip(facts, training, outcomes, strict=True)
        ),
        tuple(account.failures),
    )


def _idle_background(embedders: Sequence[Embedder], request: EvaluationRequest) -> list[str]:
    if request.background is None or scripts_of(embedders):
        return []
    return ["no model is a TorchScript file: the background changes nothing"]


def _training(facts: Facts, names: Mapping[str, str]) -> str:
    if facts.kind == "descriptor":
        return UNTRAINED
    return check_unseen(facts.name, facts.weights, names)


def _centre(
    embedders: Sequence[Embedder], request: EvaluationRequest, given: Input, account: Account
) -> None:
    """Centre the TorchScript files on the background's mean: on the evaluated pictures' it would be fitted to them.

    Raises:
        FolderMissing: the background holds no picture.
        InvalidSetting: a picture of the background is evaluated.
    """
    scripts = scripts_of(embedders)
    if not scripts or request.background is None:
        return
    files, failures = read_pictures(request.background, root=request.root)
    for failure in failures:
        account.fail(failure)
    pictures = reading.hash_pictures(files, account)
    asked = {each.sha256 for each in (*given.pictures, *given.gallery, *given.paired)}
    met = [each.file.name for each in pictures if each.sha256 in asked]
    if met:
        raise InvalidSetting(
            f"{len(met)} pictures of the background are evaluated; the first is {met[0]}",
            hint="the mean must be that of other pictures, or the models are fitted to those evaluated",
        )
    files = [each.file for each in pictures]
    _, found = reading.embed_files(files, scripts, account, what="background", side=request.side)
    for script, embedded in zip(scripts, found, strict=True):
        if len(embedded.vectors) == 0:
            raise FolderMissing(f"{request.background} holds no picture that can be read")
        script.centre(embedded.vectors.mean(axis=0, dtype=np.float64).astype(np.float32))


def _on_database(request: EvaluationRequest) -> Evaluation:
    from image_similarity.evaluation.database import read_stored

    assert request.database is not None  # noqa: S101 - the caller looked
    stored = read_stored(request.database, request.models)
    names = dict(zip(stored.sha256, stored.names, strict=True))
    training = [_training(facts, names) for facts, _ in stored.models]
    notes: list[str] = []
    if stored.left_out:
        notes.append(f"{stored.left_out} pictures without a vector of every model are left out")
    done: list[list[Outcomes]] = [[] for _ in stored.models]
    chosen = np.array(
        [row for row, label in enumerate(stored.labels) if label is not None], dtype=int
    )
    pictures = Labelled(
        tuple(stored.names[row] for row in chosen),
        tuple(label for label in stored.labels if label is not None),
    )
    if len(chosen) < len(stored.labels):
        notes.append(
            f"{len(stored.labels) - len(chosen)} pictures without a class: in no folder of their source, or in several"
        )
    if pictures.has_queries:
        models = [(facts, embedded.rows(chosen)) for facts, embedded in stored.models]
        tasks.by_class(done, pictures, models, seed=request.seed, notes=notes)
    asked = Pairs() if request.pairs is None else _as_stored(stored, request.pairs)
    if request.pairs is not None:
        tasks.by_pairs(done, stored.names, asked, [each for _, each in stored.models], notes=notes)
    if not any(each.queries for mine in done for each in mine):
        raise NothingToEvaluate(
            f"of {request.database} no task can be made: its pictures lie in fewer than two folders"
            + (f", and it holds no row of {request.pairs} whole" if request.pairs else ""),
            hint="name pairs: --pairs FILE.csv, with pictures as hits print them",
        )
    setting = {
        "database": str(request.database),
        "pictures": len(stored.names),
        "classes": len(set(pictures.labels)),
        "pairs": None if request.pairs is None else str(request.pairs),
        **numbers(request),
        "digest": digest([stored.sha256, stored.names, asked.pairs, asked.triplets]),
    }
    results = [
        _result(facts, said, mine, request)
        for (facts, _), said, mine in zip(stored.models, training, done, strict=True)
    ]
    return Evaluation(setting, tuple(notes), tuple(results), ())


def _as_stored(stored: StoredPictures, source: Path) -> Pairs:
    """A pairs file with every picture under the name that the database gives it.

    Raises:
        InvalidSetting: several pictures have a name, as IMG_0001.jpg in two sources.
    """
    meant: dict[str, set[str]] = {}
    for name, ways in zip(stored.names, stored.paths, strict=True):
        for way in ways:
            meant.setdefault(way, set()).add(name)
    asked = read_pairs(source)
    for each in asked.names:
        if len(meant.get(each, ())) > 1:
            raise InvalidSetting(
                f"{source}: the database holds several pictures at {each}", hint="write SOURCE:PATH"
            )
    name_of = {way: min(names) for way, names in meant.items()}
    return Pairs(
        tuple((name_of.get(a, a), name_of.get(b, b), same) for a, b, same in asked.pairs),
        tuple(
            (name_of.get(q, q), name_of.get(p, p), name_of.get(n, n)) for q, p, n in asked.triplets
        ),
    )


def _result(
    facts: Facts, training: str, outcomes: list[Outcomes], request: EvaluationRequest
) -> ModelResult:
    kept = [each for each in outcomes if each.queries]
    return ModelResult(
        facts.name,
        facts.kind,
        facts.fingerprint,
        facts.dim,
        training,
        facts.centred,
        tuple(
            figure
            for each in kept
            for figure in figures(each, resamples=request.resamples, seed=request.seed)
        ),
        tuple(kept),
    )
