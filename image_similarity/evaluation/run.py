"""One evaluation from request to result: read, refuse training pictures, embed, measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from image_similarity.errors import FolderMissing, NothingToEvaluate
from image_similarity.evaluation import reading, tasks
from image_similarity.evaluation.bootstrap import figures
from image_similarity.evaluation.embedders import Embedder, Facts, load_embedders, scripts_of
from image_similarity.evaluation.inputs import digest, labelled, numbers, read_input, setting
from image_similarity.evaluation.measures import Outcomes
from image_similarity.evaluation.reading import Account
from image_similarity.evaluation.request import EvaluationRequest
from image_similarity.evaluation.results import Evaluation, ModelResult
from image_similarity.evaluation.sources import Pairs, read_pairs, read_pictures
from image_similarity.evaluation.tasks import Labelled
from image_similarity.evaluation.training_pictures import UNTRAINED, check_unseen
from image_similarity.evaluation.work import Work
from image_similarity.events import Listener, ignore

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
    if not (request.edits or given.paired or (pictures and pictures.has_queries)):
        raise NothingToEvaluate(
            f"of {len(given.pictures)} pictures no task can be made: it takes two classes and two pictures of one",
            hint=_NO_TASK,
        )
    embedders = load_embedders(request.models, device=request.device)
    digests = {
        each.file.name: each.sha256 for each in (*given.pictures, *given.gallery, *given.paired)
    }
    training = [_training(each.facts, digests) for each in embedders]
    if request.background is not None:
        _centre(embedders, request, account)
    work = Work(request, given, embedders, account)
    outcomes = work.outcomes()
    facts = [each.facts for each in embedders]
    return Evaluation(
        setting(request, given),
        (*given.notes, *work.notes),
        tuple(
            _result(each, said, mine, request)
            for each, said, mine in zip(facts, training, outcomes, strict=True)
        ),
        tuple(account.failures),
    )


def _training(facts: Facts, digests: Mapping[str, str]) -> str:
    if facts.kind == "descriptor":
        return UNTRAINED
    return check_unseen(facts.name, facts.weights, digests)


def _centre(embedders: Sequence[Embedder], request: EvaluationRequest, account: Account) -> None:
    """Centre the TorchScript files on the background's mean: on the evaluated pictures' it would be fitted to them."""
    scripts = scripts_of(embedders)
    if not scripts or request.background is None:
        return
    files, _ = read_pictures(request.background, root=request.root)
    _, found = reading.embed_files(files, scripts, account, what="background", side=request.side)
    for script, embedded in zip(scripts, found, strict=True):
        if len(embedded.vectors) == 0:
            raise FolderMissing(f"{request.background} holds no picture that can be read")
        script.centre(embedded.vectors.mean(axis=0, dtype=np.float64).astype(np.float32))


def _on_database(request: EvaluationRequest) -> Evaluation:
    from image_similarity.evaluation.database import read_stored

    assert request.database is not None  # noqa: S101 - the caller looked
    stored = read_stored(request.database, request.models)
    digests = dict(zip(stored.names, stored.sha256, strict=True))
    training = [_training(facts, digests) for facts, _ in stored.models]
    notes: list[str] = []
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
    if request.pairs is not None:
        names, asked = _as_stored(stored.paths, stored.names, read_pairs(request.pairs))
        tasks.by_pairs(done, names, asked, [each for _, each in stored.models], notes=notes)
    if not any(done):
        raise NothingToEvaluate(
            f"of {request.database} no task can be made: its pictures lie in fewer than two folders",
            hint="name pairs: --pairs FILE.csv",
        )
    setting = {
        "database": str(request.database),
        "pictures": len(stored.names),
        "classes": len(set(pictures.labels)),
        "pairs": None if request.pairs is None else str(request.pairs),
        **numbers(request),
        "digest": digest([stored.sha256, stored.names]),
    }
    results = [
        _result(facts, said, mine, request)
        for (facts, _), said, mine in zip(stored.models, training, done, strict=True)
    ]
    return Evaluation(setting, tuple(notes), tuple(results), ())


def _as_stored(
    paths: Sequence[Sequence[str]], names: Sequence[str], asked: Pairs
) -> tuple[Sequence[str], Pairs]:
    """A pairs file with every picture under the name that the database gives it."""
    name_of = {way: name for name, ways in zip(names, paths, strict=True) for way in ways}
    return names, Pairs(
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
