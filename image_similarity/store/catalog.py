"""Catalog: one opened database, its transactions, and what can be looked up in it."""

from __future__ import annotations

import filecmp
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, Engine, Select, distinct, func, insert, select

from image_similarity.errors import (
    DatabaseMissing,
    DatabaseNotWritable,
    NotOurDatabase,
    SchemaTooNew,
    SchemaTooOld,
    UnknownImage,
    UsageError,
)
from image_similarity.events import Listener, Notice, ignore
from image_similarity.store import clock, gallery, models, runs
from image_similarity.store import engine as engines
from image_similarity.store import upgrade as upgrades
from image_similarity.store.schema import (
    embedding_table,
    failure_table,
    file_table,
    image_table,
    run_table,
    skipped_table,
    source_table,
)
from image_similarity.values import (
    DatabaseStatus,
    Failure,
    ImageRecord,
    Location,
    ModelInfo,
    RunReport,
    ServerUrl,
    Source,
)

# What the name of a file ends with while a copy of a database is written to it.
PART = ".part"
# Shorter prefixes of a SHA-256 name too many pictures to be meant.
SHORTEST_PREFIX = 6


class Catalog:
    """A database, in a file or on a server; `reading()` and `writing()` give connections inside a transaction."""

    def __init__(
        self, path: Location, engine: Engine, state: upgrades.SchemaState, *, read_only: bool
    ) -> None:
        self.path = path
        self.state = state
        self.read_only = read_only
        self._engine = engine

    @classmethod
    def open(
        cls,
        path: Location,
        *,
        read_only: bool,
        upgrade: bool | None = None,
        on_event: Listener = ignore,
    ) -> Catalog:
        """Open a database; see `Case.open` for what happens to missing, older, newer and foreign ones."""
        if isinstance(path, ServerUrl):
            # Others work on a server with this program as it was: it is upgraded only where somebody says so.
            return cls._open_server(path, read_only=read_only, upgrade=upgrade is True)
        if path.is_file() and engines.needs_recovery(path):
            engines.recover(path)
            on_event(Notice(f"{path}: an interrupted write was rolled back"))
        state = upgrades.read_state(path)
        _refuse(path, state, read_only=read_only, upgrade=upgrade is not False)
        if state.kind in ("missing", "empty"):
            # An empty file, too, needs our mark and page size: without the mark it would be refused from then on.
            engines.create_file(path)
        engine = engines.make_engine(path, read_only=read_only)
        if state.kind != "current":
            copy = None
            if state.kind == "older":
                copy = path.with_name(f"{path.name}.before-{state.head}")
                keep_copy(path, copy)
                on_event(
                    Notice(
                        f"{path}: schema {state.revision} upgraded to {state.head}; the old file is {copy}"
                    )
                )
            upgrades.upgrade(engine, state, copy)
            state = upgrades.read_state(path)
        return cls(path, engine, state, read_only=read_only)

    @classmethod
    def _open_server(cls, server: ServerUrl, *, read_only: bool, upgrade: bool) -> Catalog:
        from image_similarity.store import postgres

        state = upgrades.read_server_state(server)
        _refuse(server, state, read_only=read_only, upgrade=upgrade)
        engine = postgres.make_engine(server, read_only=read_only)
        try:
            if state.kind != "current":
                upgrades.upgrade(engine, state)
                state = upgrades.read_server_state(server)
            if not read_only:
                # Before any work is done for it.
                postgres.check_may_write(engine, server)
        except BaseException:
            engine.dispose()
            raise
        return cls(server, engine, state, read_only=read_only)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection inside one read transaction: everything read through it is of one moment."""
        if self.read_only and isinstance(self.path, Path) and engines.needs_recovery(self.path):
            # A writer was killed since this was opened, and a read-only connection cannot roll it back.
            engines.recover(self.path)
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection that holds the write lock until the block ends; committed then, or rolled back on an error."""
        if self.read_only:
            raise UsageError(f"{self.path} was opened for reading only", hint="open it for writing")
        with (
            self._engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def writing_beside(self, other: Path) -> Iterator[Connection]:
        """As `writing`, with the tables of another database in reach, as `theirs`; that one is opened for reading.

        On a server they are temporary tables, called "their_image" and so on.
        """
        if self.read_only:
            raise UsageError(f"{self.path} was opened for reading only", hint="open it for writing")
        if not isinstance(self.path, Path):
            from image_similarity.store import copying

            with self.writing() as connection:
                with (
                    closing(Catalog.open(other, read_only=True)) as opened,
                    opened.reading() as theirs,
                ):
                    copying.lay_beside(theirs, connection)
                yield connection
            return
        with self._engine.connect().execution_options(immediate=True) as connection:
            # No database can be attached inside a transaction, so this goes to the driver before BEGIN.
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)  # noqa: S101  (the only dialect that comes here)
            raw.execute("ATTACH DATABASE ? AS theirs", (engines.read_only_uri(other),))
            try:
                with connection.begin():
                    yield connection
            finally:
                # Closed, not given back: after a failed write DETACH could fail, too, and hide the error.
                connection.invalidate()

    # -- looking things up --------------------------------------------------------------------------------------

    def image(self, sha256: str) -> ImageRecord:
        """One content by its SHA-256 or a prefix; see `Case.image`."""
        prefix = sha256.strip().lower()
        if len(prefix) < SHORTEST_PREFIX or set(prefix) - set("0123456789abcdef"):
            raise UnknownImage(
                f"{sha256!r} is no SHA-256",
                hint=f"give at least {SHORTEST_PREFIX} hexadecimal digits",
            )
        with self.reading() as connection:
            # A range, not LIKE: it uses the unique index.
            statement = (
                select(image_table.c.id)
                .where(image_table.c.sha256 >= prefix, image_table.c.sha256 <= prefix + "g")
                .limit(2)
            )
            ids = connection.execute(statement).scalars().all()
            if len(ids) != 1:
                many = "several pictures" if ids else "no picture"
                raise UnknownImage(
                    f"{self.path} holds {many} with SHA-256 {prefix}",
                    hint="give more digits" if ids else "",
                )
            return gallery.records(connection, ids)[ids[0]]

    def images(self, sha256s: Sequence[str]) -> list[ImageRecord]:
        """The contents that are stored of these, whole SHA-256s; see `Case.images`."""
        with self.reading() as connection:
            ids = gallery.ids_of(connection, sha256s)
            found = gallery.records(connection, ids.values())
        return [found[ids[each]] for each in dict.fromkeys(sha256s) if each in ids]

    def images_at(self, texts: Sequence[str]) -> list[ImageRecord]:
        """The contents that a path holds or held, given in its text forms, absolute or relative to a source.

        See `Case.images_at`.
        """
        with self.reading() as connection:
            ids: list[int] = []
            statement = select(source_table.c.id, source_table.c.root_path)
            for source_id, root in connection.execute(statement).all():
                prefix = root.rstrip("/") + "/"
                below = {text.removeprefix(prefix) for text in texts if text.startswith(prefix)}
                at = select(file_table.c.image_id).where(
                    file_table.c.source_id == source_id, file_table.c.path.in_(below.union(texts))
                )
                ids += connection.execute(
                    at.order_by(file_table.c.gone_run_id.is_not(None), file_table.c.id.desc())
                ).scalars()
            found = gallery.records(connection, ids)
        if not found:
            raise UnknownImage(
                f"{self.path} knows no picture at {texts[0]}",
                hint="see: image-similarity runs failures",
            )
        return [found[id_] for id_ in dict.fromkeys(ids)]

    def models(self) -> list[ModelInfo]:
        """The recorded models, oldest first."""
        with self.reading() as connection:
            return list(models.stored(connection).values())

    def sources(self) -> list[Source]:
        """The known sources with what they hold, by name."""
        with self.reading() as connection:
            return _sources(connection)

    def runs(self) -> list[RunReport]:
        """All runs, newest first."""
        with self.reading() as connection:
            return runs.reports(connection)

    def run(self, run_id: int) -> RunReport:
        """One run with its failures."""
        with self.reading() as connection:
            found = runs.reports(connection, run_id)
            if not found:
                raise UsageError(
                    f"{self.path} has no run {run_id}", hint="see: image-similarity runs list"
                )
            return replace(found[0], failures=tuple(runs.failures(connection, run_id)))

    def close_run(self, run_id: int) -> None:
        """Close a run that another machine left open."""
        with self.writing() as connection:
            runs.close(connection, run_id)

    def failures(self, run_id: int | None = None) -> list[Failure]:
        """Open failures, or those of one run."""
        with self.reading() as connection:
            return runs.failures(connection, run_id)

    def status(self) -> DatabaseStatus:
        """Schema, size and counts."""
        with self.reading() as connection:
            stored = models.stored(connection)
            counts = models.embedding_counts(connection)
            by_kind = select(skipped_table.c.kind, func.count()).group_by(skipped_table.c.kind)
            latest = runs.reports(connection)
            open_failures = (
                select(func.count())
                .select_from(failure_table)
                .where(failure_table.c.resolved_run_id.is_(None))
            )
            return DatabaseStatus(
                path=str(self.path),
                revision=self.state.revision,
                head=self.state.head,
                size=_size(connection, self.path),
                images=count_images(connection),
                files=_count(
                    connection, select(func.count()).where(file_table.c.gone_run_id.is_(None))
                ),
                gone=_count(
                    connection, select(func.count()).where(file_table.c.gone_run_id.is_not(None))
                ),
                failures=_count(connection, open_failures),
                skipped={key: value for key, value in connection.execute(by_kind)},
                models=tuple(stored.values()),
                embeddings={stored[id_].fingerprint: count for id_, count in counts.items()},
                sources=tuple(_sources(connection)),
                last_run=latest[0] if latest else None,
            )

    def backup(self, target: Path) -> Path:
        """Copy the database to a new file, owner-readable; see `Case.backup`."""
        if target.exists():
            raise UsageError(f"{target} exists already", hint="name a new file")
        if isinstance(self.path, ServerUrl):
            raise UsageError(
                f"{self.path} is on a server, which has a backup of its own: pg_dump",
                hint=f"one file of it makes: image-similarity db copy {self.path} {target}",
            )
        return copy_database(self.path, target)


