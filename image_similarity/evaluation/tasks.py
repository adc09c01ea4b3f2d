"""The tasks: from vectors and labels to the outcome of every query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from image_similarity.evaluation.embedders import Facts
from image_similarity.evaluation.measures import (
    Ints,
    Outcomes,
    as_products,
    copy_columns,
    retrieval_columns,
    scene_columns,
    triplet_columns,
)
from image_similarity.evaluation.reading import Embedded
from image_similarity.evaluation.scene_filter import hidden_shares, lost_shares
from image_similarity.evaluation.sources import Pairs, plain_name

# Triplets that are drawn for each picture, unless a file names them.
TRIPLETS_PER_PICTURE = 5


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pictures with their classes: N names for people, and N classes."""

    names: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def numbers(self) -> Ints:
        """The class of each picture as a number, int64 (N,)."""
        return np.unique(np.array(self.labels, dtype=object), return_inverse=True)[1].astype(
            np.int64
        )

    @property
    def has_queries(self) -> bool:
        """Whether there are two classes, and a picture that is not alone in its own."""
        counts = np.bincount(self.numbers) if self.labels else np.empty(0)
        return len(counts) > 1 and bool((counts > 1).any())


@dataclass(frozen=True, slots=True)
class Copies:
    """Edited copies and where to look for their originals.

    Attributes:
        set_name: of the edits.
        queries: a name for each of M copies.
        edits: M names.
        sources: int64 (M,), the number of the original of each.
        rows: int64 (M,), which of all embedded copies these are.
        owners: int64 (G,), the number of the original that each picture of the gallery is; -1 for others.
    """

    set_name: str
    queries: tuple[str, ...]
    edits: tuple[str, ...]
    sources: Ints
    rows: Ints
    owners: Ints


def retrieval(pictures: Labelled, vectors: NDArray[np.float32]) -> Outcomes:
    """Return the outcomes of asking with each picture for the others of its class."""
    queries, columns = retrieval_columns(vectors, pictures.numbers)
    names = tuple(pictures.names[row] for row in queries)
    return Outcomes("retrieval", "retrieval", names, queries, columns)


def drawn_triplets(labels: Ints, *, seed: int) -> Ints:
    """Return triplets of rows, int64 (T, 3): each picture, another of its class, one of another class; drawn."""
    generator = np.random.default_rng([seed, 3])
    everyone = np.arange(len(labels))
    members = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
    strangers = {label: np.setdiff1d(everyone, inside) for label, inside in members.items()}
    rows = []
    for query, label in enumerate(labels):
        own = members[int(label)]
        own = own[own != query]
        if len(own) == 0 or len(strangers[int(label)]) == 0:
            continue
        for _ in range(TRIPLETS_PER_PICTURE):
            rows.append((query, generator.choice(own), generator.choice(strangers[int(label)])))
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def triplets(
    names: Sequence[str], vectors: NDArray[np.float32], rows: Ints, *, task: str
) -> Outcomes:
    """Return the outcomes of triplets (T, 3) of rows."""
    queries = tuple(" | ".join(names[each] for each in row) for row in rows)
    return Outcomes(task, "triplets", queries, rows[:, 0], triplet_columns(vectors, rows))


def scenes(pictures: Labelled, facts: Facts, probabilities: NDArray[np.float32]) -> Outcomes:
    """Return the outcomes of naming the scene; every class must be one of the model's scenes."""
    number_of = scene_numbers(facts)
    truth = np.array([number_of[plain_name(label)] for label in pictures.labels], dtype=np.int64)
    columns = scene_columns(probabilities, truth)
    return Outcomes("scenes", "scenes", pictures.names, np.arange(len(truth)), columns)


def scene_numbers(facts: Facts) -> dict[str, int]:
    """Return the number of each scene that a model knows, by its plain name."""
    return {plain_name(scene): number for number, scene in enumerate(facts.scenes)}


def copies(task: Copies, found: Embedded, gallery: Embedded) -> Outcomes:
    """Return the outcomes of looking for the originals of edited copies."""
    columns = copy_columns(
        found.vectors[task.rows], task.sources, gallery.vectors, owners=task.owners
    )
    for name in dict.fromkeys(task.edits):
        columns[f"edit: {name}"] = np.array([each == name for each in task.edits], dtype=np.float64)
    return Outcomes(f"copies {task.set_name}", "copies", task.queries, task.sources, columns)


