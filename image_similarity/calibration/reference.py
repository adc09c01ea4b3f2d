"""The reference table of a model: how often pictures that are not the same come as close as a hit."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from image_similarity.calibration.tail import measure_tail
from image_similarity.values import DISTANCE_STEPS, AsClose, DistanceTable, Share

_Z95 = NormalDist().inv_cdf(0.975)
_PER_UNIT = DISTANCE_STEPS // 2
# Distances carry the rounding of float64 sums: one a hair above a step counts as the step.
_DIGITS = 6


def measure_distances(
    embeddings: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    *,
    fingerprint: str,
    made_on: str,
    seed: int = 1,
) -> DistanceTable:
    """Return the reference table of pictures that were not trained on, all of them different pictures.

    Each picture stands in at most one unrelated pair and in at most one pair of its scene, so the pairs of a kind are
    independent of each other and their number is the n of an interval. All pairs of 3,000 pictures would be 4.5
    million, which share those 3,000 pictures and are worth little more than 1,500.

    Args:
        embeddings: unit vectors (N, D); compared as the store keeps them, in float16.
        labels: the scene of each picture (N,); pictures of two scenes are unrelated.
        fingerprint: that of the model.
        made_on: what the pictures are, in words.
        seed: of the drawing of pairs.

    Raises:
        ValueError: the lengths differ, or no pair of one of the kinds can be made.
    """
    if len(embeddings) != len(labels):
        raise ValueError(f"{len(embeddings)} embeddings, but {len(labels)} labels")
    random = np.random.default_rng(seed)
    vectors = np.asarray(embeddings).astype(np.float16).astype(np.float64)
    counts = []
    for pairs in (unrelated_pairs(labels, random), same_scene_pairs(labels, random)):
        if not len(pairs):
            raise ValueError("pictures of two scenes, two of one of them, are needed at least")
        distances = np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1)
        steps = np.ceil(np.round(distances * _PER_UNIT, _DIGITS)).astype(np.int64)
        found = np.bincount(steps.clip(0, DISTANCE_STEPS), minlength=DISTANCE_STEPS + 1)
        counts.append(tuple(np.cumsum(found).tolist()))
    return DistanceTable(
        fingerprint=fingerprint,
        made_on=made_on,
        pictures=len(labels),
        unrelated=counts[0],
        same_scene=counts[1],
        tail=measure_tail(embeddings, labels, seed=seed),
    )


def unrelated_pairs(
    labels: npt.NDArray[np.integer], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return disjoint pairs (P, 2) of positions with different labels, drawn at random.

    All are paired at random; those that met their own label are paired again among themselves until no two labels are
    left, or only such as do not find each other in ten rounds.
    """
    found: list[npt.NDArray[np.int64]] = []
    rest = np.arange(len(labels), dtype=np.int64)
    rounds = 0
    while rounds < 10 and len(np.unique(labels[rest])) > 1:
        rest = random.permutation(rest)
        pairs = rest[: len(rest) // 2 * 2].reshape(-1, 2)
        differ = labels[pairs[:, 0]] != labels[pairs[:, 1]]
        found.append(pairs[differ])
        rest = np.concatenate([pairs[~differ].ravel(), rest[len(pairs) * 2 :]])
        rounds = 0 if differ.any() else rounds + 1
    return np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)


def same_scene_pairs(
    labels: npt.NDArray[np.integer], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return disjoint pairs (P, 2) of positions with one label, drawn at random within each label."""
    found = [np.empty((0, 2), dtype=np.int64)]
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        found.append(rows[: len(rows) // 2 * 2].reshape(-1, 2))
    return np.concatenate(found)


def as_close(table: DistanceTable, distance: float) -> AsClose:
    """Return how many of the table's pairs lie at this distance or nearer.

    A distance between two steps is taken for the larger one, which never makes a hit look rarer than it is.

    Raises:
        ValueError: the distance is negative or not a number.
    """
    if not distance >= 0:
        raise ValueError(f"{distance} is no distance")
    step = min(math.ceil(round(min(distance, 2.0) * _PER_UNIT, _DIGITS)), DISTANCE_STEPS)
    return AsClose(
        unrelated=share(table.unrelated[step], table.unrelated[-1]),
        same_scene=share(table.same_scene[step], table.same_scene[-1]),
    )


def share(count: int, pairs: int) -> Share:
    """Return a count of independent pairs with its 95 % interval.

    Wilson's interval (1927; recommended by Brown, Cai and DasGupta, "Interval estimation for a binomial proportion",
    2001); at zero the rule of three (Hanley and Lippman-Hand, 1983): up to 3/n.
    """
    if count == 0:
        return Share(count, pairs, 0.0, min(1.0, 3 / pairs))
    spread = _Z95 * _Z95 / pairs
    observed = count / pairs
    middle = (observed + spread / 2) / (1 + spread)
    half = math.sqrt(observed * (1 - observed) * spread + spread * spread / 4) / (1 + spread)
    # Rounding must not push the observed share itself out of its interval.
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Share(count, pairs, min(low, observed), max(high, observed))
