"""PDQ hashes: 256 bits of a picture that copies of it share, how many bits two differ in, and the stacks they form.

PDQ: Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm" (2019), as the package
pdqhash computes it. A hash is near another if they differ in at most 31 of 256 bits, and worth comparing from a quality
of 50 on: both are the values that the authors recommend. PDQ finds copies that were scaled, recompressed or slightly
changed; not crops, and not another picture of the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from image_similarity.errors import ExtraMissing
from image_similarity.values import Preprocess

Hashes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.intp]

BITS = 256
BYTES = 32
# Of the reference implementation: hashes that differ in this many bits or fewer match, those of a lower quality
# (too little structure: a wall, a black frame) are discarded.
MAX_DISTANCE = 31
MIN_QUALITY = 50
# The reference makes a square of 512 pixels of a picture with a longer side; here one is made of each. A copy of half
# the size then differs in 2 bits and not in 16 (medians of 50 photographs), but a hash that another program made of a
# picture smaller than the square in about 9.
PREPROCESS = Preprocess(512, "squash", interpolation="bilinear", decode_scale=1)

# What was done to the one picture to come to the other: transposed or not, then the signs of odd columns and rows.
ORIENTATIONS = (
    "as it is",
    "mirrored left to right",
    "mirrored top to bottom",
    "turned by 180 degrees",
    "transposed",
    "turned by 90 degrees clockwise",
    "turned by 90 degrees counterclockwise",
    "transposed and turned by 180 degrees",
)
# Pairs that are compared at once: 8 MiB, which the caches of a processor hold.
_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class PdqHash:
    """The hash of a picture, 32 bytes, and its quality from 0 to 100."""

    hash: bytes
    quality: int


def require() -> None:
    """Refuse to go on without the package that computes hashes.

    Raises:
        ExtraMissing: pdqhash is not installed.
    """
    try:
        import pdqhash  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise ExtraMissing(
            "PDQ needs the package pdqhash, which is not installed",
            hint='pip install "image_similarity[pdq]" (with a C++ compiler: it comes as source only)',
        ) from error


def hash_pixels(pixels: npt.NDArray[np.uint8]) -> PdqHash:
    """Give the hash of an upright RGB picture that went through `PREPROCESS`, uint8 (height, width, 3).

    Raises:
        ExtraMissing: pdqhash is not installed.
    """
    require()
    import pdqhash

    bits, quality = pdqhash.compute(pixels)
    return PdqHash(np.packbits(np.asarray(bits, dtype=np.uint8)).tobytes(), int(quality))


def oriented(hashes: Hashes) -> Hashes:
    """Give the hashes uint8 (n, 32) of the eight `ORIENTATIONS` of pictures with these hashes, uint8 (8, n, 32).

    From the bits alone: a hash says which of 16 x 16 frequencies lie above their median. Transposing a picture
    transposes them; mirroring it changes the sign of every other one, which turns its bit where the median is near 0,
    as it is. See docs/matching.md for how near that comes to the hash of the turned picture.
    """
    bits = np.unpackbits(hashes, axis=1).reshape(-1, 16, 16)
    odd = np.arange(16, dtype=np.uint8) % 2
    across, down = odd[None, :], odd[:, None]
    found = [
        form ^ signs
        for form in (bits, bits.transpose(0, 2, 1))
        for signs in (np.zeros_like(across), across, down, across ^ down)
    ]
    return np.stack([np.packbits(form.reshape(-1, BITS), axis=1) for form in found])


def distances(query: bytes, hashes: Hashes) -> npt.NDArray[np.int32]:
    """Give the number of differing bits, int32 (n,), between one hash and others, uint8 (n, 32)."""
    return _differing(_words(hashes), np.frombuffer(query, dtype=np.uint64))


def nearest_orientation(
    query: bytes, hashes: Hashes, *, turned: bool
) -> tuple[npt.NDArray[np.int32], Rows]:
    """Give the distances of one hash to others, int32 (n,), and in which of the `ORIENTATIONS` each is nearest.

    Without `turned` that is 0, as it is, for all.
    """
    if not turned:
        return distances(query, hashes), np.zeros(len(hashes), dtype=np.intp)
    forms = oriented(np.frombuffer(query, dtype=np.uint8)[None])[:, 0]
    # The first of equals: a picture that is its own mirror image counts as it is.
    each = np.stack([distances(form.tobytes(), hashes) for form in forms])
    best = each.argmin(axis=0)
    return each[best, np.arange(len(hashes))], best


def stacks(
    hashes: Hashes,
    *,
    limit: int = MAX_DISTANCE,
    turned: bool = False,
    tell: Callable[[int], None] = lambda done: None,
) -> list[Rows]:
    """Group hashes uint8 (n, 32): two are in one group if they are near, or a chain of near ones leads to the other.

    All pairs are compared, exactly; time grows with the square of n. The ends of a chain may be far apart.

    Args:
        hashes: What to group.
        limit: How many bits near ones may differ in.
        turned: Also compare all eight `ORIENTATIONS`.
        tell: Told after each block how many of the n are done.

    Returns:
        Groups of two or more positions, ascending, in order of their first.
    """
    words = _words(hashes)
    columns = np.ascontiguousarray(words.T)
    forms = oriented(hashes) if turned else hashes[None]
    group = np.arange(len(hashes))
    size = max(1, _AT_ONCE // max(1, len(hashes)))
    for start in range(0, len(hashes), size):
        for form in forms:
            block = _words(form[start : start + size])
            # Half of the bits say of nearly every pair that it is not near.
            differing = np.bitwise_count(block[:, 0, None] ^ columns[0, start:])
            differing += np.bitwise_count(block[:, 1, None] ^ columns[1, start:])
            row, other = np.nonzero(differing <= limit)
            # Of those known to belong together nothing more is to be learned: a thousand copies are 500,000 pairs.
            new = group[start + row] != group[start + other]
            row, other = row[new], start + other[new]
            far = _differing(block[row], words[other])
            _join(group, start + row[far <= limit], other[far <= limit])
        tell(min(len(hashes), start + size))
    order = np.argsort(group, kind="stable")
    found = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return [each for each in found if len(each) > 1]


def spread(hashes: Hashes, *, turned: bool = False) -> int:
    """Give the greatest distance in bits between two of these hashes, each pair in its nearest orientation."""
    each = (nearest_orientation(one.tobytes(), hashes, turned=turned)[0] for one in hashes)
    return max((int(far.max()) for far in each), default=0)


def _join(group: Rows, ones: Rows, others: Rows) -> None:
    """Join the groups of pairs in place; a group is called by its least position."""
    if not len(ones):
        return
    for one, other in zip(ones.tolist(), others.tolist(), strict=True):
        first, second = sorted((_head(group, one), _head(group, other)))
        group[second] = first
    # Each position points at its group's name again.
    while (group != group[group]).any():
        group[:] = group[group]


def _head(group: Rows, one: int) -> int:
    while group[one] != one:
        one = int(group[one])
    return one


def _differing(
    ones: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int32]:
    """The number of bits in which rows of words differ, int32 (n,)."""
    counts: npt.NDArray[np.int32] = np.bitwise_count(ones ^ others).sum(axis=1, dtype=np.int32)
    return counts


def _words(hashes: Hashes) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(hashes).view(np.uint64)
