"""A copy of a database until it is whole: where it is, by what it is known, and how it is gone on with.

A table of its own stands in it, by which every opening refuses it; a file has another name as well. Both go at the end.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from image_similarity.errors import (
    DatabaseError,
    DatabaseLocked,
    DatabaseNotWritable,
    UsageError,
)
from image_similarity.events import Listener, Notice
from image_similarity.store import audit, copying
from image_similarity.store import engine as engines
from image_similarity.store import upgrade as upgrades
from image_similarity.store.catalog import PART, Catalog
from image_similarity.store.upgrade import UNFINISHED
from image_similarity.values import Location


@dataclass(frozen=True, slots=True)
class Original:
    """What a copy is of: the database, the head of its audit chain (0 and "" for none), how many rows of what."""

    source: str
    number: int
    digest: str
    counts: Mapping[str, int]

    @property
    def rows(self) -> int:
        """All rows together."""
        return sum(self.counts.values())

    def is_same(self, other: Original) -> bool:
        """Whether both are of one state of one database, wherever that is; packs may have been made anew."""
        mine, theirs = (
            {name: rows for name, rows in each.counts.items() if name not in copying.PACKS}
            for each in (self, other)
        )
        return (self.number, self.digest, mine) == (other.number, other.digest, theirs)


def original_of(connection: Connection, source: str) -> Original:
    """What a copy of a database would be of, now."""
    head = audit.head(connection)
    number, digest = (head.number, head.digest) if head else (0, "")
    return Original(source, number, digest, copying.count(connection))


@dataclass(frozen=True, slots=True)
class Copying:
    """One try of a copy: where it is written, and a token that stands in it until a later try takes it over."""

    place: Location
    token: str

    @contextmanager
    def writing(self, opened: Catalog) -> Iterator[Connection]:
        """As `Catalog.writing`.

        Raises:
            DatabaseLocked: A later try has taken the copy over, and may have finished it.
        """
        with opened.writing() as connection:
            if _token(connection) != self.token:
                raise DatabaseLocked(
                    f"{self.place}: the same copy was begun once more and is written by that command",
                    hint="wait for it",
                )
            yield connection


def opened(place: Location) -> Catalog:
    """Open an unfinished copy, which `Catalog.open` refuses."""
    return Catalog(place, _engine(place), _state(place), read_only=False)


def begin(original: Original, target: Location, on_event: Listener) -> Copying:
    """Find or make the unfinished copy. A file has another name until it is whole.

    Raises:
        UsageError: Something else is there.
        DatabaseNotWritable.
    """
    place, state = target, _state(target)
    if isinstance(target, Path) and state.kind in ("missing", "empty"):
        place = target.with_name(target.name + PART)
        state = _state(place)
    if state.kind == "unfinished":
        token = _go_on(original, place, target, state, on_event)
        if token:
            return Copying(place, token)
        _remove(place)
        return begin(original, target, on_event)
    if state.kind not in ("missing", "empty"):
        raise _occupied(place)
    return Copying(place, _make(place, state, original))


def move_into_place(copy: Copying, target: Location) -> Copying:
    """Give the file of a copy its name; it stays marked as unfinished.

    Raises:
        UsageError: Something else is there by now.
        DatabaseNotWritable.
    """
    place = copy.place
    if place == target or not isinstance(place, Path) or not isinstance(target, Path):
        return copy
    if _state(target).kind not in ("missing", "empty"):
        raise _occupied(target)
    try:
        place.replace(target)
    except OSError as error:
        raise DatabaseNotWritable(f"cannot move {place} to {target}: {error.strerror}") from error
    return Copying(target, copy.token)


def end(connection: Connection) -> None:
    """Take the mark away, and let what is written from now on have ids of its own."""
    connection.exec_driver_sql(f"DROP TABLE {UNFINISHED}")
    if engines.is_sqlite(connection):
        return
    from image_similarity.store import postgres

    for table in copying.TABLES:
        if "id" in table.c:
            postgres.restart_ids(connection, table)
        # Otherwise the first searches would be planned as if there were no rows.
        connection.exec_driver_sql(f"ANALYZE {table.name}")


def discard(copy: Copying) -> None:
    """Take away what was copied; on a server the tables stay, empty and marked."""
    with closing(opened(copy.place)) as made, copy.writing(made) as connection:
        if not engines.is_sqlite(connection):
            _empty(connection, Original(_begun(connection).source, 0, "", {}))
    _remove(copy.place)


def _go_on(
    original: Original,
    place: Location,
    target: Location,
    state: upgrades.SchemaState,
    on_event: Listener,
) -> str:
    """Take over a copy that was broken off; gives the token, or none for a file that is to be made anew."""
    is_ours = state.revision == state.head
    with closing(opened(place)) as made, made.writing() as connection:
        found = _begun(connection)
        if is_ours and found.is_same(original):
            there = _without_packs(connection)
            on_event(Notice(f"{place}: going on with a copy, of which {there} rows are there"))
            return _mark(connection, original)
        if found.source != original.source:
            raise UsageError(
                f"{place} is an unfinished copy of {found.source}",
                hint=f"finish that one, or name another place than {target}",
            )
        on_event(
            Notice(
                f"{place}: the copy is not of the present state of {original.source}; it starts over"
            )
        )
        if isinstance(place, Path):
            return ""
        if not is_ours:
            raise UsageError(
                f"{place} is an unfinished copy that another version of this program began",
                hint="go on with that version, or make another database: createdb",
            )
        return _empty(connection, original)


def _make(place: Location, state: upgrades.SchemaState, original: Original) -> str:
    tokens: list[str] = []
    if isinstance(place, Path):
        engines.create_file(place)
    engine = _engine(place)
    try:
        upgrades.upgrade(engine, state, begin=lambda it: tokens.append(_begin(it, original)))
    except BaseException:
        engine.dispose()
        _remove(place)
        raise
    engine.dispose()
    if not tokens:
        # Another command that opened the empty database had made it its own meanwhile.
        raise _occupied(place)
    return tokens[0]


def _remove(place: Location) -> None:
    if isinstance(place, Path):
        with suppress(OSError):
            place.unlink(missing_ok=True)


def _engine(place: Location) -> Engine:
    if isinstance(place, Path):
        return engines.make_engine(place, read_only=False)
    from image_similarity.store import postgres

    return postgres.make_engine(place, read_only=False)


def _state(place: Location) -> upgrades.SchemaState:
    if not isinstance(place, Path):
        return upgrades.read_server_state(place)
    if place.is_file() and engines.needs_recovery(place):
        engines.recover(place)
    return upgrades.read_state(place)


def _occupied(place: Location) -> UsageError:
    if isinstance(place, Path):
        return UsageError(
            f"{place} exists already", hint="it was not touched; name a new file, or move it away"
        )
    return UsageError(
        f"{place} holds tables already",
        hint="it was not touched; make another database on the server: createdb",
    )


# -- the mark -------------------------------------------------------------------------------------------------------


def _begin(connection: Connection, original: Original) -> str:
    columns = "source TEXT, number BIGINT, digest TEXT, counts TEXT, token TEXT"
    connection.exec_driver_sql(f"CREATE TABLE {UNFINISHED} ({columns})")
    return _mark(connection, original)


def _mark(connection: Connection, original: Original) -> str:
    token = secrets.token_hex()
    connection.exec_driver_sql(f"DELETE FROM {UNFINISHED}")  # noqa: S608 - words of ours
    connection.execute(
        text(f"INSERT INTO {UNFINISHED} VALUES (:source, :number, :digest, :counts, :token)"),  # noqa: S608
        {
            "source": original.source,
            "number": original.number,
            "digest": original.digest,
            "counts": json.dumps(dict(original.counts)),
            "token": token,
        },
    )
    return token


def _begun(connection: Connection) -> Original:
    statement = f"SELECT source, number, digest, counts FROM {UNFINISHED}"  # noqa: S608 - words of ours
    source, number, digest, counts = connection.exec_driver_sql(statement).one()
    return Original(source, number, digest, json.loads(counts))


def _token(connection: Connection) -> str | None:
    try:
        return str(connection.exec_driver_sql(f"SELECT token FROM {UNFINISHED}").scalar())  # noqa: S608
    except DatabaseError as error:
        if type(error) is not DatabaseError:
            raise
        # The mark is gone.
        return None


def _without_packs(connection: Connection) -> int:
    """Keep the rows that are there, and say how many; not packs, which the original may have made anew since."""
    for name in copying.PACKS:
        connection.exec_driver_sql(f"DELETE FROM {name}")  # noqa: S608 - words of ours
    return sum(copying.count(connection).values())


def _empty(connection: Connection, original: Original) -> str:
    """Take all rows out of a copy on a server, which then is one of `original`."""
    # The triggers that keep the audit chain append-only keep it from being emptied, too.
    kept = ("audit", "merged_audit")
    for name in kept:
        connection.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER USER")
    connection.exec_driver_sql(f"TRUNCATE {', '.join(each.name for each in copying.TABLES)}")
    for name in kept:
        connection.exec_driver_sql(f"ALTER TABLE {name} ENABLE TRIGGER USER")
    return _mark(connection, original)
