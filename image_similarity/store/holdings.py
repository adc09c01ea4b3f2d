"""Holdings: what looking through a case needs of every content, kept in memory until the database changes.

Columns, not records: of 200,000 contents they take some 20 MB, and any choice is counted in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Text, cast, func, select, text

from image_similarity.store import dates
from image_similarity.store.dialects import as_bytes, is_integer
from image_similarity.store.engine import is_sqlite, plain_rows
from image_similarity.store.gallery import PlaceFilter, counting
from image_similarity.store.schema import (
    audit_table,
    file_table,
    hash_list_table,
    image_scene_table,
    image_table,
    mark_table,
    run_table,
    scene_table,
    source_table,
)

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Made = TypeVar("Made")

# Folders whose places are remembered.
_FOLDERS = 4
# Of the number of a moment: what stands for a day.
_DAY = 1_000_000
_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Every content, by id, and when it was taken as a number: 20240301180559, or 0."""

    ids: Numbers
    taken: Numbers

    @property
    def days(self) -> Numbers:
        """The days they were taken as numbers: 20240301, or 0."""
        return self.taken // _DAY


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Every place in the order of source and path: its id, the row of its content, its source, whether it is live."""

    ids: Numbers
    rows: Numbers
    sources: Numbers
    live: Mask
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Which contents have which names: pairs of a row and a position in `names`, each pair once."""

    names: tuple[str, ...]
    rows: Numbers
    positions: Numbers

    def having(self, names: Sequence[str], count: int) -> Mask:
        """Which of `count` rows have any of these names."""
        wanted = np.array([name in names for name in self.names], dtype=np.bool_)
        found = np.zeros(count, dtype=np.bool_)
        found[self.rows[wanted[self.positions]]] = True
        return found

    def counts(self, among: Mask) -> list[tuple[str, int]]:
        """Each name with the number of rows that have it, of those that `among` says."""
        found = np.bincount(self.positions[among[self.rows]], minlength=len(self.names))
        return list(zip(self.names, found.tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Holdings:
    """All of one state of the database."""

    contents: Contents
    places: Places
    scenes: Labels
    tags: Labels
    categories: Labels
    lists: Labels


# What tells one state from the next, of each group of tables. Every batch of a run is written together with the run's
# account, and every decision with an entry of the audit chain.
_STATES = (
    select(
        select(func.max(run_table.c.id)).scalar_subquery(),
        select(func.max(image_table.c.id)).scalar_subquery(),
        select(func.max(file_table.c.id)).scalar_subquery(),
        select(as_bytes(func.aggregate_strings(cast(run_table.c.account, Text), ",")))
        .where(run_table.c.status == "running")
        .scalar_subquery(),
    ),
    select(func.max(audit_table.c.id)),
    select(func.count(), func.max(hash_list_table.c.id), func.sum(hash_list_table.c.entries)),
)


class Shelf:
    """The holdings of one database; each part is read again when what it depends on was written."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[Hashable, Any]] = {}
        self._folders: dict[str, Mask] = {}
        self._contents = Contents(_NONE, _NONE)
        # Of one state of the hash lists, up to a content: pairs of the ids of a content and a list that holds it.
        self._held: tuple[Hashable, int, Numbers] = (None, 0, _pairs([]))

    def holdings(self, connection: Connection) -> Holdings:
        """What the database holds now."""
        rows, decided, listed = (tuple(connection.execute(each).one()) for each in _STATES)
        contents = self._part("contents", rows, lambda: self._more_contents(connection))
        ids = contents.ids
        marks = self._part("marks", (rows, decided), lambda: _marks(connection, ids))
        return Holdings(
            contents,
            self._part("places", rows, lambda: self._new_places(connection, ids)),
            self._part("scenes", rows, lambda: _scenes(connection, ids)),
            marks["tag"],
            marks["category"],
            self._part("lists", (rows, listed), lambda: self._lists(connection, ids, listed)),
        )

    def below(self, connection: Connection, places: Places, folder: str) -> Mask:
        """Which places, of the holdings that were given last, lie below a folder of their source."""
        if folder not in self._folders:
            if len(self._folders) == _FOLDERS:
                self._folders.clear()
            condition = counting(PlaceFilter(under=folder, include_gone=True))
            rows = plain_rows(connection, select(file_table.c.id).where(condition))
            found = np.fromiter((row[0] for row in rows), np.int64, len(rows))
            self._folders[folder] = np.isin(places.ids, found)
        return self._folders[folder]

    def _part(self, name: str, state: Hashable, make: Callable[[], Made]) -> Made:
        kept = self._parts.get(name)
        if kept is None or kept[0] != state:
            # Gone before its successor is made: two at once would take twice the memory.
            self._parts.pop(name, None)
            kept = self._parts[name] = state, make()
        made: Made = kept[1]
        return made

    def _more_contents(self, connection: Connection) -> Contents:
        # None of those that are known ever changes.
        self._contents = _contents(connection, self._contents)
        return self._contents

    def _new_places(self, connection: Connection, ids: Numbers) -> Places:
        self._folders.clear()
        return _places(connection, ids)

    def _lists(self, connection: Connection, ids: Numbers, state: Hashable) -> Labels:
        named = select(hash_list_table.c.id, as_bytes(hash_list_table.c.name))
        names = plain_rows(connection, named)
        of_state, newest, held = self._held
        if of_state != state:
            newest, held = 0, _pairs([])
        held_by = _HELD if is_sqlite(connection) else _HELD_ON_SERVER
        rows = plain_rows(connection, held_by.bindparams(newest=newest)) if names else []
        held = np.concatenate([held, _pairs(rows)])
        self._held = state, int(ids.max(initial=0)), held
        return _labels(held, names, ids)


def _contents(connection: Connection, before: Contents) -> Contents:
    """What was known before, and the contents that came since."""
    columns = image_table.c
    newest = int(before.ids[-1]) if len(before.ids) else 0
    statement = select(columns.id, dates.moment()).where(columns.id > newest).order_by(columns.id)
    rows = plain_rows(connection, statement)
    ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    taken = np.fromiter((_moment(row[1]) for row in rows), np.int64, len(rows))
    return Contents(np.concatenate([before.ids, ids]), np.concatenate([before.taken, taken]))


def _moment(told: bytes | None) -> int:
    """The number of "2024-03-01T18:05:59"; where no time follows the day, of its beginning; 0 of nothing."""
    if told is None:
        return 0
    digits = told.translate(None, b"-T:")
    sound = len(told) == 19 and len(digits) == 14 and digits.isdigit()
    return int(digits) if sound else int(digits[:8]) * _DAY


def _places(connection: Connection, ids: Numbers) -> Places:
    statement = (
        select(
            file_table.c.id,
            file_table.c.image_id,
            file_table.c.source_id,
            file_table.c.gone_run_id.is_(None),
        )
        .join(source_table, source_table.c.id == file_table.c.source_id)
        .where(is_integer(file_table.c.image_id))
        .order_by(source_table.c.name, file_table.c.path, file_table.c.id)
    )
    found = np.array(plain_rows(connection, statement), dtype=np.int64).reshape(-1, 4)
    rows, there = _rows_of(ids, found[:, 1])
    found = found[there]
    named = select(source_table.c.id, as_bytes(source_table.c.name))
    names, positions = _named(plain_rows(connection, named), found[:, 2])
    return Places(found[:, 0].copy(), rows[there], positions, found[:, 3].astype(np.bool_), names)


def _scenes(connection: Connection, ids: Numbers) -> Labels:
    first = select(image_scene_table.c.image_id, image_scene_table.c.scene_id).where(
        image_scene_table.c.rank == 1,
        is_integer(image_scene_table.c.image_id),
        is_integer(image_scene_table.c.scene_id),
    )
    named = select(scene_table.c.id, as_bytes(scene_table.c.name))
    return _labels(_pairs(plain_rows(connection, first)), plain_rows(connection, named), ids)


def _marks(connection: Connection, ids: Numbers) -> dict[str, Labels]:
    found = {}
    for kind in ("tag", "category"):
        standing = select(mark_table.c.image_id, as_bytes(mark_table.c.value)).where(
            mark_table.c.kind == kind,
            mark_table.c.withdrawn_at.is_(None),
            is_integer(mark_table.c.image_id),
        )
        rows = plain_rows(connection, standing)
        numbers = {value: number for number, value in enumerate({row[1] for row in rows})}
        pairs = _pairs([(image_id, numbers[value]) for image_id, value in rows])
        found[kind] = _labels(pairs, [(number, value) for value, number in numbers.items()], ids)
    return found


# In words that SQLite cannot read the other way round: the entries are found by their digests, never walked through.
_HELD = text(
    "SELECT image.id, hash_entry.list_id FROM image CROSS JOIN hash_entry"
    " ON hash_entry.digest IN (bytes_of(sha256), bytes_of(sha1), bytes_of(md5))"
    " WHERE image.id > :newest AND typeof(hash_entry.list_id) = 'integer'"
)
_HELD_ON_SERVER = text(
    "SELECT image.id, hash_entry.list_id FROM image JOIN hash_entry"
    " ON hash_entry.digest IN (bytes_of(sha256), bytes_of(sha1), bytes_of(md5))"
    " WHERE image.id > :newest"
)


def _pairs(rows: Sequence[Any]) -> Numbers:
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def _labels(pairs: Numbers, named: Sequence[Any], ids: Numbers) -> Labels:
    """Labels of pairs of the id of a content and the id of a name; equal names are one."""
    pairs = pairs[np.isin(pairs[:, 1], [id_ for id_, _ in named])]
    rows, there = _rows_of(ids, pairs[:, 0])
    names, positions = _named(named, pairs[there, 1])
    many = max(1, len(names))
    once = np.unique(rows[there] * many + positions)
    return Labels(names, once // many, once % many)


def _named(named: Sequence[Any], wanted: Numbers) -> tuple[tuple[str, ...], Numbers]:
    """All names once, in order, and the positions among them of the ids that are wanted, each of which has one."""
    # As bytes from SQLite: a damaged row may hold anything, also text that is none.
    shown = {id_: (name or b"").decode("utf-8", "replace") for id_, name in named}
    names = tuple(sorted(set(shown.values())))
    at = {name: position for position, name in enumerate(names)}
    unique, inverse = np.unique(wanted, return_inverse=True)
    positions = np.array([at[shown[id_]] for id_ in unique.tolist()], dtype=np.int64)
    return names, positions[inverse] if len(unique) else _NONE


def _rows_of(ids: Numbers, wanted: Numbers) -> tuple[Numbers, Mask]:
    """The rows of contents by their ids, and which of those wanted there are."""
    if not len(ids):
        return wanted, np.zeros(len(wanted), dtype=np.bool_)
    rows = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return rows, ids[rows] == wanted
