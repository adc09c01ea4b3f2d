"""Engines: how a connection to the file is opened, begun and blamed.

Journal mode stays DELETE (one file, readable from write-protected media), synchronous FULL. We issue BEGIN ourselves,
because Python's sqlite3 would otherwise begin late and commit DDL on its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import CursorResult, Engine, Executable, create_engine, event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.pool import QueuePool

from image_similarity.errors import (
    DatabaseDamaged,
    DatabaseError,
    DatabaseLocked,
    DatabaseNotWritable,
    ImageSimilarityError,
    NotOurDatabase,
)
from image_similarity.store.schema import APPLICATION_ID, PAGE_SIZE

BUSY_TIMEOUT_MS = 30_000


def make_engine(path: Path, *, read_only: bool) -> Engine:
    """Give an engine on an existing file; a read-only one cannot create, upgrade or write it."""

    def connect() -> sqlite3.Connection:
        return _connect(path, "ro" if read_only else "rw")

    # Two are kept, and there may be as many as there are threads that ask: one that waits for a connection would fail
    # after 30 s, or for ever, where all that hold one ask for a second.
    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=2, max_overflow=-1
    )
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", lambda context: _named(context, path), retval=True)
    return engine


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        _uri(path, mode), uri=True, check_same_thread=False, isolation_level=None
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    # SQLite has unhex() since 3.41 only.
    connection.create_function("bytes_of", 1, _bytes_of, deterministic=True)
    if mode == "ro":
        connection.execute("PRAGMA query_only = ON")
    return connection


def _bytes_of(digits: object) -> bytes | None:
    """The bytes of hexadecimal digits; NULL for anything else, as SQLite keeps any type in any column."""
    try:
        return bytes.fromhex(digits) if isinstance(digits, str) else None
    except ValueError:
        return None


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"


def read_only_uri(path: Path) -> str:
    """The name by which SQLite opens a file for reading only."""
    return _uri(path, "ro")


def _begin(connection: Connection) -> None:
    # A transaction that means to write takes the lock at once: a lock taken later can fail after work was done.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def create_file(path: Path) -> None:
    """Make an empty database file of ours, readable by its owner only; an existing empty file is taken.

    Raises:
        DatabaseNotWritable: If the folder is missing or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.close(descriptor)
        with closing(_connect(path, "rw")) as connection:
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("VACUUM")
    except (OSError, sqlite3.Error) as error:
        raise DatabaseNotWritable(
            f"cannot create the database {path}: {error}",
            hint="check that its folder exists and can be written",
        ) from error


def recover(path: Path) -> None:
    """Let SQLite roll back what a killed writer left, as a read-only connection cannot do it.

    Raises:
        DatabaseNotWritable: On a read-only medium.
    """
    try:
        with closing(_connect(path, "rw")) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise DatabaseNotWritable(
            f"{path} was left by a killed run and must be recovered first, but cannot be written: {error}",
            hint="copy the database together with its -journal file to a writable folder and open it there",
        ) from error


def needs_recovery(path: Path) -> bool:
    """Whether a killed writer left a journal that a read-only connection cannot roll back."""
    # SQLite lays it beside the file itself, not beside a link that leads there.
    if not Path(f"{path.resolve()}-journal").exists():
        return False
    try:
        with closing(_connect(path, "ro")) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        return getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY_ROLLBACK"
    return False


def _named(context: ExceptionContext, path: Path) -> BaseException | None:
    original: Any = context.original_exception
    return name_error(original, path) if isinstance(original, sqlite3.Error) else None


def name_error(error: sqlite3.Error, path: Path) -> ImageSimilarityError:
    """Translate an error of SQLite into ours; the exit code and the hint depend on it."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseLocked(
            f"{path} is locked by another process",
            hint="wait for it, or see: image-similarity runs",
        )
    if name.startswith("SQLITE_NOTADB"):
        return NotOurDatabase(f"{path} is no SQLite database", hint="check -dp")
    if name.startswith("SQLITE_CORRUPT"):
        return DatabaseDamaged(
            f"{path} is damaged: {error}", hint="restore a backup: image-similarity db backup"
        )
    if name.startswith(
        ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_PERM")
    ):
        return DatabaseNotWritable(
            f"cannot write or read {path}: {error}",
            hint="check free space and permissions, then run again: what was finished is saved",
        )
    return DatabaseError(f"{path}: {error}")


def is_sqlite(connection: Connection) -> bool:
    """Whether the database is a file; otherwise it is on a PostgreSQL server."""
    return connection.dialect.name == "sqlite"


# Of a query on a server: values come in their binary form. Bytes come four times as fast so; an array, as a question
# about the schema gives, would not be understood.
_BINARY = {"binary": True}


def run_plain(
    connection: Connection, statement: str, values: Sequence[Any] = ()
) -> CursorResult[*tuple[Any, ...]]:
    """Run SQL as it is, `?` in the place of each value: SQLAlchemy need not build it before each query."""
    if is_sqlite(connection):
        return connection.exec_driver_sql(statement, tuple(values))
    return connection.exec_driver_sql(
        statement.replace("?", "%s"), tuple(values), execution_options=_BINARY
    )


def plain_portions(
    connection: Connection, statement: str, values: Sequence[Any], size: int
) -> Iterator[Sequence[Any]]:
    """The rows of such SQL, `size` at a time: no more of them are in memory."""
    if is_sqlite(connection):
        cursor: Any = connection.exec_driver_sql(statement, tuple(values)).cursor
        while part := cursor.fetchmany(size):
            yield part
    else:
        yield from connection.exec_driver_sql(
            statement.replace("?", "%s"),
            tuple(values),
            execution_options={**_BINARY, "yield_per": size},
        ).partitions()


def plain_rows(connection: Connection, statement: Executable) -> Sequence[Any]:
    """The rows of a query as tuples from the driver's cursor: of a million SQLAlchemy's take longer than the query.

    No column's type has a say in them: not for vectors or objects of JSON.
    """
    options = {} if is_sqlite(connection) else _BINARY
    cursor = connection.execute(statement, execution_options=options).cursor
    return [] if cursor is None else cursor.fetchall()
