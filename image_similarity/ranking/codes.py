"""Compact codes of vectors: 8 bits a number with a bound of what that loses, and 1 bit a number.

The 8-bit code of a vector x is a row c of whole numbers from -127 to 127 and one scale s, so that s * c is near x; the
error is an upper bound of the length of x - s * c. The search derives from it how far x can be from a query.

The bits are the signs of x after a rotation that spreads every direction over all numbers: then the share of bits in
which two vectors differ estimates the angle between them (Charikar, Similarity estimation techniques from rounding
algorithms, STOC 2002). The rotation is that of the RaBitQ library (Gao and Long, SIGMOD 2024): four times, flip the
signs by chance and apply a Hadamard matrix to the first, then the last, 2^m numbers. It needs no stored matrix, and
its signs come from SHAKE-256 of a fixed text, so it is the same on every machine and for ever.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from image_similarity.ranking import kernels
from image_similarity.values import PackedCodes

Half = npt.NDArray[np.float16]

LARGEST = 127
ROUNDS = 4
# Numbers that are encoded at once: 8 MiB as float64.
_AT_ONCE = 2**20
# Up to so many dimensions one matrix product is faster than the steps of the rotation.
_LARGEST_MATRIX = 1024
# The norm of a residual is computed in float64 from at most 2^22 numbers: its relative error is below 2^22 * 2^-53.
_ROUNDED_UP = 1.0 + 2.0**-30


def encode(vectors: Half) -> PackedCodes:
    """Encode finite vectors, float16 (n, dim)."""
    n, dim = vectors.shape
    packed = PackedCodes(
        codes=np.empty((n, dim), dtype=np.int8),
        scales=np.empty(n, dtype=np.float32),
        errors=np.empty(n, dtype=np.float32),
        bits=np.empty((n, (dim + 7) // 8), dtype=np.uint8),
    )
    rows = max(1, _AT_ONCE // max(1, dim))
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        _encode(
            vectors[part],
            packed.codes[part],
            packed.scales[part],
            packed.errors[part],
        )
        packed.bits[part] = signs(vectors[part])
    return packed


def _encode(
    vectors: Half,
    codes: npt.NDArray[np.int8],
    scales: npt.NDArray[np.float32],
    errors: npt.NDArray[np.float32],
) -> None:
    wide = vectors.astype(np.float64)
    scales[:] = np.abs(wide).max(axis=1, initial=0.0) / LARGEST
    # The scale as it is stored, rounded, is the one that the residual must be of. Zero vectors have scale 0, code 0.
    scale = scales.astype(np.float64)[:, None]
    wholes = np.rint(np.divide(wide, scale, out=np.zeros_like(wide), where=scale > 0))
    codes[:] = np.clip(wholes, -LARGEST, LARGEST)
    norms = _residual_norms(wide, scales, codes) * _ROUNDED_UP
    errors[:] = norms
    errors[:] = np.where(errors < norms, np.nextafter(errors, np.float32(np.inf)), errors)


def _residual_norms(
    wide: npt.NDArray[np.float64], scales: npt.NDArray[np.float32], codes: npt.NDArray[np.int8]
) -> npt.NDArray[np.float64]:
    """The length, (n,), of what each code leaves of its vector (n, dim)."""
    residuals = wide - scales.astype(np.float64)[:, None] * codes
    lengths: npt.NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", residuals, residuals))
    return lengths


def problem_of(vectors: Half, packed: PackedCodes) -> str:
    """Say what is wrong with the codes of vectors, float16 (n, dim), or "": whether a search with them is exact.

    Bits may differ where a rotated number is nearly zero: the mathematics library of another machine may round it to
    the other side. Nothing exact depends on them.
    """
    norms = _residual_norms(vectors.astype(np.float64), packed.scales, packed.codes)
    if not (norms <= packed.errors).all():
        return "codes are further from the vectors than they say"
    if not (packed.errors <= 2 * norms + 1e-30).all():
        return "codes claim a larger error than they have"
    differing = int(np.bitwise_count(packed.bits ^ signs(vectors)).sum())
    if differing > packed.bits.size * 8 // 100:
        return f"{differing} of {packed.bits.size * 8} bits are not those of the vectors"
    return ""


def signs(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Give the bits, uint8 (n, ceil(dim / 8)), of vectors (n, dim)."""
    return np.packbits(rotate(vectors) >= 0, axis=1)


def rotate(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Rotate vectors (n, dim); lengths and angles stay, float32 (n, dim)."""
    turned = vectors.astype(np.float32)
    dim = turned.shape[1]
    return turned @ _matrix(dim) if dim <= _LARGEST_MATRIX else _rotated(turned)


@lru_cache(maxsize=4)
def _matrix(dim: int) -> npt.NDArray[np.float32]:
    return _rotated(np.eye(dim, dtype=np.float32))


def _rotated(turned: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rotate rows (n, dim) in place, step by step."""
    dim = turned.shape[1]
    width = 1 << (max(1, dim).bit_length() - 1)
    for number in range(ROUNDS):
        turned *= _flips(dim, number)
        _hadamard(turned[:, :width] if number % 2 == 0 else turned[:, dim - width :])
    return turned


@lru_cache(maxsize=16)
def _flips(dim: int, number: int) -> npt.NDArray[np.float32]:
    seed = f"image_similarity rotation {dim} {number}".encode("ascii")
    bits = np.frombuffer(hashlib.shake_256(seed).digest((dim + 7) // 8), dtype=np.uint8)
    return np.unpackbits(bits)[:dim].astype(np.float32) * 2 - 1


def _hadamard(block: npt.NDArray[np.float32]) -> None:
    """Multiply rows (n, 2^m) by the orthogonal Hadamard matrix, in place."""
    rows, width = block.shape
    half = 1
    while half < width:
        pairs = block.reshape(rows, width // (2 * half), 2, half)
        # A slice of columns is no contiguous block, and reshape would then give a copy that nobody reads.
        sums = pairs[:, :, 0] + pairs[:, :, 1]
        differences = pairs[:, :, 0] - pairs[:, :, 1]
        block[:] = np.stack([sums, differences], axis=2).reshape(rows, width)
        half *= 2
    block *= np.float32(1.0 / np.sqrt(width))


def norms(packed: PackedCodes) -> npt.NDArray[np.float32]:
    """Give the lengths of the decoded vectors, float32 (n,), rounded once."""
    return (packed.scales * np.sqrt(kernels.squared_norms(packed.codes))).astype(np.float32)
