"""Every file that is written for the user is an entry of the audit chain, with its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from image_similarity.errors import DatabaseError, UsageError
from image_similarity.pictures.names import from_text, to_text
from image_similarity.store import audit
from image_similarity.store.catalog import Catalog
from image_similarity.values import Source


def refuse_inside(path: Path, sources: Iterable[Source]) -> None:
    """Refuse to write a file below a folder that was indexed.

    Raises:
        UsageError.
    """
    place = path.resolve()
    for source in sources:
        if place.is_relative_to(Path(from_text(source.root)).resolve()):
            raise UsageError(
                f"{path} would be written into the indexed folder {source.root}",
                hint="Evidence is never written to; choose another folder.",
            )


def record(catalog: Catalog, kind: str, path: Path, **detail: Any) -> str | None:
    """Record a written file in the audit chain: its kind, place, size, SHA-256, and what else is given.

    A database that was opened for reading is opened for writing for this one entry, and never upgraded. To be called
    outside of `Catalog.reading`, or the entry waits for the caller itself.

    Args:
        catalog: The database that the file tells of.
        kind: What was written, in one word: "report", "manifest", "picture", "backup".
        path: The file, complete and closed.
        detail: JSON values that say what the file holds.

    Returns:
        None, or one sentence that says why it is not recorded: the database cannot be written, or is busy for long.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.tell()
    place = to_text(str(path.absolute()))
    entry = {**detail, "kind": kind, "path": place, "size": size, "sha256": sha256}
    return append(catalog, "export", entry)


def append(catalog: Catalog, action: str, detail: dict[str, Any]) -> str | None:
    """Append one entry in a short transaction of its own; gives None, or one sentence that says why it could not."""
    try:
        with ExitStack() as stack:
            writer = catalog
            if catalog.read_only:
                writer = Catalog.open(catalog.path, read_only=False, upgrade=False)
                stack.callback(writer.close)
            connection = stack.enter_context(writer.writing())
            audit.append(connection, action, detail)
    except DatabaseError as error:
        return f"this {action} is not in the audit chain: {error.message}"
    return None
