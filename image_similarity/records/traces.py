"""Traces: every derived picture and copy that the program wrote of a case, from its audit chain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from image_similarity.pictures.names import from_text, to_text
from image_similarity.records import cache_folders
from image_similarity.store import audit, thumbnails
from image_similarity.store.catalog import Catalog
from image_similarity.values import AuditEntry, Trace, TraceReport

# Entries that tell of a written file: its path and what it holds.
ACTIONS = ("export", "upgrade")


def traces(catalog: Catalog) -> TraceReport:
    """Give every file that the audit chain tells of, in the order of writing, with what lies there now.

    Those of databases that were merged into this one follow its own. Each file is read to compare its SHA-256. What was
    written while the database could not be, or before there was a chain, is not among them; nor is what was copied by
    other programs. Folders of thumbnails follow, each once.
    """
    with catalog.reading() as connection:
        files = [_trace(entry, None) for entry in audit.entries(connection)]
        for merge, entries in audit.merged(connection):
            files += [_trace(entry, merge) for entry in entries]
        count, size = thumbnails.extent(connection)
    found = [each for each in files if each is not None]
    # What lies there may be ours, too, if another entry tells of it.
    ours = {each.path for each in found if each.state == "as written"}
    for number, each in enumerate(found):
        if each.state == "changed" and each.path in ours:
            found[number] = replace(each, state="replaced")
    return TraceReport(tuple(found), count, size, cache_folders.folders(catalog))


def _trace(entry: AuditEntry, merge: int | None) -> Trace | None:
    if entry.action not in ACTIONS:
        return None
    said = _detail(entry)
    path, sha256, size = said.get("path"), said.get("sha256"), said.get("size")
    if entry.action == "upgrade":
        path = to_text(str(said["copy"])) if "copy" in said else None
    if not isinstance(path, str) or not isinstance(sha256, str) or not isinstance(size, int):
        return None
    return Trace(
        entry=entry.number,
        kind=str(said.get("kind", "copy before an upgrade")),
        path=path,
        sha256=sha256,
        size=size,
        at=entry.at,
        actor=entry.actor,
        state=_state(path, sha256),
        merge=merge,
    )


def _detail(entry: AuditEntry) -> Mapping[str, Any]:
    """What an entry says; nothing where it was tampered with, which `audit verify` names."""
    try:
        said = json.loads(entry.detail)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _state(path: str, sha256: str) -> Literal["as written", "changed", "gone", "unreadable"]:
    try:
        with Path(from_text(path)).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "gone"
    except (OSError, ValueError):
        return "unreadable"
    return "as written" if found == sha256 else "changed"
