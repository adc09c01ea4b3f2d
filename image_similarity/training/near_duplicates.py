"""Validation pictures that were learned from, exactly or nearly: they would flatter the figures."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from image_similarity.encoding.training_hashes import HASH_BYTES
from image_similarity.training.split import Part

_BLOCK = 1_000


def parts_of(
    validates: NDArray[np.bool_],
    sha256: Sequence[str],
    vectors: NDArray[np.float32],
    *,
    threshold: float,
    known: Collection[bytes] = (),
) -> list[Part]:
    """Return the part of each picture; what was learned from elsewhere is taken out of the validation.

    Args:
        validates: bool (N,), the split before this scan.
        sha256: the hash of each file.
        vectors: float32 (N, D), unit vectors by the start model; a row with NaN is near nothing.
        threshold: cosine from which on two pictures count as near-duplicates.
        known: the first bytes of the hash, as many as a model file keeps, of the pictures that the start model
            was trained on.
    """
    parts: list[Part] = ["validation" if each else "training" for each in validates]
    trained = {sha for sha, apart in zip(sha256, validates.tolist(), strict=True) if not apart}
    taught = frozenset(known)
    others = vectors[~validates].T
    rows = np.flatnonzero(validates)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        near: NDArray[np.bool_] = np.any((vectors[block] @ others) >= threshold, axis=1)
        for row, is_near in zip(block.tolist(), near.tolist(), strict=True):
            if sha256[row] in trained:
                parts[row] = "exact copy"
            elif bytes.fromhex(sha256[row])[:HASH_BYTES] in taught:
                parts[row] = "known to the start model"
            elif is_near:
                parts[row] = "near-duplicate"
    return parts
