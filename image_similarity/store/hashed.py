"""What is recorded of each place of a source with its hashes: what is held, what failed, what was left out."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from image_similarity.store.engine import plain_rows
from image_similarity.store.schema import (
    failure_table,
    file_table,
    image_table,
    skipped_table,
    source_table,
)


class Recorded(NamedTuple):
    """A path of a source: a live place (`said` is empty), one that is `gone`, an open failure or a file left out.

    A failure says its error, and has a SHA-256 if the file could be read; what was left out says what it seemed to be,
    and has no hash.
    """

    source: str
    path: str
    sha256: str | None
    sha1: str | None
    md5: str | None
    said: str = ""
    failed: bool = False
    gone: bool = False


def live(connection: Connection) -> list[Recorded]:
    """The live places, by source and path."""
    return _places(connection, gone=False)


def gone(connection: Connection) -> list[Recorded]:
    """The places where a content was recorded and is no longer, by source and path; of one path the latest last."""
    return [
        each._replace(said="no longer there", gone=True) for each in _places(connection, gone=True)
    ]


def _places(connection: Connection, *, gone: bool) -> list[Recorded]:
    statement = (
        select(
            source_table.c.name,
            file_table.c.path,
            image_table.c.sha256,
            image_table.c.sha1,
            image_table.c.md5,
        )
        .join(source_table, source_table.c.id == file_table.c.source_id)
        .join(image_table, image_table.c.id == file_table.c.image_id)
        .where(
            file_table.c.gone_run_id.is_not(None) if gone else file_table.c.gone_run_id.is_(None)
        )
        .order_by(source_table.c.name, file_table.c.path, file_table.c.id)
    )
    return [Recorded(*row) for row in plain_rows(connection, statement)]


def failed(connection: Connection) -> list[Recorded]:
    """The open failures, by source and path."""
    columns = (source_table.c.name, failure_table.c.path, failure_table.c.sha256)
    statement = (
        select(*columns, failure_table.c.error)
        .join(source_table, source_table.c.id == failure_table.c.source_id)
        .where(failure_table.c.resolved_run_id.is_(None))
        .order_by(source_table.c.name, failure_table.c.path)
    )
    return [
        Recorded(source, path, sha256, None, None, error, True)
        for source, path, sha256, error in plain_rows(connection, statement)
    ]


def left_out(connection: Connection) -> list[Recorded]:
    """The files that a rule left out, by source and path; what they seemed to be stands in `said`."""
    statement = (
        select(source_table.c.name, skipped_table.c.path, skipped_table.c.kind)
        .join(source_table, source_table.c.id == skipped_table.c.source_id)
        .order_by(source_table.c.name, skipped_table.c.path)
    )
    return [
        Recorded(source, path, None, None, None, kind)
        for source, path, kind in plain_rows(connection, statement)
    ]
