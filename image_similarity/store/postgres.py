"""Engines on a PostgreSQL server: how a connection is opened, begun and blamed; see engine.py for SQLite.

A read transaction is a snapshot and may write nothing. A write transaction holds one advisory lock of the database from
its beginning to its end, which stands for the one writer that SQLite has: entries of the audit chain follow each other,
and what a transaction found missing nobody else adds meanwhile. Writers work in parallel between their transactions,
which are short.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Column, Connection, Engine, Table, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.pool import QueuePool

from image_similarity.errors import (
    DatabaseDamaged,
    DatabaseError,
    DatabaseLocked,
    DatabaseMissing,
    DatabaseNotWritable,
    ExtraMissing,
    ImageSimilarityError,
    ServerRefused,
)
from image_similarity.store.schema import APPLICATION_ID, Vector, metadata
from image_similarity.values import ServerUrl

# HALFVEC and iterative scans need pgvector 0.8; Citus 14 and we are tested from PostgreSQL 16 on.
OLDEST_SERVER = 16
OLDEST_PGVECTOR = (0, 8)
# As long as a file's writer waits: engine.BUSY_TIMEOUT_MS.
LOCK_TIMEOUT_S = 30
# What the URL says itself is left to it.
_CONNECT = {"application_name": "image_similarity", "connect_timeout": 10}
# A writer whose machine loses power must not hold the lock for the two hours that are usual, but for two minutes.
_ALIVE = (
    "SET LOCAL tcp_keepalives_idle = 60; SET LOCAL tcp_keepalives_interval = 10;"
    " SET LOCAL tcp_keepalives_count = 6"
)
# The names of the triggers that work, those that keep references left out.
TRIGGERS = (
    "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
    " WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal AND tgenabled IN ('O', 'A')"
)


def make_engine(server: ServerUrl, *, read_only: bool) -> Engine:
    """Give an engine on a database of a server; a read-only one can write nothing.

    Raises:
        ExtraMissing: psycopg is not installed.
    """
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ExtraMissing(
            f"a database on a server needs the package {error.name}",
            hint='pip install "image_similarity[postgres]"',
        ) from error
    from image_similarity.store import half_vectors

    half_vectors.make_known()
    try:
        engine = create_engine(
            server.url,
            poolclass=QueuePool,
            pool_size=2,
            max_overflow=-1,
            # A connection that the server closed meanwhile is opened anew, not blamed on the next command.
            pool_pre_ping=True,
            connect_args={
                name: value for name, value in _CONNECT.items() if f"{name}=" not in server.url
            },
        )
    except (NoSuchModuleError, ValueError) as error:
        raise ServerRefused(f"cannot connect to {server}: {error}", hint="check -dp") from error

    def begin(connection: Connection) -> None:
        _begin(connection, read_only=read_only)

    event.listen(engine, "begin", begin)
    event.listen(engine, "before_cursor_execute", _choose_form)
    event.listen(engine, "handle_error", lambda context: _named(context, server), retval=True)
    return engine


def _begin(connection: Connection, *, read_only: bool) -> None:
    if connection.get_execution_options().get("immediate", False) and not read_only:
        # What others committed while this waited for the lock must be seen, whatever the server's default is.
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.exec_driver_sql(_ALIVE)
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({APPLICATION_ID})")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _choose_form(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> None:
    """Ask for values in their binary form where a statement says so; see engine.py."""
    if context is not None and context.execution_options.get("binary"):
        cursor.format = 1


@contextmanager
def bare_connection(server: ServerUrl) -> Iterator[Connection]:
    """A connection for a look at what is there before it is opened; nothing is written through it."""
    engine = make_engine(server, read_only=True)
    try:
        with engine.connect() as connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


def check_server(connection: Connection, server: ServerUrl) -> None:
    """Refuse a server, or a pgvector, that is too old.

    Raises:
        ServerRefused.
    """
    number = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    if number < OLDEST_SERVER * 10_000:
        raise ServerRefused(
            f"{server} is PostgreSQL {number // 10_000}, this program needs {OLDEST_SERVER} or later",
            hint="use a newer server",
        )
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise ServerRefused(
            f"{server} is encoded in {encoding}, which cannot hold every path",
            hint=f"make one that can: createdb -E UTF8 -T template0 {server.name}-2",
        )
    available = connection.exec_driver_sql(
        "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions"
        " WHERE name = 'vector'"
    ).scalar()
    needed = ".".join(map(str, OLDEST_PGVECTOR))
    if available is None:
        raise ServerRefused(
            f"the server of {server} has no pgvector",
            hint=f"install pgvector {needed} or later there",
        )
    if tuple(int(part) for part in available.split(".")[:2]) < OLDEST_PGVECTOR:
        raise ServerRefused(
            f"{server} has pgvector {available}, this program needs {needed} or later",
            hint="install it on the server, then: ALTER EXTENSION vector UPDATE",
        )


def check_may_write(engine: Engine, server: ServerUrl) -> None:
    """Refuse to write in a role that may not: every write appends to the audit chain.

    Raises:
        DatabaseNotWritable.
    """
    statement = "SELECT current_user, has_table_privilege('audit', 'INSERT')"
    with engine.connect() as connection, connection.begin():
        role, may_write = connection.exec_driver_sql(statement).one()
    if not may_write:
        raise DatabaseNotWritable(
            f"{role} may only read {server}",
            hint="what writes needs an examiner's rights (docs/scale.md); the page has --read-only",
        )


def table_names(connection: Connection) -> set[str]:
    """The tables in the schema that is written to, without those of extensions."""
    statement = (
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace"
        " AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid"
        " AND deptype = 'e')"
    )
    return set(connection.exec_driver_sql(statement).scalars())


def order_by_bytes(connection: Connection) -> None:
    """Let all columns of text be compared byte by byte, as in SQLite: a locale's order is another, and may change.

    What has another order would be listed otherwise, and prefixes and folders, asked for as ranges, not be found.
    """
    change = "'ALTER ' || quote_ident(attname) || ' TYPE ' || format_type(atttypid, atttypmod) || ' COLLATE \"C\"'"
    statement = (
        f"SELECT attrelid::regclass::text, string_agg({change}, ', ') FROM pg_attribute"  # noqa: S608
        " JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%s) AND NOT attisdropped"
        " AND atttypid IN ('text'::regtype, 'varchar'::regtype) AND attcollation <> '\"C\"'::regcollation"
        " GROUP BY attrelid"
    )
    tables = list(metadata.tables)
    for table, changes in connection.exec_driver_sql(statement, (tables,)).all():
        connection.exec_driver_sql(f"ALTER TABLE {table} {changes}")


def size_of(connection: Connection) -> int:
    """The size of the database on the server's disk, in bytes."""
    found = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return int(found)