def _size(connection: Connection, path: Location) -> int:
    if isinstance(path, Path):
        return path.stat().st_size
    from image_similarity.store import postgres

    return postgres.size_of(connection)


def _count(connection: Connection, statement: object) -> int:
    return int(connection.execute(statement).scalar_one())  # type: ignore[call-overload]


def _sources(connection: Connection) -> list[Source]:
    is_live, is_gone = file_table.c.gone_run_id.is_(None), file_table.c.gone_run_id.is_not(None)
    statement = (
        select(
            source_table.c.id,
            source_table.c.name,
            source_table.c.root_path,
            source_table.c.created_at,
            func.count(file_table.c.id).filter(is_live).label("files"),
            func.count(distinct(file_table.c.image_id)).filter(is_live).label("images"),
            func.count(file_table.c.id).filter(is_gone).label("gone"),
        )
        .outerjoin(file_table, file_table.c.source_id == source_table.c.id)
        .group_by(source_table.c.id)
        .order_by(source_table.c.name)
    )
    open_failures = (
        select(failure_table.c.source_id, func.count())
        .where(failure_table.c.resolved_run_id.is_(None))
        .group_by(failure_table.c.source_id)
    )
    failing = {key: value for key, value in connection.execute(open_failures)}
    return [
        Source(
            name=row.name,
            root=row.root_path,
            created_at=row.created_at,
            files=row.files,
            images=row.images,
            failures=failing.get(row.id, 0),
            gone=row.gone,
        )
        for row in connection.execute(statement)
    ]


