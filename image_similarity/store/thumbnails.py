"""Small pictures of contents, kept only if a run was asked to; they can be purged again."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, insert, select

from image_similarity.store import audit
from image_similarity.store.engine import is_sqlite
from image_similarity.store.schema import audit_table, image_table, thumbnail_table

PURGED = "purge"


def write(connection: Connection, run_id: int, jpegs: Mapping[int, bytes]) -> None:
    """Store thumbnails, JPEG files, by the ids of their contents, within the caller's transaction."""
    if jpegs:
        values = [{"image_id": id_, "run_id": run_id, "jpeg": data} for id_, data in jpegs.items()]
        connection.execute(insert(thumbnail_table), values)


def read(connection: Connection, sha256: str) -> bytes | None:
    """The thumbnail of a content, a JPEG file, or None."""
    found = connection.execute(
        select(thumbnail_table.c.jpeg)
        .join(image_table, image_table.c.id == thumbnail_table.c.image_id)
        .where(image_table.c.sha256 == sha256)
    ).scalar()
    # SQLite keeps any type in any column.
    return found if isinstance(found, bytes) else None


def extent(connection: Connection) -> tuple[int, int]:
    """How many thumbnails there are, and how many bytes they take."""
    length = func.coalesce(func.sum(func.length(thumbnail_table.c.jpeg)), 0)
    count, size = connection.execute(
        select(func.count(), length).select_from(thumbnail_table)
    ).one()
    return int(count), int(size)


def purge(connection: Connection) -> tuple[int, int]:
    """Delete all thumbnails, overwriting the places in the file where they stood, and record it in the audit chain.

    Within a transaction of `Catalog.writing`. Gives how many there were, and their bytes. The file does not shrink:
    SQLite uses the room again. Copies of the database, and what the disk keeps of deleted journals, are not reached. A
    server overwrites nothing: VACUUM FULL thumbnail gives the room back to its disk.
    """
    count, size = extent(connection)
    if count:
        if is_sqlite(connection):
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        connection.execute(delete(thumbnail_table))
        audit.append(connection, PURGED, {"thumbnails": count, "bytes": size})
    return count, size


def are_purged(connection: Connection) -> bool:
    """Whether thumbnails were purged and none was made since: no refresh makes them again by itself."""
    if connection.execute(select(thumbnail_table.c.image_id).limit(1)).first() is not None:
        return False
    purged = select(audit_table.c.id).where(audit_table.c.action == PURGED).limit(1)
    return connection.execute(purged).first() is not None
