"""What queries see of a database on a server, which compares the vectors itself: of millions none comes here.

Exact answers are those of a file, to the last bit. The server's distances are wrong by less than a known share
(`pgvector.error_of`), so it is asked for a little more than is wanted, and those few vectors are read and compared as
everywhere else. Where a filter leaves many contents, and the model has an index there, candidates come from it, and the
answer says that it is approximate.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from image_similarity.ranking import bounded
from image_similarity.ranking.bounded import Half
from image_similarity.search import excluded
from image_similarity.search.query import Query
from image_similarity.search.request import SearchRequest
from image_similarity.search.seen import Asked, Opened
from image_similarity.search.shelf import Mode
from image_similarity.store import gallery, hash_lists, models, pgvector, standing
from image_similarity.store.catalog import Catalog
from image_similarity.store.pgvector import Condition, Ids, Vectors
from image_similarity.values import Excluded, MeasuredRecall, SearchKind

if TYPE_CHECKING:
    from sqlalchemy import Connection

# A server compares some two million vectors a second and core: up to a tenth of a second an index is not worth what it
# may miss. An approximate search is asked for where that is too long.
EXACT_ROWS = 200_000
APPROXIMATE_ROWS = 1_000
# As many hidden contents are looked at to count those that are nearer than the last hit: a second.
COUNTED_ROWS = 2_000_000
# What is taken from the index for each content that is wanted, and at least; how many to count hidden ones among. With
# fewer the recall that scripts/bench_server.py measures fell below 0.99.
OVERFETCH = 16
CANDIDATES = 200
HIDDEN_CANDIDATES = 400
# Asked for beyond what is wanted, for what the server's roundings leave in doubt.
_MARGIN = 16


@dataclass(slots=True)
class _Kept:
    """What was counted of one state of a database: of a hundred million contents that takes seconds."""

    state: standing.State | None = None
    counts: dict[Hashable, int] = field(default_factory=dict)


_KEPT: WeakKeyDictionary[Catalog, dict[tuple[int, int | None], _Kept]] = WeakKeyDictionary()
_MOST_COUNTS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Contents that a query is compared with, and how many they are. The parts of a query have none in common."""

    vectors: Vectors
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What one query is about: the contents that exist for it, those that pass the scene filter, what was taken out.

    With `exactly` those that do not pass are counted one by one.
    """

    counting: _Part
    passing: Sequence[_Part]
    taken_out: Sequence[Condition]
    excluded: Excluded
    exactly: bool

    @property
    def searched(self) -> int:
        return sum(part.number for part in self.passing)


@dataclass(frozen=True, slots=True, eq=False)
class InServer:
    """What queries see of one database, as `seen.Seen`."""

    opened: Opened
    asked: Asked
    queries: Sequence[Query]
    kinds: Sequence[SearchKind]
    near: Sequence[list[tuple[int, float]]]
    views: Sequence[_View]
    index: pgvector.Index | None

    def excluded(self, number: int) -> Excluded:
        """What lists, decisions and dates took out."""
        return self.views[number].excluded

    def searched(self, number: int) -> int:
        """How many contents pass the scene filter."""
        return self.views[number].searched

    def hidden(self, number: int) -> int:
        """How many do not."""
        return self.views[number].counting.number - self.searched(number)

    def hidden_nearer(self, number: int, distance: float) -> int:
        """How many of those that do not are strictly nearer to the query than a distance; by the index, at least."""
        view, hidden = self.views[number], self.hidden(number)
        if not hidden or math.isinf(distance):
            return hidden
        connection, query = self.opened.connection, self.queries[number].vector
        counting = view.counting.vectors
        if view.exactly:
            within = _count_nearer(connection, counting, query, distance)
            return within - sum(
                _count_nearer(connection, part.vectors, query, distance) for part in view.passing
            )
        met = pgvector.nearest_by_index(connection, counting, query, HIDDEN_CANDIDATES)
        ids = np.unique(np.array(met, dtype=np.int64))
        vectors = pgvector.read(connection, counting, ids)
        near = [
            int(ids[at])
            for at, far in bounded.nearest(vectors, query, len(ids), distance)
            if far < distance
        ]
        passing = [
            id_
            for part in view.passing
            for id_ in pgvector.ids(connection, part.vectors.that(pgvector.one_of(near)))
        ]
        return len(near) - len(passing)

    def scene_counts(self, number: int) -> tuple[dict[int, int], int]:
        """How many contents have each scene, by its position; and how many have none."""
        connection, counting = self.opened.connection, self.views[number].counting
        scene_model_id = self.opened.shelf.scene_model_id
        if scene_model_id is None:
            return {}, counting.number
        counts = pgvector.scene_counts(connection, counting.vectors, scene_model_id)
        without = counting.vectors.that(~pgvector.labelled(scene_model_id))
        return dict(counts), pgvector.count(connection, without)

    def left_out(self, number: int) -> list[int]:
        """The image ids of what lists and decisions took out."""
        taken_out = self.views[number].taken_out
        if not taken_out:
            return []
        placed = _placed(self.opened, self.asked)
        return pgvector.ids(self.opened.connection, placed.but(*taken_out))

    def recall(self) -> MeasuredRecall:
        """What was measured of the index when it was made."""
        found = None if self.index is None else self.index.recall
        assert found is not None  # noqa: S101 - another is not searched with
        return found


def look(
    opened: Opened,
    asked: Asked,
    queries: Sequence[Query],
    filters: Sequence[tuple[Mode, tuple[str, ...]]],
    said: Sequence[excluded.Verdicts],
) -> InServer:
    """Let the server look for queries, each with its scene filter and what was judged for it."""
    index = _index(opened)
    views = _views(
        opened, asked, queries, filters, said, counts_exactly=_always_exact(asked, index)
    )
    candidates, kinds = list[Ids](), list[SearchKind]()
    for query, view in zip(queries, views, strict=True):
        ids, by_index = _candidates(opened, asked, query.vector, view, index)
        candidates.append(ids)
        kinds.append("approximate" if by_index or not view.exactly else "exhaustive")
    near = _nearest(opened, asked, queries, candidates)
    return InServer(opened, asked, queries, kinds, near, views, index)


def _index(opened: Opened) -> pgvector.Index | None:
    """The index of the model, if it is whole and somebody measured this very one."""
    found = pgvector.index_of(opened.connection, opened.shelf.model_id)
    return found if found is not None and found.valid and found.recall is not None else None


def _always_exact(asked: Asked, index: pgvector.Index | None) -> bool:
    return index is None or asked.request.exact


# -- who counts, and how many they are --------------------------------------------------------------------------------


class _Counter:
    """Counts contents of a database, each sort of them once in each of its states."""

    def __init__(self, opened: Opened) -> None:
        shelf, self.connection = opened.shelf, opened.connection
        kept = _KEPT.setdefault(opened.catalog, {}).setdefault(
            (shelf.model_id, shelf.scene_model_id), _Kept()
        )
        state = standing.state(opened.connection, shelf.model_id)
        if kept.state != state or len(kept.counts) > _MOST_COUNTS:
            kept.state, kept.counts = state, {}
        self._counts = kept.counts

    def count(self, vectors: Vectors, key: Hashable) -> int:
        """How many there are; with None as the key they are counted each time."""
        if key is None:
            return pgvector.count(self.connection, vectors)
        if key not in self._counts:
            self._counts[key] = pgvector.count(self.connection, vectors)
        return self._counts[key]


def _placed(opened: Opened, asked: Asked) -> Vectors:
    shelf = opened.shelf
    return Vectors(shelf.model_id, shelf.dim, tuple(pgvector.placed(asked.places)))


def count_placed(opened: Opened, asked: Asked) -> int:
    """How many contents have a place that counts."""
    return _Counter(opened).count(_placed(opened, asked), ("placed", asked.places))


def vectors_placed(opened: Opened, asked: Asked, positions: Sequence[int]) -> Half:
    """The vectors of some of these, float16 (n, dim), by their positions in the order of image ids."""
    placed = _placed(opened, asked)
    ids = pgvector.ids_at(opened.connection, placed, positions)
    return pgvector.read(opened.connection, placed, np.array(ids, dtype=np.int64))


def _views(
    opened: Opened,
    asked: Asked,
    queries: Sequence[Query],
    filters: Sequence[tuple[Mode, tuple[str, ...]]],
    said: Sequence[excluded.Verdicts],
    *,
    counts_exactly: bool,
) -> list[_View]:
    connection, request = opened.connection, asked.request
    lists = hash_lists.lists(connection)
    placed, counter = _placed(opened, asked), _Counter(opened)
    conditions, hidden_known, undated = _taken_out(connection, request, placed, bool(lists))
    counting = placed.that(*conditions)
    # Tags come and go without a run, so nothing is kept of what is counted with them; a hash list has a new time.
    filter_ = (asked.places, request.taken_from, request.taken_to, request.known)
    key = None if request.tags else (*filter_, tuple(lists))
    own = excluded.query_known(connection, queries) if lists else {}
    found = []
    for number, (query, judged, (mode, scenes)) in enumerate(
        zip(queries, said, filters, strict=True)
    ):
        irrelevant = () if request.include_irrelevant else excluded.irrelevant(judged)
        out = [*gallery.ids_of(connection, irrelevant).values()]
        everything = _part(counter, counting, out, key)
        passing = _passing(opened, asked, counter, counting, query.sha256, mode, scenes, out, key)
        searched = everything.number if passing is None else sum(each.number for each in passing)
        hidden_irrelevant = (
            pgvector.count(connection, counting.that(pgvector.one_of(out))) if out else 0
        )
        found.append(
            _View(
                everything,
                [everything] if passing is None else passing,
                [*conditions, *([~pgvector.one_of(out)] if out else [])],
                excluded.account(
                    request,
                    lists,
                    hidden_known=hidden_known,
                    hidden_irrelevant=hidden_irrelevant,
                    hidden_undated=undated,
                    query_known=own.get(number, ()),
                ),
                exactly=counts_exactly or everything.number - searched <= COUNTED_ROWS,
            )
        )
    return found


def _taken_out(
    connection: Connection, request: SearchRequest, placed: Vectors, any_lists: bool
) -> tuple[list[Condition], int, int]:
    """What is not to be taken out of the contents with a place, how many lists hide, how many are undated.

    In the order of `excluded.left`: a picture counts with the first that takes it out.
    """
    conditions: list[Condition] = []
    undated = hidden_known = 0
    if request.tags:
        conditions.append(pgvector.tagged(request.tags))
    if request.taken_from is not None or request.taken_to is not None:
        undated = pgvector.count(connection, placed.that(*conditions, pgvector.undated()))
        conditions.append(pgvector.taken(request.taken_from, request.taken_to))
    if request.known == "hide" and any_lists:
        hidden_known = pgvector.count(connection, placed.that(*conditions, pgvector.known()))
        conditions.append(~pgvector.known())
    elif request.known == "only":
        conditions.append(pgvector.known())
    return conditions, hidden_known, undated


def _part(
    counter: _Counter,
    vectors: Vectors,
    out: Collection[int],
    key: Hashable,
    *conditions: Condition,
) -> _Part:
    """The vectors that meet conditions, without a few contents; what is kept is their number with these."""
    meeting = vectors.that(*conditions)
    number = counter.count(meeting, key)
    if not out:
        return _Part(meeting, number)
    few = pgvector.one_of(out)
    number -= pgvector.count(counter.connection, meeting.that(few))
    return _Part(meeting.that(~few), number)


def _passing(
    opened: Opened,
    asked: Asked,
    counter: _Counter,
    counting: Vectors,
    sha256: str,
    mode: Mode,
    scenes: Sequence[str],
    out: Collection[int],
    key: Hashable,
) -> list[_Part] | None:
    """Who passes a scene filter, as `Shelf.passing` has it; None if all do.

    In parts, each of which the server can find by an index: a condition that joins them by "or" it cannot.
    """
    connection, scene_model_id = opened.connection, opened.shelf.scene_model_id
    if mode == "off" or asked.scene_model is None or scene_model_id is None:
        return None

    def part(name: Hashable, *conditions: Condition) -> _Part:
        return _part(counter, counting, out, None if key is None else (key, name), *conditions)

    numbers = models.scene_ids(connection, scene_model_id)
    chosen = [numbers[name] for name in scenes]
    has_any = pgvector.labelled(scene_model_id)
    parts, passes = list[_Part](), list[Condition]()
    if chosen:
        has_one = pgvector.in_scenes(chosen, top_only=mode == "hard")
        parts.append(part((mode == "hard", frozenset(chosen)), has_one))
        passes.append(~has_one)
    # Mostly every content has labels: asked once in each state, not for each filter.
    every = Vectors(counting.model_id, counting.dim)
    if counter.count(every.that(~has_any), "unlabelled"):
        parts.append(part("unlabelled", ~has_any))
        passes.append(has_any)
    own = gallery.id_of(connection, sha256)
    if own is not None:
        itself = counting.that(pgvector.one_of([own]), *passes)
        if own not in out and pgvector.count(connection, itself):
            parts.append(_Part(itself, 1))
    return [each for each in parts if each.number]


# -- who is near ------------------------------------------------------------------------------------------------------


def _candidates(
    opened: Opened, asked: Asked, query: Half, view: _View, index: pgvector.Index | None
) -> tuple[Ids, bool]:
    """The ids, ascending, of all that can be among the wanted, and whether the index was asked."""
    exact, found = list[_Part](), list[int]()
    most = APPROXIMATE_ROWS if asked.request.approximate else EXACT_ROWS
    for part in view.passing:
        if _always_exact(asked, index) or part.number <= most:
            exact.append(part)
            continue
        number = max(CANDIDATES, OVERFETCH * asked.wanted.count)
        met = pgvector.nearest_by_index(opened.connection, part.vectors, query, number)
        # It walked as far as it may, and too few passed: what is nearest may be among those that it did not meet.
        if len(met) < min(number, part.number):
            exact.append(part)
        else:
            found += met
    by_index = bool(found)
    found += _exactly(opened, asked, query, exact)
    return np.unique(np.array(found, dtype=np.int64)), by_index


def _exactly(opened: Opened, asked: Asked, query: Half, parts: Sequence[_Part]) -> list[int]:
    """The ids of all that can be among the wanted by the server's distances, as wrong as these may be.

    A distance d is given as s with |s - d| <= e d. As many as are wanted lie within s / (1 - e) of the last of them by
    s, and whoever lies within that is given with at most (1 + e) times as much.
    """
    error, wanted = pgvector.error_of(opened.shelf.dim), asked.wanted
    furthest = None if wanted.furthest is None else wanted.furthest * (1 + error)
    number = wanted.count + _MARGIN
    found = [
        pgvector.nearest(opened.connection, part.vectors, query, number, furthest) for part in parts
    ]
    far = sorted(distance for rows in found for _, distance in rows)
    limit = math.inf
    if len(far) >= wanted.count:
        limit = far[wanted.count - 1] / (1 - error) * (1 + error)
    ids = []
    for part, rows in zip(parts, found, strict=True):
        if len(rows) == number and rows[-1][1] <= limit:
            # More of them are as near as the last than were asked for, as with many copies of one vector.
            rows = pgvector.nearest(opened.connection, part.vectors, query, None, limit)
        ids += [image_id for image_id, distance in rows if distance <= limit]
    return ids


def _nearest(
    opened: Opened, asked: Asked, queries: Sequence[Query], candidates: Sequence[Ids]
) -> list[list[tuple[int, float]]]:
    """Image ids with exact distances for each query; the stored vectors are read once for all of them."""
    together = np.unique(np.concatenate(candidates)) if candidates else np.empty(0, np.int64)
    every = Vectors(opened.shelf.model_id, opened.shelf.dim)
    stored = pgvector.read(opened.connection, every, together)
    wanted, found = asked.wanted, []
    for query, ids in zip(queries, candidates, strict=True):
        those = stored[np.searchsorted(together, ids)]
        near = bounded.nearest(those, query.vector, wanted.count, wanted.furthest)
        found.append([(int(ids[at]), distance) for at, distance in near])
    return found


def _count_nearer(connection: Connection, vectors: Vectors, query: Half, distance: float) -> int:
    """Count those that are strictly nearer to a query than a distance, exactly."""
    error = pgvector.error_of(vectors.dim)
    sure, unsure = pgvector.count_within(
        connection, vectors, query, distance * (1 - error), distance * (1 + error)
    )
    if not unsure:
        return sure
    stored = pgvector.read(connection, vectors, np.array(sorted(unsure), dtype=np.int64))
    return sure + bounded.count_nearer(stored, query, distance)