def find_source(connection: Connection, name: str) -> tuple[int, str] | None:
    """The id and root folder of a source, or None."""
    row = connection.execute(
        select(source_table.c.id, source_table.c.root_path).where(source_table.c.name == name)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def source_at(connection: Connection, root: str) -> str | None:
    """The name of the source with this root folder, or None."""
    return connection.execute(
        select(source_table.c.name)
        .where(source_table.c.root_path == root)
        .order_by(source_table.c.id)
    ).scalar()


def add_source(connection: Connection, name: str, root: str) -> int:
    """Record a source and give its id."""
    values = {"name": name, "root_path": root, "created_at": clock.now()}
    statement = insert(source_table).values(values).returning(source_table.c.id)
    return int(connection.execute(statement).scalar_one())


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A live place with the hash of the content that it held when it was first indexed."""

    source: str
    root: str
    path: str
    sha256: str
    first_seen: str


def recorded_files(connection: Connection) -> list[RecordedFile]:
    """All live places, by source and path."""
    statement = (
        select(
            source_table.c.name,
            source_table.c.root_path,
            file_table.c.path,
            image_table.c.sha256,
            run_table.c.started_at,
        )
        .join(source_table, source_table.c.id == file_table.c.source_id)
        .join(image_table, image_table.c.id == file_table.c.image_id)
        .join(run_table, run_table.c.id == file_table.c.first_run_id)
        .where(file_table.c.gone_run_id.is_(None))
        .order_by(source_table.c.name, file_table.c.path)
    )
    return [RecordedFile(*row) for row in connection.execute(statement)]


def count_images(connection: Connection) -> int:
    """The number of contents."""
    return connection.execute(select(func.count()).select_from(image_table)).scalar_one()


def integrity_problems(connection: Connection) -> list[str]:
    """What SQLite itself finds wrong with the file: damaged pages, broken indexes, broken references.

    A server holds references by itself and has tools of its own for its pages.
    """
    if not engines.is_sqlite(connection):
        return []
    problems = [
        text for (text,) in connection.exec_driver_sql("PRAGMA integrity_check") if text != "ok"
    ]
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    return [
        *problems,
        *(f"row {row[1]} of table {row[0]} refers to a missing row of {row[2]}" for row in broken),
    ]


def vectors_in_blocks(
    connection: Connection, model_id: int, block: int = 4096
) -> Iterator[list[tuple[str, bytes]]]:
    """All vectors of a model with the SHA-256 of their content, in blocks: for a check of everything stored."""
    statement = (
        select(image_table.c.sha256, embedding_table.c.vector)
        .join(image_table, image_table.c.id == embedding_table.c.image_id)
        .where(embedding_table.c.model_id == model_id)
    )
    found = connection.execute(statement, execution_options={"yield_per": block})
    for rows in found.partitions():
        yield [(sha256, vector) for sha256, vector in rows]


def contents_without_vector(connection: Connection) -> list[str]:
    """The SHA-256 of every content that no model gave a vector: a run stores none of these."""
    return _contents_not_in(connection, select(embedding_table.c.image_id))


def contents_without_place(connection: Connection) -> list[str]:
    """The SHA-256 of every content of which no place is on record: a run stores none of these."""
    return _contents_not_in(connection, select(file_table.c.image_id))


def _contents_not_in(connection: Connection, ids: Select[tuple[int]]) -> list[str]:
    # Not EXISTS: SQLite would read the index of vectors, which begins with the model, once for each content. Not
    # NOT IN: PostgreSQL would read the ids once for each content where they outgrow its memory for that.
    without = select(image_table.c.id).except_(ids)
    statement = select(image_table.c.sha256).where(image_table.c.id.in_(without))
    return list(connection.execute(statement).scalars())


def copy_database(source: Path, target: Path) -> Path:
    """Copy a database to a new file with SQLite's backup API: consistent even while it is written to, whole or not."""
    made = False
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        made = True
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as original,
            closing(sqlite3.connect(target)) as copy,
        ):
            original.backup(copy)
    except BaseException as error:
        if made:
            # What hinders this, too, must not take the place of the first error.
            with suppress(OSError):
                target.unlink(missing_ok=True)
        if not isinstance(error, OSError | sqlite3.Error):
            raise
        raise DatabaseNotWritable(f"cannot copy {source} to {target}: {error}") from error
    return target


