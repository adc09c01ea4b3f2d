"""The rows of a database into another, with their ids, whichever engine each of the two is on.

Values go over as they are kept, past SQLAlchemy's types: objects of JSON as their very text, vectors as our bytes. So
every seal of the audit chain holds for the copy, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Table

from image_similarity.errors import DatabaseError
from image_similarity.store.engine import is_sqlite, run_plain
from image_similarity.store.schema import JsonObject, Vector, metadata

# Each after those that its rows refer to.
TABLES: Sequence[Table] = metadata.sorted_tables
# In one transaction. A pack has some megabytes, a thumbnail some kilobytes.
ROWS_AT_ONCE = 4096
_FEWER = {"vector_pack": 8, "scene_pack": 64, "thumbnail": 512}
# Made of other rows, and made anew without an entry in the audit chain.
PACKS = ("vector_pack", "scene_pack")

Row = tuple[Any, ...]
Key = tuple[Any, ...]
# Gives a connection in a write transaction.
Writing = Callable[[], AbstractContextManager[Connection]]


def count(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    statements = {table.name: f"SELECT count(*) FROM {table.name}" for table in TABLES}  # noqa: S608 - words of ours
    return {
        name: int(connection.exec_driver_sql(statement).scalar_one())
        for name, statement in statements.items()
    }


def move(source: Connection, writing: Writing) -> Iterator[int]:
    """Copy all rows that the copy lacks, a portion in each transaction; gives how many, portion by portion.

    Rows go in the order of their keys, so what is there of a table is its beginning.

    Args:
        source: A connection in a read transaction, which lasts for all of it.
        writing: Gives a connection to the copy.

    Raises:
        DatabaseError: A row cannot be read, or not be kept by the other engine.
    """
    for table in TABLES:
        with writing() as copy:
            last = _last_key(copy, table)
        while rows := rows_after(source, table, last):
            with writing() as copy:
                _write(copy, table, rows)
            last = _key_of(table, rows[-1])
            yield len(rows)


def rows_after(connection: Connection, table: Table, last: Key | None) -> Sequence[Row]:
    """The next portion of a table's rows after a key, in the order of keys, as they are written.

    They are as SQLite keeps them: objects of JSON as text, vectors as bytes.
    """
    columns = ", ".join(_reading(connection, column) for column in table.c)
    keys = _names(_keys(table))
    where = f"WHERE ({keys}) > ({', '.join('?' * len(last))})" if last else ""
    portion = _FEWER.get(table.name, ROWS_AT_ONCE)
    statement = f"SELECT {columns} FROM {table.name} {where} ORDER BY {keys} LIMIT {portion}"  # noqa: S608
    try:
        cursor = run_plain(connection, statement, last or ()).cursor
        rows = [] if cursor is None else cursor.fetchall()
    except sqlite3.Error as error:
        # Past SQLAlchemy, which names errors elsewhere: text that is no UTF-8 shows only now.
        raise DatabaseError(f"the table {table.name} cannot be read: {error}") from error
    vectors = [place for place, column in enumerate(table.c) if isinstance(column.type, Vector)]
    return _as_ours(rows, vectors) if vectors and not is_sqlite(connection) else rows


def _reading(connection: Connection, column: Any) -> str:
    if not is_sqlite(connection):
        if isinstance(column.type, Vector):
            return f'halfvec_send("{column.name}")'
        if isinstance(column.type, JsonObject):
            return f'CAST("{column.name}" AS TEXT)'
    return f'"{column.name}"'


def _as_ours(rows: Sequence[Row], vectors: Sequence[int]) -> list[Row]:
    from image_similarity.store.half_vectors import from_sent

    changed = [list(row) for row in rows]
    for row in changed:
        for place in vectors:
            row[place] = from_sent(row[place])
    return [tuple(row) for row in changed]


def lay_beside(source: Connection, connection: Connection) -> None:
    """Copy the rows of a file beside those on a server, as temporary tables "their_image" and so on.

    Without keys, which whoever reads them does not need. They go with the end of the transaction.
    """
    for table in TABLES:
        if table.name in PACKS:
            continue
        name = f"their_{table.name}"
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE {name} (LIKE {table.name}) ON COMMIT DROP"
        )
        last = None
        while rows := rows_after(source, table, last):
            _write(connection, table, rows, into=name)
            last = _key_of(table, rows[-1])
        connection.exec_driver_sql(f"ANALYZE {name}")


def _write(
    connection: Connection, table: Table, rows: Sequence[Row], into: str | None = None
) -> None:
    if is_sqlite(connection):
        places = ", ".join("?" * len(table.c))
        statement = f"INSERT INTO {table.name} ({_names(table.c.keys())}) VALUES ({places})"  # noqa: S608
        connection.exec_driver_sql(statement, rows)
        return
    from image_similarity.store import postgres

    try:
        postgres.copy_in(connection, table, table.c.keys(), rows, into=into)
    except (DatabaseError, TypeError, ValueError, OverflowError) as error:
        # A file keeps any value in any column, such as something else than this program may have written.
        if isinstance(error, DatabaseError) and type(error) is not DatabaseError:
            raise
        raise DatabaseError(f"a row of {table.name} cannot be kept on a server: {error}") from error


def _keys(table: Table) -> list[str]:
    """By what rows are ordered: everywhere the same, though a server's vectors have another primary key."""
    return ["id"] if "id" in table.c else [column.name for column in table.primary_key]


def _key_of(table: Table, row: Row) -> Key:
    names = table.c.keys()
    return tuple(row[names.index(name)] for name in _keys(table))


def _last_key(connection: Connection, table: Table) -> Key | None:
    keys = _keys(table)
    order = ", ".join(f'"{key}" DESC' for key in keys)
    statement = f"SELECT {_names(keys)} FROM {table.name} ORDER BY {order} LIMIT 1"  # noqa: S608
    found = run_plain(connection, statement).one_or_none()
    return None if found is None else tuple(found)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
