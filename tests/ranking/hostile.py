"""Vectors that a bound may fail at: ties, duplicates, zeros, one far cluster, lengths from tiny to huge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Half = npt.NDArray[np.float16]

KINDS = (
    "random",
    "normalised",
    "clustered",
    "far cluster",
    "duplicates",
    "zeros",
    "ties",
    "lengths",
    "axes",
    "large",
    "tiny",
)


def make(kind: str, n: int, dim: int, seed: int) -> Half:
    """Vectors float16 (n, dim) of a kind; the query is meant to be one of them, or near one."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n, dim))
    if kind == "normalised":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    elif kind == "clustered":
        vectors = vectors[random.integers(max(1, n // 10), size=n)] + 0.05 * vectors
    elif kind == "far cluster":
        vectors = 0.01 * vectors
        vectors[: n // 2] += 1000
    elif kind == "duplicates":
        vectors = vectors[random.integers(3, size=n) % n]
    elif kind == "zeros":
        vectors[random.random(n) < 0.5] = 0
    elif kind == "ties":
        vectors = random.integers(-1, 2, size=(n, dim)).astype(float)
    elif kind == "lengths":
        vectors *= 10.0 ** random.integers(-4, 4, size=(n, 1))
    elif kind == "axes":
        vectors = np.zeros((n, dim))
        vectors[np.arange(n), random.integers(dim, size=n)] = random.choice([-1.0, 1.0], size=n)
    elif kind == "large":
        vectors = np.clip(vectors * 30_000, -65_000, 65_000)
    elif kind == "tiny":
        vectors *= 1e-6
    return vectors.astype(np.float16)


def distances(vectors: Half, query: Half) -> npt.NDArray[np.float64]:
    """The distances by brute force in float64."""
    difference = vectors.astype(np.float64) - query.astype(np.float64)
    return np.sqrt((difference * difference).sum(axis=1))
