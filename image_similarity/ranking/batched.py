"""Many queries at once: one matrix product for each block of vectors instead of one scan for each query.

A first look at some of each query's vectors gives a distance beyond which nothing can be among its nearest; one pass
over all vectors then keeps, for each query, what may be nearer. What is kept is bounded as in `bounded.py` and handled
in the same way, so the answers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from image_similarity.ranking import kernels
from image_similarity.ranking.bounded import ROUNDING, Bounds, Coded, Half, Rows, product_error

# Vectors of a block, at most; its products with a batch stay in the cache. Fewer if they are long: 16 MiB as float32.
BLOCK_ROWS = 2048
_BLOCK_NUMBERS = 2**22
# Queries of a batch: with more the product gains little, and what is kept for them takes room.
BATCH = 128


@dataclass(frozen=True, slots=True)
class _Block:
    """Some vectors, decoded: float32 (n, dim + 1), the last number minus half the squared length; reach of each.

    The product with a query that has a 1 behind it is then half of (its squared length - the squared distance).
    """

    start: int
    vectors: npt.NDArray[np.float32]
    reach: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Queries, float32 (B, dim + 1), the last number 1; their squared lengths and reach, float32 (B,)."""

    vectors: npt.NDArray[np.float32]
    squares: npt.NDArray[np.float32]
    reach: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Near:
    """Pairs of a query, by its number, and a row that may be near it, with the bounds of their distance; all (p,)."""

    number: npt.NDArray[np.intp]
    row: Rows
    centre: npt.NDArray[np.float32]
    radius: npt.NDArray[np.float32]

    def at(self, kept: npt.NDArray[np.bool_]) -> _Near:
        """Some of the pairs."""
        return _Near(self.number[kept], self.row[kept], self.centre[kept], self.radius[kept])


@dataclass(frozen=True, slots=True)
class _CodedBatch:
    """Queries as whole numbers: int8 (dim, B), from -63 to 63; scale, squared length and reach of each, float64 (B,).

    The reach is what the code loses of its query, and rounding as in `bounded.py`.
    """

    factors: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    reach: npt.NDArray[np.float64]


def _batch(queries: Half) -> _Batch:
    vectors = np.ones((len(queries), queries.shape[1] + 1), dtype=np.float32)
    vectors[:, :-1] = queries
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    return _Batch(
        vectors,
        (lengths * lengths).astype(np.float32),
        (product_error(queries.shape[1]) * lengths).astype(np.float32),
    )


def first_limits(
    sample: Coded, queries: Half, passing: npt.NDArray[np.bool_], count: int
) -> npt.NDArray[np.float64]:
    """Give for each query a distance that at least `count` of the sample's passing vectors do not exceed.

    Args:
        sample: Codes of some vectors.
        queries: Finite, float16 (B, dim).
        passing: Which of the sample pass, for each query: (B, n).
        count: At least 1; the distance is infinite where fewer pass.
    """
    asked = _batch(queries)
    limits = np.full(len(queries), np.inf)
    if len(sample.squares) < count:
        return limits
    empty = np.empty((0, queries.shape[1]), dtype=np.float16)
    parts = []
    for block in _blocks(sample, empty, queries.shape[1]):
        centre = _centre(asked.squares[:, None], asked.vectors @ block.vectors.T)
        parts.append(centre + block.reach + asked.reach[:, None])
    upper = np.where(passing, np.concatenate(parts, axis=1), np.float32(np.inf))
    return np.partition(upper, count - 1, axis=1)[:, count - 1].astype(np.float64)


