"""Joining two databases: all that the other one holds comes into ours, in one transaction; the other is only read.

Its sources stay apart from ours, its places and runs keep their history, and its audit chain is kept whole beside ours.
Contents that both hold become one; a vector, label or decision that both hold, but not the same, stays as ours has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
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
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.pictures.names import to_text
from image_similarity.store import audit, merging, runs
from image_similarity.store import catalog as stored
from image_similarity.store.catalog import Catalog
from image_similarity.store.chain import check
from image_similarity.values import Location, MergeReport

if TYPE_CHECKING:
    from sqlalchemy import Connection

# In one entry of the chain, which is then at most some hundred kilobytes long.
SEALS_AT_ONCE = 16


def merge(
    catalog: Catalog,
    other: Location,
    *,
    prefix: str = "",
    allow_models: bool = False,
    on_event: Listener = ignore,
) -> MergeReport:
    """Take over another database; see `Case.merge`."""
    if not prefix.isprintable():
        raise InvalidSetting("the prefix must be printable text")
    if not isinstance(other, Path):
        raise UsageError(
            f"{other} is on a server; what is merged must be a file",
            hint=f"image-similarity db copy {other} OTHER.db; then merge OTHER.db",
        )
    _check_sound(other, on_event)
    if isinstance(catalog.path, Path) and other.samefile(catalog.path):
        raise UsageError(f"{other} is the database itself", hint="name the other one")
    with other.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    with catalog.writing_beside(other) as connection:
        runs.refuse_open(connection)
        _check_runs(connection, catalog, other)
        _check_models(connection, catalog, other, allow_models=allow_models)
        theirs, nested = merging.chains(connection)
        facts = merging.facts(connection)
        total = merging.count_rows(connection)
        on_event(Started(to_text(other.name), to_text(str(other.absolute())), total, "rows"))

        def tell(done: int) -> None:
            on_event(Progress(done, total, 0, 0))

        named, counts, seals = merging.merge_rows(connection, prefix, tell)
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


def _check_sound(other: Path, on_event: Listener) -> None:
    """Open the other database for reading, as any command does, and check it as `db verify` and `audit verify` do."""
    with closing(Catalog.open(other, read_only=True, on_event=on_event)) as opened:
        refuse_writing([run.run_id for run in opened.runs() if run.status == "running"], other)
        with opened.reading() as connection:
            problems = stored.integrity_problems(connection)
        if problems:
            raise DatabaseDamaged(
                f"{other} is damaged: {problems[0]}", hint="restore a backup; nothing was merged"
            )
        report = check(opened, on_event=on_event)
    if report.findings:
        raise VerificationFailed(
            f"the audit chain of {other} does not agree with it: {report.findings[0].message}",
            hint=f"image-similarity audit verify -dp {other}; nothing was merged",
        )


def refuse_writing(open_runs: Sequence[int], other: Location) -> None:
    """Refuse a database in which these runs count as writing.

    Raises:
        DatabaseLocked.
    """
    if open_runs:
        raise DatabaseLocked(
            f"run {open_runs[0]} of {other} is still writing, or was killed",
            hint=f"wait for it; if it is dead: image-similarity runs close {open_runs[0]} -dp {other}",
        )


def _check_runs(connection: Connection, catalog: Catalog, other: Path) -> None:
    # Again, now that nobody can write to it.
    refuse_writing(merging.open_runs(connection), other)
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
