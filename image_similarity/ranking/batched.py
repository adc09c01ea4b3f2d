"""Many queries at once: one matrix product for each block of vectors instead of one scan for each query.

A first look at some of each query's vectors gives a distance beyond which nothing can be among its nearest; one pass
over all vectors then keeps, for each query, what may be nearer. What is kept is bounded as in `bounded.py` and handled
in the same way, so the answers are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from image_similarity.ranking.bounded import Bounds, Coded, Half, Rows

# Vectors of a block, at most; its products with a batch stay in the cache. Fewer if they are long: 16 MiB as float32.
BLOCK_ROWS = 2048
_BLOCK_NUMBERS = 2**22
# Queries of a batch: with more the product gains little, and what is kept for them takes room.
BATCH = 128


@dataclass(frozen=True, slots=True)
class _Block:
    """Some vectors, decoded: float32 (n, dim), their squared lengths, and error with rounding of each."""

    start: int
    vectors: npt.NDArray[np.float32]
    squares: npt.NDArray[np.float32]
    reach: npt.NDArray[np.float32]


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
    dim = queries.shape[1]
    # As for a product in float32 in `bounded.py`; decoding rounds once more, which its 8 has room for.
    error = math.sqrt(2 * (dim + 8) * 2.0**-24)
    wanted = queries.astype(np.float32)
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    squares = (lengths * lengths).astype(np.float32)[:, None]
    reach = (error * lengths).astype(np.float32)
    furthest = np.asarray(limits, dtype=np.float64)
    found: list[list[tuple[Rows, Bounds]]] = [[] for _ in queries]
    for block in _blocks(given, loose, error):
        squared = (-2 * wanted) @ block.vectors.T
        squared += block.squares
        squared += squares
        border = furthest + reach + float(block.reach.max())
        # Rounded up, that no rounding of the comparison can lose a row; what is infinitely far is not kept at all.
        most = np.minimum(border * border * (1 + 1e-6), np.finfo(np.float32).max)
        # Of flat positions, as looking for pairs takes many times as long.
        positions = np.flatnonzero(squared <= most.astype(np.float32)[:, None])
        numbers, rows = np.divmod(positions, squared.shape[1])
        centre = np.sqrt(np.maximum(squared[numbers, rows], 0))
        radius = block.reach[rows] + reach[numbers]
        kept = centre - radius <= furthest[numbers]
        numbers, rows, centre, radius = numbers[kept], rows[kept], centre[kept], radius[kept]
        ends = np.searchsorted(numbers, np.arange(len(queries) + 1))
        for number in np.unique(numbers):
            part = slice(ends[number], ends[number + 1])
            found[number].append((rows[part] + block.start, Bounds(centre[part], radius[part])))
    return [_joined(parts) for parts in found]


def _blocks(given: Coded | None, loose: Half, error: float) -> Iterator[_Block]:
    count = 0 if given is None else len(given.squares)
    rows = min(BLOCK_ROWS, max(1, _BLOCK_NUMBERS // max(1, loose.shape[1])))
    if given is not None:
        packed = given.packed
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            vectors = packed.codes[part] * packed.scales[part, None]
            rounding = np.float32(error) * np.sqrt(given.squares[part])
            yield _Block(start, vectors, given.squares[part], packed.errors[part] + rounding)
    for start in range(0, len(loose), rows):
        vectors = loose[start : start + rows].astype(np.float32)
        # What is no number is near nothing; zeros keep it from the product, which would warn.
        sound = np.isfinite(vectors).all(axis=1)
        vectors[~sound] = 0
        squares = np.einsum("nd,nd->n", vectors, vectors)
        reach = np.float32(error) * np.sqrt(squares)
        squares[~sound] = np.inf
        yield _Block(count + start, vectors, squares, reach)


def _joined(parts: list[tuple[Rows, Bounds]]) -> tuple[Rows, Bounds]:
    if not parts:
        nothing = np.empty(0, dtype=np.float32)
        return np.empty(0, dtype=np.intp), Bounds(nothing, nothing)
    return np.concatenate([rows for rows, _ in parts]), Bounds(
        np.concatenate([bounds.centre for _, bounds in parts]),
        np.concatenate([bounds.radius for _, bounds in parts]),
    )
