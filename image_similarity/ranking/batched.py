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

from image_similarity.ranking.bounded import Bounds, Coded, Half, Rows, product_error

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
    asked = _batch(queries)
    furthest = np.asarray(limits, dtype=np.float64)
    products = np.empty((len(queries), BLOCK_ROWS), dtype=np.float32)
    numbers, rows = list[npt.NDArray[np.int16]](), list[Rows]()
    centres, radii = list[npt.NDArray[np.float32]](), list[npt.NDArray[np.float32]]()
    for block in _blocks(given, loose, queries.shape[1]):
        part = products[:, : len(block.reach)]
        np.matmul(asked.vectors, block.vectors.T, out=part)
        border = furthest + asked.reach + float(block.reach.max())
        # Rounded up, that no rounding of the comparison can lose a row; what is infinitely far is not kept at all.
        least = 0.5 * (asked.squares - border * border * (1 + 1e-6)) - 1e-6 * asked.squares
        least = np.maximum(least, np.finfo(np.float32).min).astype(np.float32)
        # Of flat positions, as looking for pairs takes many times as long.
        found = np.flatnonzero(part >= least[:, None])
        number, row = np.divmod(found, len(block.reach))
        centre = _centre(asked.squares[number], part[number, row])
        radius = block.reach[row] + asked.reach[number]
        kept = centre - radius <= furthest[number]
        numbers.append(number[kept].astype(np.int16))
        rows.append(row[kept] + block.start)
        centres.append(centre[kept])
        radii.append(radius[kept])
    return _by_query(len(queries), numbers, rows, centres, radii)


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


def _by_query(
    queries: int,
    numbers: Sequence[npt.NDArray[np.int16]],
    rows: Sequence[Rows],
    centres: Sequence[npt.NDArray[np.float32]],
    radii: Sequence[npt.NDArray[np.float32]],
) -> list[tuple[Rows, Bounds]]:
    if not numbers:
        nothing = np.empty(0, dtype=np.float32)
        return [(np.empty(0, dtype=np.intp), Bounds(nothing, nothing))] * queries
    number = np.concatenate(numbers)
    # Stable, so that the rows of each query ascend still; numbers of 16 bits are sorted by counting.
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(queries + 1))
    row = np.concatenate(rows)[order]
    centre, radius = np.concatenate(centres)[order], np.concatenate(radii)[order]
    parts = [slice(*each) for each in pairwise(ends)]
    return [(row[part], Bounds(centre[part], radius[part])) for part in parts]
