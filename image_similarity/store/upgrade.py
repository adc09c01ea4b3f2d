"""Schema states and upgrades: recognise a database, build or upgrade it in one transaction, keep a backup.

Alembic's default on SQLite leaves half a migration behind when one fails; so BEGIN is ours, `transactional_ddl` is on,
foreign keys are off around it and checked before COMMIT (see migrations/README.md).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection, Engine

from image_similarity import __version__
from image_similarity.errors import DatabaseError, DatabaseNotWritable
from image_similarity.store import audit
from image_similarity.store.engine import is_sqlite, name_error
from image_similarity.store.schema import APPLICATION_ID
from image_similarity.values import ServerUrl

if TYPE_CHECKING:
    from alembic.config import Config

# Of the one table, "metadata", of the program that was published under this name before.
EARLIER_COLUMNS = frozenset({"image_path", "embedding", "scene_type"})
EARLIER = "it is a database of the earlier image-similarity (table metadata)"

# Without these a database on a server is not ours.
OURS = frozenset({"alembic_version", "audit", "embedding", "image", "run"})

# The table that stands in a copy until it is whole; see unfinished.py.
UNFINISHED = "unfinished_copy"

StateKind = Literal["missing", "empty", "foreign", "unfinished", "older", "current", "newer"]


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What a database is to this program; `detail` says why it is foreign, or of what it is an unfinished copy."""

    kind: StateKind
    revision: str = ""
    head: str = ""
    detail: str = ""


def migrations_folder() -> Path:
    """The migration scripts: inside the wheel, else at the top of a checkout.

    Found by path: a nested `package_dir` mapping cannot be imported in an editable install (setuptools issue 4248).
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise DatabaseError(
        "the migration scripts are missing from this installation", hint="install the package again"
    )


def revisions() -> list[str]:
    """The numbers of all migrations, oldest first; they are plain file names, so listing them needs no Alembic."""
    return sorted(
        file.name[:4]
        for file in (migrations_folder() / "versions").glob("[0-9][0-9][0-9][0-9]_*.py")
    )


def head_revision() -> str:
    """The schema revision that this program writes and reads."""
    return revisions()[-1]


def read_state(path: Path) -> SchemaState:
    """Recognise a file without changing it; raises nothing for any kind of file.

    Raises:
        DatabaseError: If SQLite itself cannot open or read it (locked, damaged, no permission).
    """
    head = head_revision()
    if not path.exists():
        return SchemaState("missing", head=head)
    if not path.is_file():
        return SchemaState("foreign", head=head, detail="it is not a file")
    # SQLite alone may open it: to close any other descriptor of a file drops the locks that this process holds on it.
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DatabaseNotWritable(
            f"cannot read {path}: {error.strerror}", hint="check its permissions"
        ) from error
    if not size:
        return SchemaState("empty", head=head)
    return _read_sqlite_state(path, head)


def _read_sqlite_state(path: Path, head: str) -> SchemaState:
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            (application_id,) = connection.execute("PRAGMA application_id").fetchone()
            tables = {
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            }
            columns = {row[1] for row in connection.execute("PRAGMA table_info(metadata)")}
            revision = ""
            if "alembic_version" in tables:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
                revision = row[0] if row else ""
            unfinished = None
            if UNFINISHED in tables:
                unfinished = connection.execute(f"SELECT source FROM {UNFINISHED}").fetchone()  # noqa: S608
        finally:
            connection.close()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
            return SchemaState("foreign", head=head, detail="it is no SQLite database")
        raise name_error(error, path) from error
    if application_id != APPLICATION_ID:
        detail = EARLIER if columns >= EARLIER_COLUMNS else "it belongs to another program"
        return SchemaState("foreign", head=head, detail=detail)
    if not tables:
        return SchemaState("empty", head=head)
    if not revision:
        return SchemaState("foreign", head=head, detail="it carries no schema revision")
    if unfinished:
        return SchemaState("unfinished", revision, head, str(unfinished[0]))
    if revision == head:
        return SchemaState("current", revision, head)
    return SchemaState("older" if revision in revisions() else "newer", revision, head)


def read_server_state(server: ServerUrl) -> SchemaState:
    """Recognise a database on a server without changing it.

    Raises:
        ServerRefused: It cannot be reached, or it or its pgvector is too old.
        DatabaseMissing: The server has no such database.
    """
    from image_similarity.store import postgres

    head = head_revision()
    with postgres.bare_connection(server) as connection:
        postgres.check_server(connection, server)
        tables = postgres.table_names(connection)
        if not tables:
            return SchemaState("empty", head=head)
        if not tables >= OURS:
            return SchemaState("foreign", head=head, detail="it holds other tables")
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if UNFINISHED in tables:
            source = connection.exec_driver_sql(f"SELECT source FROM {UNFINISHED}").scalar()  # noqa: S608
            return SchemaState("unfinished", revision or "", head, str(source))
    if revision == head:
        return SchemaState("current", revision, head)
    return SchemaState("older" if revision in revisions() else "newer", revision or "", head)


def upgrade(
    engine: Engine,
    before: SchemaState,
    copy: Path | None = None,
    *,
    begin: Callable[[Connection], object] | None = None,
) -> None:
    """Bring a database of ours to the head revision in one transaction; a failing migration leaves it as it was.

    Args:
        engine: Of the database.
        before: What it is now.
        copy: The old file as it was kept. The audit chain tells of it; where there was none, it begins with this, and
            seals what is stored as it stands.
        begin: Done within the transaction, once the tables are there, in the place of an entry in the audit chain: by
            whoever fills an empty database with another's.
    """
    from alembic.config import Config

    def append(connection: Connection) -> None:
        _append(connection, before, copy)

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    with engine.connect().execution_options(immediate=True) as connection:
        if not is_sqlite(connection):
            _upgrade_server(connection, config, before, begin or append)
            return
        # The pragma is ignored inside a transaction, so it goes to the driver before BEGIN.
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)  # noqa: S101  (the only dialect that comes here)
        raw.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                _migrate(connection, config)
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise DatabaseError(
                        f"the upgrade would leave {len(broken)} broken references; nothing was changed"
                    )
                (begin or append)(connection)
        finally:
            raw.execute("PRAGMA foreign_keys = ON")


def _upgrade_server(
    connection: Connection,
    config: Config,
    before: SchemaState,
    begin: Callable[[Connection], object],
) -> None:
    from image_similarity.store import postgres

    with connection.begin():
        # Two who open an empty database at once both found it so; the second waited for the lock.
        if before.kind == "empty" and postgres.table_names(connection):
            return
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
        _migrate(connection, config)
        postgres.order_by_bytes(connection)
        begin(connection)


def _migrate(connection: Connection, config: Config) -> None:
    from alembic import command

    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _append(connection: Connection, before: SchemaState, copy: Path | None) -> None:
    began = audit.head(connection) is None
    said = {"schema": head_revision(), "version": __version__}
    if before.kind != "older":
        audit.append(connection, "created", said)
        return
    audit.append(connection, "upgrade", {**said, "from": before.revision, **_described(copy)})
    if began:
        from image_similarity.store import sealing

        for rows in sealing.seal_uncovered(connection):
            audit.append(connection, "seal", {"rows": rows})


def _described(copy: Path | None) -> dict[str, object]:
    """What the audit chain says of the copy: where it is and what it holds."""
    if copy is None:
        return {}
    with copy.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"copy": str(copy.absolute()), "size": stream.tell(), "sha256": sha256}
