"""Lists of known files: read, sorted and stored in one transaction, so that none is there in part."""

from __future__ import annotations

import heapq
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path
from typing import IO

from image_similarity.errors import HashListRefused, InvalidSetting, UsageError
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.records.decisions import checked
from image_similarity.records.hash_files import FORMS, Form, Opened, opened
from image_similarity.store import gallery, hash_lists, runs
from image_similarity.store.catalog import Catalog
from image_similarity.store.hash_lists import Entry
from image_similarity.values import (
    Digests,
    HashList,
    HashListReport,
    KnownHash,
    KnownPlace,
    Place,
)

MAX_NAME = 100
# Entries that are sorted in memory, 50 MB or so; a longer list is sorted in portions on disk, and merged.
_PORTION = 250_000
# A digest, filled up with zeros, its length, and the number of its category.
_RECORD = struct.Struct(">32sBI")
_ROWS_BETWEEN_EVENTS = 20_000
# Pictures whose records are in memory at once.
_RECORDS = 10_000
_MEGABYTE = 1_000_000


def import_list(
    catalog: Catalog,
    path: Path,
    *,
    name: str | None = None,
    form: Form | None = None,
    on_event: Listener = ignore,
) -> HashListReport:
    """Read a file of known hashes into the database; see `Case.import_hash_list`."""
    if form is not None and form not in FORMS:
        raise InvalidSetting(f"no form is called {form!r}", hint=f"it is one of {', '.join(FORMS)}")
    given = path.stem if name is None else name
    name = checked(given, "the name of a list", MAX_NAME, hint="name it with --name")
    with catalog.reading() as connection:
        _refuse_known(name, hash_lists.lists(connection))
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        on_event(Started(name, str(path), path.stat().st_size // _MEGABYTE, "MB"))
        sorter, counts = stack.enter_context(_Sorter()), _Counts()
        source = opened(path, file, form)
        _read(source, sorter, counts, on_event)
        if not counts.rows:
            raise HashListRefused(
                f"{path} holds no hash that could be used"
                + (f": {counts.first_malformed}" if counts.first_malformed else ""),
                hint=f"it was read as {source.form}; --form takes {', '.join(FORMS)}",
            )
        entries = _told(sorter.sorted(), counts.rows, on_event)
        on_event(Started(name, str(path), counts.rows, "hashes"))
        with catalog.writing() as connection:
            _refuse_known(name, hash_lists.lists(connection))
            stored = hash_lists.add(connection, name, source.form, source.sha256(), entries)
    with catalog.reading() as connection:
        pictures, unreadable = hash_lists.held_by(connection, name)
    return HashListReport(
        list=stored,
        rows=counts.rows,
        repeated=counts.rows - stored.entries,
        empty=counts.empty,
        malformed=counts.malformed,
        first_malformed=counts.first_malformed,
        pictures=pictures,
        unreadable=unreadable,
    )


def remove_list(catalog: Catalog, name: str) -> HashList:
    """Remove a list; see `Case.remove_hash_list`."""
    with catalog.writing() as connection:
        removed = hash_lists.remove(connection, name)
    if removed is None:
        raise _no_list(catalog, name)
    return removed


def all_lists(catalog: Catalog) -> list[HashList]:
    """The lists, by name."""
    with catalog.reading() as connection:
        return hash_lists.lists(connection)


def known_places(catalog: Catalog, name: str | None = None) -> Iterator[KnownPlace]:
    """The places whose contents lists hold; see `Case.known_places`.

    No transaction is held while a place is given: writers would wait for whoever pages through them.
    """
    with catalog.reading() as connection:
        if name is not None and name not in {each.name for each in hash_lists.lists(connection)}:
            raise _no_list(catalog, name)
        ids = hash_lists.known_ids(connection, name).tolist()
    for start in range(0, len(ids), _RECORDS):
        with catalog.reading() as connection:
            images = gallery.records(connection, ids[start : start + _RECORDS]).values()
        for image in images:
            for known, place in product(image.known, image.places):
                if name in (None, known.list):
                    yield _known_place(known, image.sha256, place)
    yield from _known_failures(catalog, name)


def _known_failures(catalog: Catalog, name: str | None) -> Iterator[KnownPlace]:
    """The same of files that could not be taken, but whose bytes were read."""
    roots = {each.name: each.root for each in catalog.sources()}
    with catalog.reading() as connection:
        failures = [each for each in runs.failures(connection) if each.sha256]
        hashes = {at: Digests(each.sha256 or "", "", "") for at, each in enumerate(failures)}
        found = hash_lists.known(connection, hashes)
    for at, lists in found.items():
        failure = failures[at]
        place = Place(failure.source, roots[failure.source], failure.path, "")
        for known in lists:
            if name in (None, known.list):
                said = f"{failure.error}: {failure.message}"
                yield replace(_known_place(known, failure.sha256 or "", place), failure=said)


def _known_place(known: KnownHash, sha256: str, place: Place) -> KnownPlace:
    return KnownPlace(
        list=known.list,
        algorithm=known.algorithm,
        category=known.category,
        sha256=sha256,
        place=f"{place.source}:{place.path}",
        root=place.root,
        gone_since=place.gone_since,
    )


def _no_list(catalog: Catalog, name: str) -> UsageError:
    return UsageError(
        f"{catalog.path} has no hash list {name!r}", hint="see: image-similarity hashlist list"
    )


def _refuse_known(name: str, lists: list[HashList]) -> None:
    if any(each.name == name for each in lists):
        raise InvalidSetting(
            f"there is a hash list {name!r} already",
            hint="give this one another --name, or remove the other: image-similarity hashlist remove",
        )


class _Counts:
    """What was met in a file."""

    rows = 0
    empty = 0
    malformed = 0
    first_malformed = ""


def _read(source: Opened, sorter: _Sorter, counts: _Counts, on_event: Listener) -> None:
    total = source.path.stat().st_size // _MEGABYTE
    for number, row in enumerate(source.rows(), start=1):
        if row.digest is not None:
            counts.rows += 1
            sorter.add(row.digest, row.category)
        elif row.problem == "empty":
            counts.empty += 1
        else:
            counts.malformed += 1
            counts.first_malformed = counts.first_malformed or f"{row.where}: {row.problem}"
        if number % _ROWS_BETWEEN_EVENTS == 0:
            on_event(Progress(source.bytes_read // _MEGABYTE, total, 0, 0))
    on_event(Progress(total, total, 0, 0))


def _told(entries: Iterator[Entry], total: int, on_event: Listener) -> Iterator[Entry]:
    """The entries, with events on the way; fewer than the total if rows repeat a hash."""
    for number, entry in enumerate(entries, start=1):
        yield entry
        if number % _ROWS_BETWEEN_EVENTS == 0:
            on_event(Progress(number, total, 0, 0))
    on_event(Progress(total, total, 0, 0))


class _Sorter:
    """Sorts any number of entries with little memory: sorted portions in files without a name, merged at the end."""

    def __init__(self) -> None:
        self._waiting: set[tuple[bytes, int, int]] = set()
        self._files: list[IO[bytes]] = []
        self._categories: dict[str, int] = {"": 0}

    def __enter__(self) -> _Sorter:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def add(self, digest: bytes, category: str) -> None:
        """Take one entry."""
        number = self._categories.setdefault(category, len(self._categories))
        self._waiting.add((digest.ljust(32, b"\0"), len(digest), number))
        if len(self._waiting) >= _PORTION:
            self._files.append(self._spilt())

    def sorted(self) -> Iterator[Entry]:
        """Each digest once, ascending; if it has several categories, these joined by semicolons."""
        names = list(self._categories)
        merged = heapq.merge(sorted(self._waiting), *map(_records, self._files))
        for (digest, length), those in groupby(merged, key=lambda record: record[:2]):
            categories = sorted({names[number] for *_, number in those} - {""})
            yield Entry(digest[:length], "; ".join(categories))

    def _spilt(self) -> IO[bytes]:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the sorter
        for record in sorted(self._waiting):
            file.write(_RECORD.pack(*record))
        self._waiting.clear()
        return file


def _records(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    file.seek(0)
    while block := file.read(_RECORD.size * 1024):
        yield from _RECORD.iter_unpack(block)
