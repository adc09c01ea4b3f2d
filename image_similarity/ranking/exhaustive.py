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
