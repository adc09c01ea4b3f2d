"""Distances of stored vectors: all of them fast and nearly, or one exactly and the same on every machine.

What decides an order is computed from the stored float16 values in float64 with an exactly rounded sum, so that neither
the BLAS library nor the number of threads can move a hit; `bounded.py` says for which vectors that is needed.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Half = npt.NDArray[np.float16]

# Numbers that are widened to float32 at once: 64 MiB.
AT_ONCE = 2**24
# Numbers whose differences are widened to float64 at once: 32 MiB.
_DIFFERENCES = 2**22
# All float16 are multiples of 2^-24, and so are their differences. Up to 16 = 2^52 * 2^-48 squares of these and their
# sums are exact in float64, in whatever order they are added.
_EXACT_BELOW = 16.0


def squared_distances(vectors: Half, query: Half) -> npt.NDArray[np.float32]:
    """Give the squared Euclidean distances, float32 (N,), of float16 vectors (N, dim) to one (dim,), nearly."""
    wanted = query.astype(np.float32)
    distances = np.empty(len(vectors), dtype=np.float32)
    rows = max(1, AT_ONCE // max(1, len(query)))
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows].astype(np.float32)
        norms = np.einsum("nd,nd->n", block, block)
        distances[start : start + rows] = norms - 2.0 * (block @ wanted)
    return distances + np.float32(wanted @ wanted)


def exact_distance(vector: Half, query: Half) -> float:
    """Give the Euclidean distance of two stored vectors (dim,), the same float on every machine."""
    difference = vector.astype(np.float64) - query.astype(np.float64)
    return math.sqrt(math.fsum((difference * difference).tolist()))


def exact_distances(vectors: Half, query: Half) -> npt.NDArray[np.float64]:
    """Give what `exact_distance` gives for each of the stored vectors (n, dim), float64 (n,).

    For vectors of length 1 at the speed of numpy. A sum that came out below 16 was exact at every step, for rounding
    never makes a sum of squares smaller than one of its parts; the others are added up anew.
    """
    wanted = query.astype(np.float64)
    distances = np.empty(len(vectors), dtype=np.float64)
    step = max(1, _DIFFERENCES // max(1, len(query)))
    for start in range(0, len(vectors), step):
        differences = vectors[start : start + step].astype(np.float64) - wanted
        sums = np.einsum("nd,nd->n", differences, differences)
        distances[start : start + step] = np.sqrt(sums)
        for row in (np.flatnonzero(~(sums < _EXACT_BELOW)) + start).tolist():
            distances[row] = exact_distance(vectors[row], query)
    return distances
