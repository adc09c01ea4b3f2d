"""Every measure, once: what a model did query by query, and the statistics of many queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Ints = NDArray[np.int64]

# Scores this close count as equal, and a tie goes against the model: so neither the order of the pictures nor the
# rounding of a BLAS library decides. PDQ's scores, which are often equal, lie 1/128 apart.
TIE = 1e-6
_BLOCK = 256
CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What one model did in one task, query by query.

    Attributes:
        task: its name, such as "copies easy".
        kind: which statistics it has: "retrieval", "triplets", "scenes", "scene filter", "copies" or "pairs".
        queries: the file (and edit) of each of the N queries.
        groups: int64 (N,); queries of one number are resampled together.
        columns: float64 (N,) each, by name.
    """

    task: str
    kind: str
    queries: tuple[str, ...]
    groups: Ints
    columns: Mapping[str, Float64]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One number of many queries, for any weighting of them.

    Attributes:
        name: of the measure.
        of: from weights (B, N) to values (B,).
        values: float64 (N,), if the number is their mean over the queries in `among`; else None.
        among: bool (N,), the queries that count.
        lower_is_better: as for errors and losses.
    """

    name: str
    of: Callable[[Float64], Float64]
    values: Float64 | None
    among: NDArray[np.bool_]
    lower_is_better: bool = False


# Stored unit vectors are rounded to float16; those of length 0 are pictures that a model gave none.
_UNIT_TOLERANCE = 0.01


def as_products(queries: Float32, gallery: Float32) -> tuple[Float32, Float32]:
    """Return both so that a larger dot product is a smaller Euclidean distance.

    Unit vectors come back as they are. Of others, which a model with normalisation "none" gives, the dot product
    becomes -d^2 / 2: all are moved and scaled alike, which changes no order, so that `TIE` is as small beside them as
    beside unit vectors; and two columns hold what their lengths add.

    Args:
        queries: float32 (N, D).
        gallery: float32 (M, D).
    """
    if _are_unit(queries) and _are_unit(gallery):
        return queries, gallery
    mean = gallery.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = float(np.sqrt(np.square(gallery - mean).sum(axis=1, dtype=np.float64).mean())) or 1.0
    asking, asked = (queries - mean) / np.float32(spread), (gallery - mean) / np.float32(spread)
    halves = [-np.square(each).sum(axis=1, keepdims=True) / 2 for each in (asking, asked)]
    ones = [np.ones_like(each) for each in halves]
    return np.hstack([asking, halves[0], ones[0]]), np.hstack([asked, ones[1], halves[1]])


def _are_unit(vectors: Float32) -> bool:
    lengths = np.linalg.norm(vectors, axis=1)
    return bool(((np.abs(lengths - 1) <= _UNIT_TOLERANCE) | (lengths == 0)).all())


# -- query by query -----------------------------------------------------------------------------------------------


def retrieval_columns(vectors: Float32, labels: Ints) -> tuple[Ints, dict[str, Float64]]:
    """Return which pictures are queries, and their figures when each asks for all the others (leave one out).

    Recall@k is whether one of the first k is of the query's class, precision@5 the share of the first five that are.
    MAP@R (Musgrave et al., "A metric learning reality check", 2020) is the sum of the precision at each relevant place
    among the first R, over R; R is the number of other pictures of the query's class. Pictures that are alone in their
    class are no queries.

    Args:
        vectors: float32 (N, D), of any length; near is what `as_products` says.
        labels: int64 (N,), the class of each.
    """
    others = np.bincount(labels, minlength=1)[labels] - 1 if len(labels) else labels
    queries = np.flatnonzero(others > 0)
    names = ("recall@1", "recall@5", "recall@10", "precision@5", "mAP@R")
    if len(queries) == 0:
        return queries, {name: np.empty(0) for name in names}
    depth = min(len(labels) - 1, max(10, int(others.max())))
    both = as_products(vectors, vectors)
    parts = [
        _retrieval_block(both, labels, queries[start : start + _BLOCK], others, depth)
        for start in range(0, len(queries), _BLOCK)
    ]
    stacked = np.concatenate(parts, axis=1)
    return queries, dict(zip(names, stacked, strict=True))


def _retrieval_block(
    both: tuple[Float32, Float32], labels: Ints, rows: Ints, others: Ints, depth: int
) -> Float64:
    """The five figures (5, B) of a block of queries."""
    scores = both[0][rows] @ both[1].T
    relevant = labels[rows][:, None] == labels[None, :]
    scores -= np.float32(TIE) * relevant
    scores[np.arange(len(rows)), rows] = -np.inf
    nearest = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    order = np.argsort(-np.take_along_axis(scores, nearest, axis=1), axis=1, kind="stable")
    hits = np.take_along_axis(relevant, np.take_along_axis(nearest, order, axis=1), axis=1)
    wanted = others[rows]
    places = np.arange(1, depth + 1)
    precision = hits.cumsum(axis=1) / places
    inside = places[None, :] <= wanted[:, None]
    average = (precision * hits * inside).sum(axis=1) / wanted
    recalls = [hits[:, :k].any(axis=1).astype(np.float64) for k in (1, 5, 10)]
    return np.stack([*recalls, hits[:, :5].mean(axis=1), average])


def scene_columns(probabilities: Float32, truth: Ints) -> dict[str, Float64]:
    """Return, picture by picture, whether the true scene is named first or among the first five, and how surely.

    Args:
        probabilities: float32 (N, C).
        truth: int64 (N,), the number of the true scene.
    """
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)
    # Others with the same probability count as named before.
    before = (probabilities >= own).sum(axis=1) - 1
    return {
        "top-1": (before < 1).astype(np.float64),
        "top-5": (before < 5).astype(np.float64),
        "confidence": probabilities.max(axis=1).astype(np.float64),
    }


def copy_columns(
    queries: Float32, originals: Ints, gallery: Float32, *, owners: Ints
) -> dict[str, Float64]:
    """Return for each query its best score in the gallery, whether that is its original, and whether it has one.

    Args:
        queries: float32 (N, D), of edited pictures.
        originals: int64 (N,), the number of the picture that each was made of.
        gallery: float32 (M, D).
        owners: int64 (M,), the number of the picture that each is; -1 for distractors.
    """
    queries, gallery = as_products(queries, gallery)
    place = {int(owner): at for at, owner in enumerate(owners) if owner >= 0}
    own = np.array([place.get(int(each), -1) for each in originals], dtype=np.int64)
    score, correct = np.empty(len(queries)), np.zeros(len(queries))
    for start in range(0, len(queries), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(queries)))
        scores = queries[rows] @ gallery.T
        score[rows] = scores.max(axis=1)
        has = np.flatnonzero(own[rows] >= 0)
        mine = scores[has, own[rows][has]].copy()
        scores[has, own[rows][has]] = -np.inf
        correct[rows[has]] = mine > scores[has].max(axis=1) + TIE
    return {"score": score, "correct": correct, "matched": (own >= 0).astype(np.float64)}


def triplet_columns(vectors: Float32, triplets: Ints) -> dict[str, Float64]:
    """Return for each triplet (T, 3) of rows whether the positive is nearer to the query than the negative.

    Their mean is the similarity precision of Wang et al., "Learning fine-grained image similarity with deep ranking"
    (CVPR 2014).
    """
    asking, asked = as_products(vectors, vectors)
    query, (positive, negative) = asking[triplets[:, 0]], (asked[triplets[:, at]] for at in (1, 2))
    gap = np.einsum("nd,nd->n", query, positive) - np.einsum("nd,nd->n", query, negative)
    return {"right": (gap > TIE).astype(np.float64)}


# -- many queries -------------------------------------------------------------------------------------------------


def statistics(outcomes: Outcomes) -> list[Statistic]:
    """Return the measures that a task of this kind has, the main one first."""
    columns = outcomes.columns
    if outcomes.kind == "retrieval":
        names = ("mAP@R", "recall@1", "recall@5", "recall@10", "precision@5")
        return [mean_of(name, columns[name]) for name in names]
    if outcomes.kind == "triplets":
        return [mean_of("triplet accuracy", columns["right"])]
    if outcomes.kind == "scenes":
        error = Statistic(
            "calibration error",
            lambda weights: calibration_error(columns["confidence"], columns["top-1"], weights),
            None,
            np.ones(len(outcomes.queries), dtype=bool),
            lower_is_better=True,
        )
        return [
            mean_of("scene top-1", columns["top-1"]),
            mean_of("scene top-5", columns["top-5"]),
            error,
        ]
    if outcomes.kind == "scene filter":
        return [
            mean_of(name, columns[name], lower_is_better=name.endswith("loses")) for name in columns
        ]
    if outcomes.kind == "pairs":
        return _pooled(columns)
    return [_found(columns), *_pooled(columns), *_by_edit(columns)]


def mean_of(
    name: str,
    values: Float64,
    among: NDArray[np.bool_] | None = None,
    *,
    lower_is_better: bool = False,
) -> Statistic:
    """Return the mean of `values` (N,) over the queries in `among`, which are all unless given."""
    inside = np.ones(len(values), dtype=bool) if among is None else among

    def of(weights: Float64) -> Float64:
        return _over(weights @ (values * inside), weights @ inside.astype(np.float64))

    return Statistic(name, of, values, inside, lower_is_better)


def _found(columns: Mapping[str, Float64]) -> Statistic:
    return mean_of("recall@1", columns["correct"], columns["matched"] > 0)


def _pooled(columns: Mapping[str, Float64]) -> list[Statistic]:
    """The measures in which the scores of all queries compete."""
    score, correct, matched = (columns[name] for name in ("score", "correct", "matched"))
    everyone = np.ones(len(score), dtype=bool)
    return [
        Statistic(
            "micro-AP",
            lambda weights: micro_average_precision(score, correct, matched, weights),
            None,
            everyone,
        ),
        Statistic(
            "recall at 90 % precision",
            lambda weights: recall_at_precision(score, correct, matched, weights),
            None,
            everyone,
        ),
    ]


def _by_edit(columns: Mapping[str, Float64]) -> list[Statistic]:
    prefix = "edit: "
    return [
        mean_of(
            f"recall@1, {name.removeprefix(prefix)}",
            columns["correct"],
            (columns["matched"] > 0) & (columns[name] > 0),
        )
        for name in columns
        if name.startswith(prefix)
    ]


def micro_average_precision(
    score: Float64, correct: Float64, matched: Float64, weights: Float64
) -> Float64:
    """Return the micro average precision (B,) of the one answer that each query gives, all queries pooled.

    As in the image similarity challenge of 2021 (Douze et al.; Pizzi et al., "SSCD", CVPR 2022): the answers are
    sorted by score, and the precision at each correct one is averaged over all queries that have a match. Queries
    without a match can only do harm.

    Args:
        score: float64 (N,), of each query's answer.
        correct: (N,), 1 where the answer is right.
        matched: (N,), 1 where there is a right answer.
        weights: (B, N), how often each query counts.
    """
    right, precision = _precisions(score, correct, weights)
    return _over((right * precision).sum(axis=1), weights @ matched)


def recall_at_precision(
    score: Float64,
    correct: Float64,
    matched: Float64,
    weights: Float64,
    *,
    precision: float = 0.9,
) -> Float64:
    """Return the largest recall (B,) at which the pooled answers still have this precision; 0 if at none.

    See `micro_average_precision` for the arguments.
    """
    right, reached = _precisions(score, correct, weights)
    # Exactly nine of ten must count as 90 %, whatever the rounding.
    found = np.where(reached >= precision - 1e-12, right.cumsum(axis=1), 0.0).max(axis=1, initial=0)
    return _over(found, weights @ matched)


def _precisions(score: Float64, correct: Float64, weights: Float64) -> tuple[Float64, Float64]:
    """Weights of the correct answers by falling score (B, N), and the precision down to each."""
    # Among equal scores the wrong ones come first.
    order = np.lexsort((correct, -np.round(score / TIE)))
    ordered = weights[:, order]
    right = ordered * correct[order]
    answered = ordered.cumsum(axis=1)
    # 0 and not NaN before the first answer that was drawn: NaN would make the whole resample one without a figure.
    precision = np.zeros(answered.shape)
    np.divide(right.cumsum(axis=1), answered, out=precision, where=answered > 0)
    return right, precision


def calibration_error(
    confidence: Float64, right: Float64, weights: Float64, *, bins: int = CALIBRATION_BINS
) -> Float64:
    """Return the expected calibration error (B,): the mean gap of confidence and accuracy over equal bins.

    Guo et al., "On calibration of modern neural networks" (ICML 2017).

    Args:
        confidence: float64 (N,), the probability of the first label.
        right: (N,), 1 where that label is true.
        weights: (B, N).
        bins: between 0 and 1.
    """
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.zeros((len(confidence), bins))
    gaps[np.arange(len(confidence)), bin_of] = confidence - right
    return _over(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1))


def _over(above: Float64, below: Float64) -> Float64:
    """The quotient, NaN over 0: a resample without any such query has no figure."""
    result = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result
