"""Sights: which rows of a database matter to a query, and how far they can be; by a scan, a product, or their bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from image_similarity.ranking import batched, bounded, kernels
from image_similarity.ranking.bounded import Bounds, Half, Rows
from image_similarity.ranking.codes import signs
from image_similarity.search.shelf import Mask, Shelf

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Rows nearest in bits that an approximate search compares exactly, of those that pass the filter and of the others.
CANDIDATES = 1000
# Stored vectors that an approximate search is tried on, and how many neighbours of each it should find.
RECALL_QUERIES = 50
RECALL_AT = 10
# Rows with codes that give the queries of a batch their first limits; fewer if they are long: 8 MiB.
_SAMPLE = 16_384
_SAMPLE_NUMBERS = 2**23
# Below this a scan takes less time than the rest of an answer, and a product for many saves nothing.
FEWEST_FOR_BATCH = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What one query sees of one database.

    `rows` (ascending; None: all) hold all that can be among the nearest and, of those that the scene filter hides
    (`hidden`, a mask of `rows`; None: it hides none), all that can be nearer than the last hit; `bounds` are theirs.
    `searched` and `left_out` count all contents that pass and that do not.
    """

    rows: Rows | None
    bounds: Bounds
    hidden: Mask | None
    searched: int
    left_out: int

    def rows_at(self, positions: Rows) -> Rows:
        """The rows at some positions of `bounds`."""
        return positions if self.rows is None else self.rows[positions]

    def only(self, *, hidden: bool) -> Bounds:
        """The bounds, with those that are not hidden, or are, infinitely far."""
        if self.hidden is None:
            return self.bounds
        away = ~self.hidden if hidden else self.hidden
        return Bounds(np.where(away, np.float32(np.inf), self.bounds.centre), self.bounds.radius)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much is looked for: the `count` nearest of a database, none beyond `furthest`."""

    count: int
    furthest: float | None


def scan(
    connection: Connection,
    shelf: Shelf,
    query: Half,
    counting: Mask,
    passing: Mask,
    wanted: Wanted,
) -> Sight:
    """Look at every row. Masks (N,) say which rows exist for the search, and which of them pass."""
    return _narrowed(sight_of(None, shelf.bounds(connection, query), counting, passing), wanted)


def _narrowed(sight: Sight, wanted: Wanted) -> Sight:
    """The sight without what lies beyond the wanted: those of a folder of queries, whole, would fill the memory."""
    limit = bounded.limit_of(sight.only(hidden=False), wanted.count, wanted.furthest)
    if math.isinf(limit):
        return sight
    at = bounded.possibly_within(sight.bounds, limit)
    hidden = None if sight.hidden is None else sight.hidden[at]
    return replace(sight, rows=sight.rows_at(at), bounds=sight.bounds.at(at), hidden=hidden)


def sight_of(rows: Rows | None, bounds: Bounds, counting: Mask, passing: Mask) -> Sight:
    """Give the sight of some rows (None: all) with their bounds, without those that do not exist for the search."""
    searched = int(np.count_nonzero(passing))
    left_out = int(np.count_nonzero(counting)) - searched
    # Without `rows` no row is looked up by its number: of a million that takes as long as comparing them.
    here = counting if rows is None else counting[rows]
    if not here.all():
        at = np.flatnonzero(here)
        rows, bounds = at if rows is None else rows[at], bounds.at(at)
    hidden = (~passing if rows is None else ~passing[rows]) if left_out else None
    return Sight(rows, bounds, hidden, searched, left_out)


def scan_many(
    connection: Connection,
    shelf: Shelf,
    queries: Sequence[Half],
    counting: Sequence[Mask],
    passing: Sequence[Mask],
    wanted: Wanted,
) -> list[Sight]:
    """Look at every row for many queries in one product; those that it cannot help get a scan of their own."""
    limits = _first_limits(shelf, queries, passing, wanted)
    fit = [number for number, limit in enumerate(limits) if math.isfinite(limit)]
    found = {}
    if len(fit) > 1:
        within = batched.within_limits(
            shelf.coded,
            shelf.loose,
            np.stack([queries[number] for number in fit]),
            [limits[number] for number in fit],
        )
        found = dict(zip(fit, within, strict=True))
    return [
        sight_of(*found[number], counting[number], passing[number])
        if number in found
        else scan(connection, shelf, query, counting[number], passing[number], wanted)
        for number, query in enumerate(queries)
    ]


def _first_limits(
    shelf: Shelf, queries: Sequence[Half], passing: Sequence[Mask], wanted: Wanted
) -> list[float]:
    """For each query a distance beyond which none of the wanted can be, from a sample; infinite if too few pass it."""
    furthest = math.inf if wanted.furthest is None else wanted.furthest
    sound = np.array([np.isfinite(query).all() for query in queries])
    limits = np.full(len(queries), np.inf)
    if shelf.coded is not None:
        most = min(_SAMPLE, _SAMPLE_NUMBERS // len(queries[0]))
        rows = np.arange(0, shelf.packed, max(1, shelf.packed // max(1, most)))
        limits = batched.first_limits(
            bounded.some(shelf.coded, rows),
            np.where(sound[:, None], np.stack(queries), np.float16(0)),
            np.stack([mask[rows] for mask in passing]),
            wanted.count,
        )
    return [
        min(furthest, float(limit)) if fine else math.inf
        for limit, fine in zip(limits, sound, strict=True)
    ]


def by_bits(
    connection: Connection, shelf: Shelf, query: Half, counting: Mask, passing: Mask
) -> Sight:
    """Look at the rows nearest in bits, of those that pass and of those that are hidden, and at all without codes."""
    hidden = counting & ~passing
    rows = np.concatenate(
        [
            _candidates(connection, shelf, query, passing),
            _candidates(connection, shelf, query, hidden),
            np.arange(shelf.packed, len(shelf)),
        ]
    )
    rows.sort()
    bounds = shelf.rough(rows, query)
    if bounds is None:
        bounds = bounded.bounds_of_rows(shelf.vectors(connection, rows), query)
    return sight_of(rows, bounds, counting, passing)


def _candidates(connection: Connection, shelf: Shelf, query: Half, among: Mask) -> Rows:
    bits, among = shelf.bits(connection), among[: shelf.packed]
    asked = signs(query[None])[0]
    if among.all():
        return kernels.nearest_in_bits(bits, asked, CANDIDATES)
    rows = np.flatnonzero(among)
    if len(rows) <= CANDIDATES:
        return rows
    return rows[kernels.nearest_in_bits(bits[rows], asked, CANDIDATES)]


def near_rows(shelf: Shelf, sight: Sight, query: Half, wanted: Wanted) -> Rows:
    """Give the rows of a sight that pass and can be among the wanted, as few as memory can tell."""
    bounds = sight.only(hidden=False)
    rows = sight.rows_at(bounded.within_reach(bounds, wanted.count, wanted.furthest))
    closer = shelf.closer(rows, query)
    if closer is None:
        return rows
    return rows[bounded.within_reach(closer, wanted.count, wanted.furthest)]


def count_hidden_nearer(
    connection: Connection, shelf: Shelf, sight: Sight, query: Half, distance: float
) -> int:
    """Count the hidden rows of a sight that are strictly nearer to the query than a distance, exactly."""
    if sight.hidden is None:
        return 0
    sure, unsure = bounded.split_at(sight.only(hidden=True), distance)
    rows = sight.rows_at(unsure)
    closer = shelf.closer(rows, query)
    if closer is not None:
        more, unsure = bounded.split_at(closer, distance)
        sure, rows = sure + more, rows[unsure]
    if not len(rows):
        return sure
    return sure + bounded.count_nearer(shelf.vectors(connection, rows), query, distance)


def recall(connection: Connection, shelf: Shelf) -> tuple[int, int]:
    """Try the approximate search on stored vectors: how many of their nearest neighbours it finds, of how many.

    The vectors are drawn with a fixed seed from those with codes; all are searched, whatever the filters say, and the
    vector itself does not count. The result is kept with the shelf.
    """
    if shelf.recall is None:
        random = np.random.default_rng(0)
        rows = np.sort(
            random.choice(shelf.packed, min(RECALL_QUERIES, shelf.packed), replace=False)
        )
        everything = np.ones(len(shelf), dtype=np.bool_)
        wanted = Wanted(RECALL_AT + 1, None)
        vectors = shelf.vectors(connection, rows)
        exact = scan_many(
            connection,
            shelf,
            list(vectors),
            [everything] * len(rows),
            [everything] * len(rows),
            wanted,
        )
        found = total = 0
        for own, query, sight in zip(rows.tolist(), vectors, exact, strict=True):
            truth = _others(connection, shelf, sight, query, wanted, own)
            tried = by_bits(connection, shelf, query, everything, everything)
            limit = truth[-1] if truth else 0.0
            got = [
                far for far in _others(connection, shelf, tried, query, wanted, own) if far <= limit
            ]
            found, total = found + min(len(got), len(truth)), total + len(truth)
        shelf.recall = found, total
    return shelf.recall


def _others(
    connection: Connection, shelf: Shelf, sight: Sight, query: Half, wanted: Wanted, own: int
) -> list[float]:
    """The distances of the nearest rows except the query's own, ascending."""
    rows = near_rows(shelf, sight, query, wanted)
    near = bounded.nearest(shelf.vectors(connection, rows), query, wanted.count, None)
    return sorted(far for at, far in near if rows[at] != own)[:RECALL_AT]