# -- many rows at once ----------------------------------------------------------------------------------------------


def copy_in(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    into: str | None = None,
) -> None:
    """Write rows by COPY in binary form, within the caller's transaction.

    Args:
        connection: A connection of `Catalog.writing`.
        table: One of `schema`.
        columns: The names of the columns that the rows have values for, in their order.
        rows: Values as SQLite keeps them: vectors as our bytes, JSON as its text, booleans also as 0 and 1.
        into: The name of another table with the same columns.

    Raises:
        DatabaseError: The server refused a row, such as one whose unique key is there already.
    """
    import psycopg
    from psycopg import sql

    types = [_binary_type(connection, table.c[name]) for name in columns]
    vectors = [
        place for place, name in enumerate(columns) if isinstance(table.c[name].type, Vector)
    ]
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(into or table.name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    raw: Any = connection.connection.driver_connection
    try:
        with raw.cursor() as cursor, cursor.copy(command) as copy:
            copy.set_types(types)
            for row in _with_vectors(rows, vectors) if vectors else rows:
                copy.write_row(row)
    except psycopg.Error as error:
        # Past SQLAlchemy, which names errors elsewhere.
        url = connection.engine.url.render_as_string(hide_password=False)
        raise name_error(error, ServerUrl(url)) from error


def _binary_type(connection: Connection, column: Column[Any]) -> str:
    """The type whose binary form a value of this column has on its way: that of JSON is its text."""
    name = str(column.type.compile(connection.dialect)).lower()
    if name == "json" or name.startswith("varchar"):
        return "text"
    return "bytea" if isinstance(column.type, Vector) else name


def _with_vectors(rows: Iterable[Sequence[Any]], places: Sequence[int]) -> Iterator[Sequence[Any]]:
    from image_similarity.store.half_vectors import to_sent

    for row in rows:
        values = list(row)
        for place in places:
            values[place] = to_sent(values[place])
        yield values


def restart_ids(connection: Connection, table: Table) -> None:
    """Let the next id follow on the greatest that is there, after rows were written with ids of their own."""
    connection.exec_driver_sql(
        f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL)"  # noqa: S608
        f" FROM {table.name}"
    )


# -- errors ---------------------------------------------------------------------------------------------------------


def _named(context: ExceptionContext, server: ServerUrl) -> BaseException | None:
    import psycopg

    if context.is_pre_ping:
        # SQLAlchemy must see it as it is: a connection that the server closed is opened anew.
        return None
    original: Any = context.original_exception
    return name_error(original, server) if isinstance(original, psycopg.Error) else None


def name_error(error: Any, server: ServerUrl) -> ImageSimilarityError:
    """Translate an error of psycopg into ours; states are those of PostgreSQL's manual, appendix A."""
    import psycopg

    state = error.sqlstate or ""
    said = str(error).strip().partition("\n")[0]
    # What goes wrong before there is a connection has no state, only words.
    is_missing = not state and f'database "{server.name}" does not exist' in str(error)
    if state.startswith("3D") or is_missing:
        return DatabaseMissing(
            f"there is no database {server}", hint=f"make one on the server: createdb {server.name}"
        )
    if state == "55P03" or state.startswith("40"):
        return DatabaseLocked(
            f"{server} is locked by another process",
            hint="wait for it, or see: image-similarity runs",
        )
    if state == "42501" and "create extension" in said:
        return DatabaseNotWritable(
            f"cannot make {server} ready: {said}",
            hint="an administrator of the server says once in this database: CREATE EXTENSION vector",
        )
    if state in ("42501", "25006") or state.startswith(("53", "58")):
        return DatabaseNotWritable(
            f"cannot write or read {server}: {said}",
            hint="check the role's rights and the server's disk, then run again: what was finished is saved",
        )
    # A vector of another length than its model's: pgvector refuses to compare it.
    if state.startswith("XX") or (state == "22000" and "dimensions" in said):
        return DatabaseDamaged(f"{server} is damaged: {said}", hint="restore a backup")
    is_connecting = isinstance(error, psycopg.OperationalError) and not state
    if is_connecting or state.startswith(("08", "28", "57")):
        # libpq tells of each address that it tried; the first line is the first of them.
        return ServerRefused(
            f"cannot connect to {server}: {said}",
            hint="is the server running, and is -dp right? A password belongs into ~/.pgpass",
        )
    return DatabaseError(f"{server}: {said}")
