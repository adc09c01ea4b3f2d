"""Traces: every derived picture and copy that the program wrote of a case, from its audit chain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from image_similarity.pictures.names import from_text, to_text
from image_similarity.store import audit, thumbnails
from image_similarity.store.catalog import Catalog
from image_similarity.values import AuditEntry, Trace, TraceReport

# Entries that tell of a written file: its path and what it holds.
ACTIONS = ("export", "upgrade")


def traces(catalog: Catalog) -> TraceReport:
    """Give every file that the audit chain tells of, in the order of writing, with what lies there now.

    Each file is read to compare its SHA-256. What was written while the database could not be, or before there was a
    chain, is not among them; nor is what was copied by other programs.
    """
    with catalog.reading() as connection:
        entries = audit.entries(connection)
        files = [found for entry in entries if (found := _trace(entry)) is not None]
        count, size = thumbnails.extent(connection)
    return TraceReport(tuple(files), count, size)


def _trace(entry: AuditEntry) -> Trace | None:
    if entry.action not in ACTIONS:
        return None
    said: Mapping[str, Any] = json.loads(entry.detail)
    path, sha256 = said.get("path"), said.get("sha256", "")
    if entry.action == "upgrade" and "copy" in said:
        path = to_text(said["copy"])
    if path is None:
        return None
    return Trace(
        entry=entry.number,
        kind=said.get("kind", "copy before an upgrade"),
        path=path,
        sha256=sha256,
        size=int(said.get("size", 0)),
        at=entry.at,
        actor=entry.actor,
        state=_state(path, sha256),
    )


def _state(path: str, sha256: str) -> Literal["as written", "changed", "gone", "unreadable"]:
    try:
        with Path(from_text(path)).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "gone"
    except (OSError, ValueError):
        return "unreadable"
    return "as written" if found == sha256 else "changed"
