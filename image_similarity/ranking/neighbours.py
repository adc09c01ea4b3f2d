"""The nearest of every vector among all others, exactly, or among what an approximate index offers.

Queries go through `batched.py` a batch at a time, on all processors; what may be near is compared by its stored vector.
Vectors that occur several times are compared once: ten thousand pictures of one black wall are one vector, and each of
them has the others as neighbours at distance 0.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from image_similarity.ranking import batched, bounded
from image_similarity.ranking.bounded import Coded, Half, Rows
from image_similarity.ranking.codes import encode
from image_similarity.values import PackedCodes

Ids = npt.NDArray[np.int64]
Near = tuple[Ids, npt.NDArray[np.float64]]
Offer = Callable[[Half], Ids]

# Each query gets its first limit from a sample: a larger one takes time, after a smaller one more must be looked at.
# The two balance where it grows with the root of (vectors x wanted). Of 512, 1,024 and 4,096 vectors, among 20,000 of
# 256 numbers, the second was the fastest.
_SAMPLE = 3
# How many times the wanted an index must offer of a query's own group; with fewer the search is exact.
_ENOUGH = 2


@dataclass(frozen=True, slots=True)
class _Group:
    """Distinct vectors from `start` to `stop`, which may be near to each other."""

    start: int
    stop: int


class Neighbourhood:
    """Vectors, each of which is asked for its nearest others.

    They are answered in an order of their own, `order`: those of one group, and in it equal ones, follow each other.

    Args:
        vectors: Finite where their group is 0 or more; float16 (N, dim). Of equally near ones the earlier comes first.
        groups: Only vectors of the same group are near to each other, int64 (N,); below 0 none is near to it.
        count: How many neighbours are wanted, at least 1.
    """

    def __init__(self, vectors: Half, groups: Ids, count: int) -> None:
        self._count = count
        by_bytes = np.argsort(_as_bytes(vectors), kind="stable")
        self.order: Ids = by_bytes[np.argsort(groups[by_bytes], kind="stable")]
        """The numbers of the vectors, int64 (N,), in the order in which they are answered."""
        self._groups = groups[self.order]
        new = np.ones(len(vectors), dtype=np.bool_)
        sorted_ = vectors[self.order]
        raw = _as_bytes(sorted_)
        new[1:] = (raw[1:] != raw[:-1]) | (self._groups[1:] != self._groups[:-1])
        # Which distinct vector each has, and where the equal ones of each begin.
        self._distinct = np.cumsum(new) - 1
        first = np.flatnonzero(new)
        self._begins = np.append(first, len(vectors))
        self._group_of = self._groups[first]
        self._vectors: Half = sorted_[first] if len(first) < len(sorted_) else sorted_
        asked = self._group_of >= 0
        sound = self._vectors
        if not asked.all():
            sound = np.where(asked[:, None], sound, np.float16(0))
        self._coded = bounded.coded(encode(sound))
        self.place: Ids = np.empty(len(vectors), dtype=np.int64)
        """Where each vector stands in `order`, int64 (N,)."""
        self.place[self.order] = np.arange(len(vectors))

    def __len__(self) -> int:
        return len(self.order)

    def nearest(self, places: Ids, offer: Offer | None = None) -> Near:
        """Give the nearest others of those at some places of `order`, nearest first.

        Args:
            places: Int64 (n,).
            offer: Gives candidates for queries, float16 (Q, dim): numbers of vectors, int64 (Q, c), -1 for none. Only
                they are compared then, but where they hold too few of the query's group all are.

        Returns:
            Numbers int64 (n, count), -1 where there are no more, and distances float64 (n, count), NaN there.
        """
        wanted = np.unique(self._distinct[places])
        found: dict[int, Near] = {}
        if offer is not None:
            found = self._among(wanted, offer)
        left = [int(each) for each in wanted if int(each) not in found]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for answers in pool.map(self._exactly, self._batches(left)):
                found.update(answers)
        numbers = np.full((len(places), self._count), -1, dtype=np.int64)
        distances = np.full(numbers.shape, np.nan)
        for row, place in enumerate(places.tolist()):
            near, far = found[int(self._distinct[place])]
            others = np.flatnonzero(near != self.order[place])[: self._count]
            numbers[row, : len(others)], distances[row, : len(others)] = near[others], far[others]
        return numbers, distances

    def _batches(self, wanted: Sequence[int]) -> Iterator[list[int]]:
        """Parts of what is wanted, each of one group and of no more than a product takes."""
        part: list[int] = []
        for each in wanted:
            if part and (
                len(part) == batched.BATCH or self._group_of[each] != self._group_of[part[0]]
            ):
                yield part
                part = []
            part.append(each)
        if part:
            yield part

    def _group(self, number: int) -> _Group:
        start, stop = np.searchsorted(self._group_of, [number, number + 1]).tolist()
        return _Group(start, stop)

    def _exactly(self, wanted: list[int]) -> dict[int, Near]:
        """Answers for distinct vectors of one group, by comparing all of it."""
        number = int(self._group_of[wanted[0]])
        if number < 0:
            nothing = np.empty(0, dtype=np.int64), np.empty(0)
            return dict.fromkeys(wanted, nothing)
        group = self._group(number)
        queries = self._vectors[wanted]
        # One more than wanted: the vector itself is among its nearest.
        count = self._count + 1
        size = group.stop - group.start
        step = max(1, size // max(4 * count, int(_SAMPLE * math.sqrt(size * count))))
        sample = _part(self._coded, slice(group.start, group.stop, step))
        passing = np.ones((len(wanted), len(sample.squares)), dtype=np.bool_)
        limits = batched.first_limits(sample, queries, passing, count)
        here = _part(self._coded, slice(group.start, group.stop))
        within = batched.within_limits(here, self._vectors[:0], queries, limits.tolist())
        return {
            each: self._of_distinct(
                each, rows[bounded.within_reach(bounds, count, None)] + group.start
            )
            for each, (rows, bounds) in zip(wanted, within, strict=True)
        }

    def _among(self, wanted: npt.NDArray[np.int64], offer: Offer) -> dict[int, Near]:
        """Answers among what is offered, where that is enough."""
        wanted = wanted[self._group_of[wanted] >= 0]
        found: dict[int, Near] = {}
        if not len(wanted):
            return found
        for each, numbers in zip(wanted.tolist(), offer(self._vectors[wanted]), strict=True):
            rows = self._distinct[self.place[numbers[numbers >= 0]]]
            rows = rows[self._group_of[rows] == self._group_of[each]]
            if len(rows) >= _ENOUGH * (self._count + 1):
                found[each] = self._of_distinct(each, np.unique(np.append(rows, each)))
        return found

    def _of_distinct(self, asked: int, rows: Rows) -> Near:
        """The nearest of some distinct vectors to one, by their exact distances, each as often as it occurs.

        One more than wanted, for whoever asks is among them. Of many equal ones no more can be needed than that.
        """
        count = self._count + 1
        near = bounded.nearest(self._vectors[rows], self._vectors[asked], count, None)
        places, far = list[int](), list[float]()
        for at, distance in near:
            begin, end = self._begins[rows[at]], self._begins[rows[at] + 1]
            taken = range(begin, min(end, begin + count))
            places += taken
            far += [distance] * len(taken)
        numbers, distances = self.order[places], np.array(far)
        first = np.lexsort((numbers, distances))[:count]
        return numbers[first], distances[first]


def _as_bytes(vectors: Half) -> npt.NDArray[np.void]:
    """Each row (N, dim) as one value, by which rows are ordered and compared."""
    rows = np.ascontiguousarray(vectors)
    return rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()


def _part(given: Coded, part: slice) -> Coded:
    """Some codes, without a copy."""
    packed = given.packed
    taken = PackedCodes(
        packed.codes[part], packed.scales[part], packed.errors[part], packed.bits[part]
    )
    return Coded(taken, given.squares[part], given.reach[part])
