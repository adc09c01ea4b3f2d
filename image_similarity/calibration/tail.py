"""How near unrelated reference pictures lie to each other, in units of how near a picture lies to all others."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from image_similarity.values import TAIL_STEPS

Floats = npt.NDArray[np.float64]

# Steps of a power of ten of probability.
PER_DECADE = 10
# Measured on held-out pictures: as good as 0.05 where few pictures are related, and better where many are.
_NEAREST_SHARE = 0.5
_LEAST = 1e-3
# Below this all pictures lie alike far, and nothing is near.
LEAST_SPREAD = 1e-9
# So many unrelated pairs, at least, stand behind the end of a tail.
_PAIRS_AT_END = 10
# Of more reference pictures so many are drawn: 9 million pairs.
_MOST = 3_000


def measure_tail(
    embeddings: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], *, seed: int = 1
) -> tuple[float, ...]:
    """Return which scores unrelated reference pictures reach with probability 1, 10^-0.1, 10^-0.2, ... 10^-5.

    Args:
        embeddings: unit vectors (N, D); compared as the store keeps them, in float16.
        labels: the scene of each picture (N,); pictures of two scenes are unrelated.
        seed: draws 3,000 of more pictures.

    Returns:
        Scores, rising; empty where fewer than ten pairs would stand behind the last.
    """
    vectors, scenes = np.asarray(embeddings).astype(np.float16).astype(np.float64), labels
    if len(vectors) > _MOST:
        drawn = np.random.default_rng(seed).choice(len(vectors), _MOST, replace=False)
        vectors, scenes = vectors[drawn], labels[drawn]
    found = []
    for at, vector in enumerate(vectors):
        others = np.delete(np.arange(len(vectors)), at)
        distances = np.linalg.norm(vectors[others] - vector, axis=1)
        mean, spread = moments(distances)
        if spread > LEAST_SPREAD:
            unrelated = distances[scenes[others] != scenes[at]]
            found.append((scores_of(unrelated) - mean) / spread)
    pooled = np.sort(np.concatenate(found)) if found else np.empty(0)
    shares = 10.0 ** -(np.arange(TAIL_STEPS) / PER_DECADE)
    if len(pooled) * shares[-1] < _PAIRS_AT_END:
        return ()
    # The score that this share of all pairs reaches or surpasses.
    at_rank = len(pooled) - np.ceil(shares * len(pooled)).astype(np.int64)
    return tuple(np.round(pooled[at_rank], 4).tolist())


def moments(distances: Floats) -> tuple[float, float]:
    """Return mean and standard deviation of -log(distance) over the farther half of some distances (n,).

    The nearer half may hold pictures that are related, of which a case has more than a reference set; in both it is
    left out alike. The deviation is 0 where fewer than two remain.
    """
    kept = np.sort(distances)[math.ceil(len(distances) * _NEAREST_SHARE) :]
    if len(kept) < 2:
        return 0.0, 0.0
    scores = scores_of(kept)
    return float(scores.mean()), float(scores.std())


def scores_of(distances: Floats) -> Floats:
    """Return -log of distances (n,), greater the nearer; bounded, as 0 has no logarithm."""
    scores: Floats = -np.log(np.maximum(distances, _LEAST))
    return scores