def _centre(
    squares: npt.NDArray[np.float32], products: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    centre: npt.NDArray[np.float32] = np.sqrt(np.maximum(squares - 2 * products, 0))
    return centre


def within_limits(
    given: Coded | None, loose: Half, queries: Half, limits: Sequence[float]
) -> list[tuple[Rows, Bounds]]:
    """Give, for each query, the rows that may lie within its limit, ascending, and their bounds.

    Rows are counted through the codes first, then the loose vectors.

    Args:
        given: The codes, if there are any.
        loose: Vectors without codes, float16 (m, dim); m may be 0.
        queries: Finite, float16 (B, dim).
        limits: A distance for each.
    """
    furthest = np.asarray(limits, dtype=np.float64)
    multiply = kernels.integer_product(queries.shape[1])
    if given is None or multiply is None:
        return _by_query(len(queries), _near_decoded(given, loose, queries, furthest))
    near = _near_codes(given, queries, furthest, multiply)
    near += _near_decoded(None, loose, queries, furthest, first=len(given.squares))
    return _by_query(len(queries), near)


def _near_decoded(
    given: Coded | None,
    loose: Half,
    queries: Half,
    furthest: npt.NDArray[np.float64],
    *,
    first: int = 0,
) -> list[_Near]:
    """The pairs that products in float32 cannot exclude; rows are counted from `first` on."""
    asked = _batch(queries)
    products = np.empty((len(queries), BLOCK_ROWS), dtype=np.float32)
    near = []
    for block in _blocks(given, loose, queries.shape[1]):
        part = products[:, : len(block.reach)]
        np.matmul(asked.vectors, block.vectors.T, out=part)
        border = furthest + asked.reach + float(block.reach.max())
        # Rounded up, that no rounding of the comparison can lose a row; what is infinitely far is not kept at all.
        least = 0.5 * (asked.squares - border * border * (1 + 1e-6)) - 1e-6 * asked.squares
        least = np.maximum(least, np.finfo(np.float32).min).astype(np.float32)
        # Of flat positions, as looking for pairs takes many times as long.
        number, row = np.divmod(np.flatnonzero(part >= least[:, None]), len(block.reach))
        centre = _centre(asked.squares[number], part[number, row])
        radius = block.reach[row] + asked.reach[number]
        kept = centre - radius <= furthest[number]
        near.append(_Near(number, row + (first + block.start), centre, radius).at(kept))
    return near


def _near_codes(
    given: Coded, queries: Half, furthest: npt.NDArray[np.float64], multiply: kernels.Product
) -> list[_Near]:
    """The pairs that products of whole numbers cannot exclude, a third of the work of products in float32."""
    asked = _coded_batch(queries)
    shares = dict[int, list[_Near]]()

    def look(first: int, last: int) -> None:
        starts = range(first, last, BLOCK_ROWS)
        shares[first] = [
            _near_block(
                given, slice(start, min(last, start + BLOCK_ROWS)), asked, furthest, multiply
            )
            for start in starts
        ]

    kernels.in_shares(len(given.squares), look)
    return [near for first in sorted(shares) for near in shares[first]]


def _near_block(
    given: Coded,
    part: slice,
    asked: _CodedBatch,
    furthest: npt.NDArray[np.float64],
    multiply: kernels.Product,
) -> _Near:
    squares, reach = given.squares[part], given.reach[part]
    products = multiply(given.packed.codes[part], asked.factors).astype(np.float32)
    products *= given.packed.scales[part, None]
    border = furthest + asked.reach + float(reach.max())
    # Rounded down, that no rounding of the comparison can lose a row.
    least = float(squares.min()) + asked.squares - border * border * (1 + 1e-6)
    least = (least - 1e-6 * asked.squares) / (2 * asked.scales)
    least = np.maximum(least - 1e-6 * np.abs(least), np.finfo(np.float32).min)
    row, number = np.divmod(np.flatnonzero(products >= least.astype(np.float32)), len(furthest))
    product = products[row, number] * asked.scales[number]
    centre = np.sqrt(np.maximum(squares[row] + asked.squares[number] - 2 * product, 0))
    radius = reach[row] + asked.reach[number]
    kept = centre - radius <= furthest[number]
    bounds = centre.astype(np.float32), radius.astype(np.float32)
    return _Near(number, row + part.start, *bounds).at(kept)


def _coded_batch(queries: Half) -> _CodedBatch:
    wide = queries.astype(np.float64)
    scales = np.abs(wide).max(axis=1, initial=0.0) / kernels.LARGEST_FACTOR
    # A query of zeros has the code 0, whatever its scale.
    scales[scales == 0] = 1.0
    codes = np.rint(wide / scales[:, None])
    decoded = scales[:, None] * codes
    lengths = np.linalg.norm(decoded, axis=1)
    errors = np.linalg.norm(wide - decoded, axis=1)
    return _CodedBatch(
        np.ascontiguousarray(codes.astype(np.int8).T),
        scales,
        lengths * lengths,
        (errors + ROUNDING * lengths) * (1 + 1e-6),
    )


def _blocks(given: Coded | None, loose: Half, dim: int) -> Iterator[_Block]:
    count = 0 if given is None else len(given.squares)
    # Decoding and the number behind round less than the 8 in it has room for.
    error = np.float32(product_error(dim))
    rows = min(BLOCK_ROWS, max(1, _BLOCK_NUMBERS // (dim + 1)))
    buffer = np.empty((rows, dim + 1), dtype=np.float32)
    for start in range(0, count, rows):
        assert given is not None  # noqa: S101 - else there are no rows
        part = slice(start, min(count, start + rows))
        vectors, squares = buffer[: part.stop - start], given.squares[part]
        np.multiply(given.packed.codes[part], given.packed.scales[part, None], out=vectors[:, :dim])
        vectors[:, dim] = -0.5 * squares
        reach = given.packed.errors[part] + error * np.sqrt(squares)
        yield _Block(start, vectors, reach.astype(np.float32, copy=False))
    for start in range(0, len(loose), rows):
        stored = loose[start : start + rows].astype(np.float32)
        # What is no number is near nothing; zeros keep it from the product, which would warn.
        sound = np.isfinite(stored).all(axis=1)
        stored[~sound] = 0
        squares = np.einsum("nd,nd->n", stored, stored)
        vectors = buffer[: len(stored)]
        vectors[:, :dim] = stored
        vectors[:, dim] = np.where(sound, -0.5 * squares, -np.inf)
        yield _Block(count + start, vectors, error * np.sqrt(squares))


def _by_query(queries: int, found: Sequence[_Near]) -> list[tuple[Rows, Bounds]]:
    if not found:
        nothing = np.empty(0, dtype=np.float32)
        return [(np.empty(0, dtype=np.intp), Bounds(nothing, nothing))] * queries
    number = np.concatenate([near.number for near in found]).astype(np.int16)
    # Stable, so that the rows of each query ascend still; numbers of 16 bits are sorted by counting.
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(queries + 1))
    row = np.concatenate([near.row for near in found])[order]
    centre = np.concatenate([near.centre for near in found])[order]
    radius = np.concatenate([near.radius for near in found])[order]
    parts = [slice(*each) for each in pairwise(ends)]
    return [(row[part], Bounds(centre[part], radius[part])) for part in parts]
