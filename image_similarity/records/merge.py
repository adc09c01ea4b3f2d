"""Joining two databases: all that the other one holds comes into ours, in one transaction; the other is only read.

Its sources stay apart from ours, its places and runs keep their history, and its audit chain is kept whole beside ours.
Contents that both hold become one; a vector, label or decision that both hold, but not the same, stays as ours has it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_similarity.errors import (
    DatabaseDamaged,
    DatabaseLocked,
    InvalidSetting,
    ModelError,
    UsageError,
    VerificationFailed,
)
from image_similarity.pictures.names import to_text
from image_similarity.store import audit, merging, runs
from image_similarity.store import catalog as stored
from image_similarity.store.catalog import Catalog
from image_similarity.store.chain import check
from image_similarity.values import MergeReport

if TYPE_CHECKING:
    from sqlalchemy import Connection

# In one entry of the chain, which is then at most some hundred kilobytes long.
SEALS_AT_ONCE = 16


def merge(
    catalog: Catalog, other: Path, *, prefix: str = "", allow_models: bool = False
) -> MergeReport:
    """Take over another database; see `Case.merge`."""
    if not prefix.isprintable():
        raise InvalidSetting("the prefix must be printable text")
    _check_sound(other)
    if other.samefile(catalog.path):
        raise UsageError(f"{other} is the database itself", hint="name the other one")
    with other.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    with catalog.writing_beside(other) as connection:
        runs.refuse_open(connection)
        _check_runs(connection, catalog, other)
        _check_models(connection, catalog, other, allow_models=allow_models)
        theirs, nested = merging.chains(connection)
        facts = merging.facts(connection)
        named, counts, seals = merging.merge_rows(connection, prefix)
        detail: dict[str, Any] = {
            "path": to_text(str(other.absolute())),
            "sha256": sha256,
            "sources": named,
            "counts": counts,
            "facts": facts,
            "rows": seals[:SEALS_AT_ONCE],
        }
        entry = audit.adopt(connection, theirs, detail)
        for start in range(SEALS_AT_ONCE, len(seals), SEALS_AT_ONCE):
            some = seals[start : start + SEALS_AT_ONCE]
            audit.append(connection, "seal", {"of": entry.number, "rows": some})
        for number, taken in nested.items():
            # What the other had merged before: kept whole, too, each under an entry of its own.
            audit.adopt(connection, taken, {"within": entry.number, "their_entry": number})
    return MergeReport(
        database=str(catalog.path),
        other=str(other),
        other_sha256=sha256,
        entry=entry.number,
        chain=(theirs[-1].number, theirs[-1].digest) if theirs else None,
        sources=tuple(named.items()),
        **counts,
    )


def _check_sound(other: Path) -> None:
    """Open the other database for reading, as any command does, and check it as `db verify` and `audit verify` do."""
    opened = Catalog.open(other, read_only=True)
    try:
        with opened.reading() as connection:
            problems = stored.integrity_problems(connection)
        if problems:
            raise DatabaseDamaged(
                f"{other} is damaged: {problems[0]}", hint="restore a backup; nothing was merged"
            )
        report = check(opened)
    finally:
        opened.close()
    if report.findings:
        raise VerificationFailed(
            f"the audit chain of {other} does not agree with it: {report.findings[0].message}",
            hint=f"image-similarity audit verify -dp {other}; nothing was merged",
        )


def _check_runs(connection: Connection, catalog: Catalog, other: Path) -> None:
    writing = merging.open_runs(connection)
    if writing:
        raise DatabaseLocked(
            f"run {writing[0]} of {other} is still writing, or was killed",
            hint=f"wait for it; if it is dead: image-similarity runs close {writing[0]} -dp {other}",
        )
    shared, runs_there = merging.shared_runs(connection)
    if shared and shared == runs_there:
        raise UsageError(
            f"{catalog.path} holds all runs of {other} already",
            hint="it was merged before, or is a copy; nothing was changed",
        )
    if shared:
        raise UsageError(
            f"{catalog.path} and {other} share {shared} of its {runs_there} runs",
            hint="one began as a copy of the other, or was merged before: its places would stand here twice",
        )


def _check_models(
    connection: Connection, catalog: Catalog, other: Path, *, allow_models: bool
) -> None:
    lacking, otherwise = merging.other_models(connection)
    if otherwise:
        raise ModelError(
            f"{otherwise[0]} is recorded otherwise in {other} than in {catalog.path}",
            hint="one of the two was changed: image-similarity db verify",
        )
    if lacking and merging.holds_models(connection) and not allow_models:
        raise ModelError(
            f"{other} was indexed with {', '.join(lacking)}, {catalog.path} was not",
            hint="index both with the same model; --allow-models keeps both, whose distances cannot be compared",
        )