def keep_copy(source: Path, target: Path) -> None:
    """Copy a database before an upgrade; the copy that an upgrade left which was broken off is as good.

    Raises:
        DatabaseNotWritable: Something else stands there.
    """
    # Under another name until it is whole: a kill must not leave half a copy where the next try finds a file.
    part = target.with_name(target.name + PART)
    try:
        part.unlink(missing_ok=True)
        copy_database(source, part)
        if not target.exists():
            part.rename(target)
            return
        is_same = filecmp.cmp(part, target, shallow=False)
        part.unlink()
    except OSError as error:
        raise DatabaseNotWritable(f"cannot copy {source} to {target}: {error}") from error
    if not is_same:
        raise DatabaseNotWritable(
            f"cannot copy {source} to {target}: another file is there",
            hint="move it away, then try again",
        )


def _refuse(path: Location, state: upgrades.SchemaState, *, read_only: bool, upgrade: bool) -> None:
    if state.kind == "foreign":
        # On a server other tables than ours may stand in the same schema.
        if isinstance(path, ServerUrl):
            raise NotOurDatabase(
                f"{path} is not a database of this program: {state.detail}",
                hint=f"nothing was changed; make one of its own: createdb {path.name}-2",
            )
        taken_over = f"image-similarity db import {path} -ip PICTURES -dp NEW.db takes it over"
        raise NotOurDatabase(
            f"{path} is not a database of this program: {state.detail}",
            hint="it was not touched; "
            + (taken_over if state.detail == upgrades.EARLIER else "check -dp"),
        )
    if state.kind == "unfinished":
        whole = path.with_name(path.name.removesuffix(PART)) if isinstance(path, Path) else path
        raise NotOurDatabase(
            f"{path} is an unfinished copy of {state.detail}",
            hint=f"run again: image-similarity db copy {state.detail} {whole}",
        )
    if state.kind == "missing" and read_only:
        raise DatabaseMissing(
            f"there is no database {path}",
            hint="make one: generate_embeddings -m builtin -ip DIR -dp DB",
        )
    if state.kind == "empty" and read_only:
        what = "database without tables" if isinstance(path, ServerUrl) else "file, not a database"
        raise NotOurDatabase(f"{path} is an empty {what}", hint="check -dp")
    if state.kind == "newer":
        raise SchemaTooNew(
            f"{path} has schema {state.revision}, this program knows up to {state.head}",
            hint="use the version that wrote it, or a newer one",
        )
    if state.kind == "older" and (read_only or not upgrade):
        raise SchemaTooOld(
            f"{path} has schema {state.revision}, this program needs {state.head}",
            hint=f"image-similarity db upgrade -dp {path}",
        )
