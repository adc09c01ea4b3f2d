"""Folders of thumbnails beside a case: recorded before anything is kept there, counted and emptied by their names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from image_similarity.errors import DatabaseError
from image_similarity.pictures.names import from_text, to_text
from image_similarity.records import exports
from image_similarity.store import audit
from image_similarity.store.catalog import Catalog
from image_similarity.values import AuditEntry, TraceFolder

ACTION = "cache"
# What is ours in such a folder: SHA-256 and side, sheets of such pictures, or a file that was not finished.
_OURS = re.compile(r"([0-9a-f]{64}|map-[\w-]+)-[0-9]{1,4}\.jpg|part-\w+")


def record(catalog: Catalog, folder: Path) -> str | None:
    """Record in the audit chain that thumbnails are kept in a folder, once for each.

    Returns:
        None, or one sentence that says why it is not recorded; nothing may be kept there then.
    """
    path = to_text(str(folder))
    try:
        with catalog.reading() as connection:
            if any(_path(entry) == path for entry in audit.entries(connection)):
                return None
    except DatabaseError as error:
        return f"the audit chain cannot be read: {error.message}"
    return exports.append(catalog, ACTION, {"kind": "thumbnails", "path": path})


def folders(catalog: Catalog) -> tuple[TraceFolder, ...]:
    """Give each folder that the audit chain tells of, or that of a database merged into this one, with what lies there.

    In the order of the chains, each folder once.
    """
    with catalog.reading() as connection:
        chains: list[tuple[int | None, Iterable[AuditEntry]]]
        chains = [(None, audit.entries(connection)), *audit.merged(connection)]
        told = [
            (entry, path, merge)
            for merge, entries in chains
            for entry in entries
            if (path := _path(entry)) is not None
        ]
    found: dict[str, TraceFolder] = {}
    for entry, path, merge in told:
        if path not in found:
            found[path] = _folder(entry, path, merge)
    return tuple(found.values())


def _folder(entry: AuditEntry, path: str, merge: int | None) -> TraceFolder:
    sizes = [size for _, size in _files(path)]
    return TraceFolder(entry.number, path, entry.at, entry.actor, len(sizes), sum(sizes), merge)


def purge(folder: TraceFolder) -> int:
    """Delete the thumbnails in a folder and nothing else; gives how many. An empty folder goes, too."""
    count = 0
    for path, _ in _files(folder.path):
        with suppress(OSError):
            path.unlink()
            count += 1
    with suppress(OSError, ValueError):
        Path(from_text(folder.path)).rmdir()
    return count


def _path(entry: AuditEntry) -> str | None:
    if entry.action != ACTION:
        return None
    try:
        said = json.loads(entry.detail)
    except ValueError:
        return None
    path = said.get("path") if isinstance(said, dict) else None
    return path if isinstance(path, str) else None


def _files(folder: str) -> Iterator[tuple[Path, int]]:
    with suppress(OSError, ValueError), os.scandir(from_text(folder)) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                yield Path(entry.path), entry.stat(follow_symlinks=False).st_size