def scene_filter(
    task: Copies,
    facts: Facts,
    found: Embedded,
    originals: Mapping[int, int],
    scenes_of_originals: NDArray[np.float32],
    scenes_of_gallery: NDArray[np.float32],
) -> Outcomes:
    """Return what the filters `auto` and `hard` hide and lose, copy by copy.

    Args:
        task: the copies; those without a match count, too, against their own original.
        facts: of a model that knows scenes.
        found: all embedded copies.
        originals: the row in `scenes_of_originals` of each original, by its number.
        scenes_of_originals: float32 (N, C).
        scenes_of_gallery: float32 (G, C).
    """
    assert found.scenes is not None  # noqa: S101 - the caller asks models with scenes only
    mine = found.scenes[task.rows]
    own = scenes_of_originals[[originals[int(each)] for each in task.sources]]
    columns = {}
    settings = {"auto": (facts.scene_top_k, facts.scene_mass), "hard": (1, 1.0)}
    for name, asked in settings.items():
        columns[f"{name} loses"] = lost_shares(own, mine, asked=asked, stored=asked[0])
        columns[f"{name} hides"] = hidden_shares(
            mine, scenes_of_gallery, asked=asked, stored=asked[0]
        )
    return Outcomes(
        f"scene filter {task.set_name}", "scene filter", task.queries, task.sources, columns
    )


def pairs(names: Sequence[str], vectors: NDArray[np.float32], asked: Pairs) -> Outcomes:
    """Return the scores of pairs; those that show the same are the matches. Rows that are missing are left out."""
    place = {name: row for row, name in enumerate(names)}
    rows = [row for row in asked.pairs if row[0] in place and row[1] in place]
    asking, asked_for = as_products(vectors, vectors)
    first = asking[[place[a] for a, _, _ in rows]]
    second = asked_for[[place[b] for _, b, _ in rows]]
    same = np.array([same for _, _, same in rows], dtype=np.float64)
    score = np.einsum("nd,nd->n", first, second).astype(np.float64)
    groups = np.unique([a for a, _, _ in rows], return_inverse=True)[1].astype(np.int64)
    queries = tuple(f"{a} | {b}" for a, b, _ in rows)
    columns = {"score": score, "correct": same, "matched": same}
    return Outcomes("pairs", "pairs", queries, groups, columns)


def named_triplets(names: Sequence[str], asked: Pairs) -> Ints:
    """Return the triplets of a pairs file as rows, int64 (T, 3); those with a missing file are left out."""
    place = {name: row for row, name in enumerate(names)}
    rows = [[place[each] for each in row] for row in asked.triplets if set(row) <= set(place)]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def by_class(
    done: list[list[Outcomes]],
    pictures: Labelled,
    models: Sequence[tuple[Facts, Embedded]],
    *,
    seed: int,
    notes: list[str],
) -> None:
    """Add, for each model, what classes allow: retrieval, drawn triplets, scenes."""
    drawn = drawn_triplets(pictures.numbers, seed=seed)
    for mine, (facts, found) in zip(done, models, strict=True):
        if pictures.has_queries:
            mine.append(retrieval(pictures, found.vectors))
            mine.append(triplets(pictures.names, found.vectors, drawn, task="drawn triplets"))
        if found.scenes is None:
            continue
        classes = {plain_name(label) for label in pictures.labels}
        known = classes & set(scene_numbers(facts))
        if known == classes:
            mine.append(scenes(pictures, facts, found.scenes))
        elif known:
            notes.append(
                f"{len(known)} of {len(classes)} classes are scenes of {facts.name}: its scenes are not measured"
            )


def by_pairs(
    done: list[list[Outcomes]],
    names: Sequence[str],
    asked: Pairs,
    found: Sequence[Embedded],
    *,
    notes: list[str],
) -> None:
    """Add, for each model, the outcomes of the rows of a pairs file."""
    rows = named_triplets(names, asked)
    if len({same for _, _, same in asked.pairs}) == 1:
        notes.append("all pairs have one answer: their figures say nothing of telling them apart")
    for mine, embedded in zip(done, found, strict=True):
        if asked.pairs:
            mine.append(pairs(names, embedded.vectors, asked))
        if len(rows):
            mine.append(triplets(names, embedded.vectors, rows, task="triplets"))
    used = len(rows) + (len(done[0][-1].queries) if asked.pairs else 0)
    missing = len(asked.pairs) + len(asked.triplets) - used
    if missing:
        notes.append(
            f"{missing} rows of the pairs file name pictures that are not there and are left out"
        )
