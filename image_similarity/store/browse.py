"""Looking through a case: pages of contents in a lasting order, and how many there are of what.

A cursor names the last row of its page. Rows are never deleted and keep their keys, so that pages go on where they
stopped while a run adds pictures. It also names the newest place at the first page: places that came later stand behind
all others, or a picture that was not shown yet could get one before the cursor, and be missed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, get_args
from weakref import WeakKeyDictionary

import numpy as np
from sqlalchemy import Connection

from image_similarity.errors import InvalidSetting, UnknownScene, UnknownSource
from image_similarity.store import dates
from image_similarity.store.catalog import Catalog
from image_similarity.store.holdings import Contents, Holdings, Labels, Mask, Numbers, Places, Shelf
from image_similarity.store.listed import listed
from image_similarity.values import (
    UNDATED,
    Choice,
    Counted,
    Facets,
    Listing,
    Order,
)

ORDERS: tuple[Order, ...] = get_args(Order)
# More months than this are counted by years.
_MOST_MONTHS = 24
_CURSOR = re.compile(r"(path|taken|added)-(\d{1,18})-(\d{1,18})", re.ASCII)

_SHELVES: WeakKeyDictionary[Catalog, tuple[threading.Lock, Shelf]] = WeakKeyDictionary()
_MAKING = threading.Lock()


def page(catalog: Catalog, choice: Choice, order: Order, after: str | None, limit: int) -> Listing:
    """A page of the contents that meet a choice; see `Case.browse`."""
    if order not in ORDERS:
        raise InvalidSetting(f"there is no order {order!r}", hint=", ".join(ORDERS))
    newest, last = (None, None) if after is None else _rows_of(after, order)
    with _opened(catalog, choice) as (connection, shelf, held):
        met = _Met(connection, shelf, held, choice)
        chosen = met.all()
        newest = int(held.places.ids.max(initial=0)) if newest is None else newest
        held, counting = _later_last(held, met.places, newest)
        places = _first_places(held.places, counting, chosen)
        wanted = _ordered(held, places, chosen, order)
        start = 0 if last is None else _start(held, places, wanted, order, last)
        rows = wanted[start : start + limit]
        items = listed(connection, held, rows, places[rows])
        more = start + limit < len(wanted)
        following = f"{order}-{newest}-{_key(held, places, rows[-1], order)}" if more else None
        return Listing(tuple(items), following, len(wanted))


def facets(catalog: Catalog, choice: Choice) -> Facets:
    """How many contents that meet a choice have which scene and so on; see `Facets`."""
    with _opened(catalog, choice) as (connection, shelf, held):
        met = _Met(connection, shelf, held, choice)
        return Facets(
            total=int(met.all().sum()),
            scenes=_counted(held.scenes, met.all("scenes"), choice.scenes),
            sources=_by_source(held.places, met, choice.sources),
            tags=_counted(held.tags, met.all("tags"), choice.tags),
            lists=_counted(held.lists, met.all("lists"), choice.lists),
            categories=_counted(held.categories, met.all("categories"), choice.categories),
            taken=_by_date(held.contents.days[met.all("taken")]),
        )


@contextmanager
def _opened(catalog: Catalog, choice: Choice) -> Iterator[tuple[Connection, Shelf, Holdings]]:
    """What is in memory of a database, for one thread at a time."""
    with _MAKING:
        lock, shelf = _SHELVES.setdefault(catalog, (threading.Lock(), Shelf()))
    with lock, catalog.reading() as connection:
        held = shelf.holdings(connection)
        _check(held, choice)
        yield connection, shelf, held


def _check(held: Holdings, choice: Choice) -> None:
    """Refuse names that the database does not know; that no picture has a tag is an answer."""
    for name in choice.sources:
        if name not in held.places.names:
            raise UnknownSource(f"there is no source {name!r}", hint=", ".join(held.places.names))
    for name in choice.scenes:
        if name not in held.scenes.names:
            raise UnknownScene(f"no scene is called {name!r}")
    dates.checked(choice.taken_from, "the first date")
    dates.checked(choice.taken_to, "the last date")
    for each in choice.taken:
        if each != UNDATED:
            dates.checked(each, "the date")


class _Met:
    """Which contents meet each part of a choice."""

    def __init__(
        self, connection: Connection, shelf: Shelf, held: Holdings, choice: Choice
    ) -> None:
        self._held = held
        self.count = count = len(held.contents.ids)
        below = choice.under.strip("/") if choice.under else ""
        self.anywhere = held.places.live | choice.include_gone
        if below:
            self.anywhere = self.anywhere & shelf.below(connection, held.places, below)
        wanted = [name in choice.sources for name in held.places.names]
        of_source = np.array(wanted, dtype=np.bool_)[held.places.sources]
        # The places that count, and with them the contents.
        self.places = self.anywhere & of_source if choice.sources else self.anywhere
        self._parts: dict[str, Mask] = {"sources": self.at(self.places)}
        for name in ("scenes", "tags", "lists", "categories"):
            labels: Labels = getattr(held, name)
            if names := getattr(choice, name):
                self._parts[name] = labels.having(names, count)
        if choice.known != "any":
            known = held.lists.having(held.lists.names, count)
            self._parts["known"] = known if choice.known == "only" else ~known
        if choice.taken or choice.taken_from or choice.taken_to:
            self._parts["range"] = _within(held.contents, choice.taken_from, choice.taken_to)
        if choice.taken:
            self._parts["taken"] = _on(held.contents, choice.taken)

    def all(self, *but: str) -> Mask:
        """The contents that meet the whole choice, `but` parts of it."""
        found = self.at(self.anywhere) if "sources" in but else self._parts["sources"]
        for name, met in self._parts.items():
            if name != "sources" and name not in but:
                found = found & met
        return found

    def at(self, places: Mask) -> Mask:
        """The contents at places."""
        found = np.zeros(self.count, dtype=np.bool_)
        found[self._held.places.rows[places]] = True
        return found


def _within(contents: Contents, first: str | None, last: str | None) -> Mask:
    """The contents taken from `first` to `last`, each a year, month or day and included; all without either."""
    found = np.ones(len(contents.ids), dtype=np.bool_)
    if first:
        found &= contents.days >= _days(first)[0]
    if last:
        found &= (contents.days > 0) & (contents.days <= _days(last)[1])
    return found


def _on(contents: Contents, names: Sequence[str]) -> Mask:
    """The contents taken in any of some years or months, or undated."""
    found = np.zeros(len(contents.ids), dtype=np.bool_)
    for name in names:
        if name == UNDATED:
            found |= contents.days == 0
        else:
            first, last = _days(name)
            found |= (contents.days >= first) & (contents.days <= last)
    return found


def _days(name: str) -> tuple[int, int]:
    """The first and last day of a year, a month or a day, as numbers; no month has more than 99."""
    digits = name.replace("-", "")
    return int(digits.ljust(8, "0")), int(digits.ljust(8, "9"))


# -- order ------------------------------------------------------------------------------------------------------------


def _later_last(held: Holdings, counting: Mask, newest: int) -> tuple[Holdings, Mask]:
    """The holdings, and which places count, with the places that came after one behind all others."""
    was = held.places
    later = was.ids > newest
    if not later.any():
        return held, counting
    order = np.argsort(later, kind="stable")
    places = Places(was.ids[order], was.rows[order], was.sources[order], was.live[order], was.names)
    return replace(held, places=places), counting[order]


def _first_places(places: Places, counting: Mask, chosen: Mask) -> Numbers:
    """For each content the position of its first place that counts, a live one if there is any; -1 without one."""
    first = np.full(len(chosen), -1, dtype=np.int64)
    there = np.flatnonzero(counting & chosen[places.rows])
    for kind in (there[~places.live[there]], there[places.live[there]]):
        # Of several the one that is written last stays: the first.
        first[places.rows[kind[::-1]]] = kind[::-1]
    return first


def _ordered(held: Holdings, places: Numbers, chosen: Mask, order: Order) -> Numbers:
    """The rows of the contents in order."""
    rows = np.flatnonzero(chosen)
    if order == "added":
        return rows[::-1]
    if order == "path":
        return rows[np.argsort(places[rows])]
    return rows[np.argsort(_moments(held.contents)[rows], kind="stable")]


def _moments(contents: Contents) -> Numbers:
    """What orders contents by the time when they were taken, undated ones last."""
    return np.where(contents.taken > 0, contents.taken, np.iinfo(np.int64).max)


def _key(held: Holdings, places: Numbers, row: int, order: Order) -> int:
    """The id of the row of the database that a cursor names: of the place where that gives the order."""
    return int(held.places.ids[places[row]] if order == "path" else held.contents.ids[row])


def _rows_of(cursor: str, order: Order) -> tuple[int, int]:
    """The ids that a cursor names: of the newest place at the first page, and of the last row of the page before."""
    found = _CURSOR.fullmatch(cursor)
    if found is None or found[1] != order:
        raise InvalidSetting(f"{cursor!r} is no cursor of a page in the order of {order}")
    return int(found[2]), int(found[3])


def _start(held: Holdings, places: Numbers, wanted: Numbers, order: Order, last: int) -> int:
    """How many of the wanted rows stand up to the one that a cursor names, which need not be among them any more."""
    ids = held.places.ids if order == "path" else held.contents.ids
    (at,) = np.nonzero(ids == last)
    if not len(at):
        raise InvalidSetting("the cursor names nothing in this database")
    if order == "path":
        return int(np.searchsorted(places[wanted], at[0], side="right"))
    if order == "added":
        return int((wanted >= at[0]).sum())
    moments = _moments(held.contents)
    before = moments[wanted] < moments[at[0]]
    return int((before | ((moments[wanted] == moments[at[0]]) & (wanted <= at[0]))).sum())


# -- counts -----------------------------------------------------------------------------------------------------------


def _counted(labels: Labels, among: Mask, chosen: Collection[str]) -> tuple[Counted, ...]:
    return _most_first(labels.counts(among), chosen)


def _by_source(places: Places, met: _Met, chosen: Collection[str]) -> tuple[Counted, ...]:
    """Of each source how many contents have a place there that counts but for the choice of sources."""
    there = np.flatnonzero(met.anywhere & met.all("sources")[places.rows])
    # Marked, not sorted: a content may lie at several places of a source.
    found = np.zeros((len(places.names), met.count), dtype=np.bool_)
    found[places.sources[there], places.rows[there]] = True
    return _most_first(zip(places.names, found.sum(axis=1).tolist(), strict=True), chosen)


def _most_first(counts: Any, chosen: Collection[str]) -> tuple[Counted, ...]:
    found = [Counted(name, count) for name, count in counts if count or name in chosen]
    return tuple(sorted(found, key=lambda each: (-each.count, each.name)))


def _by_date(days: Numbers) -> tuple[Counted, ...]:
    dated = days[days > 0]
    counts = np.bincount(dated // 100)
    (months,) = np.nonzero(counts)
    names = [f"{month // 100:04d}-{month % 100:02d}" for month in months.tolist()]
    if len(months) > _MOST_MONTHS:
        counts = np.bincount(dated // 10_000)
        (months,) = np.nonzero(counts)
        names = [f"{year:04d}" for year in months.tolist()]
    numbers = counts[months].tolist()
    found = [Counted(name, number) for name, number in zip(names, numbers, strict=True)]
    undated = len(days) - len(dated)
    return (*found, *([Counted(UNDATED, undated)] if undated else []))
