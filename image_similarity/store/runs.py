"""Runs: begun, counted, closed; one at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from image_similarity import __version__
from image_similarity.errors import DatabaseLocked, UsageError
from image_similarity.store import processes
from image_similarity.store.schema import FailureRow, RunRow, SourceRow
from image_similarity.values import Failure, RunReport, RunStatus

COUNTERS = (
    "seen",
    "new",
    "duplicate",
    "unchanged",
    "failed",
    "moved",
    "gone",
    "partial",
    "embedded",
    "bytes_read",
)


def now() -> str:
    """The time in UTC as ISO 8601 text with Z, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is recorded when a run begins."""

    kind: str
    source_id: int
    options: Mapping[str, Any]
    environment: Mapping[str, Any]


def begin(connection: Connection, start: RunStart) -> int:
    """Record a running run and give its id.

    Raises:
        DatabaseLocked: If another run is alive, or ran on another machine and was never closed.
    """
    for row in connection.execute(select(RunRow).where(RunRow.status == "running")).mappings():
        here = row["host"] == processes.this_host()
        if not here or processes.is_alive(row["pid"], row["process_start"]):
            raise DatabaseLocked(
                f"run {row['id']} is writing: process {row['pid']} on {row['host']}, since {row['started_at']}",
                hint="wait for it"
                if here
                else f"if it is dead: image-similarity runs close {row['id']} -dp DATABASE",
            )
        close(connection, row["id"])
    values = {
        "kind": start.kind,
        "status": "running",
        "source_id": start.source_id,
        "started_at": now(),
        "tool_version": __version__,
        "environment": dict(start.environment),
        "options": dict(start.options),
        "host": processes.this_host(),
        "pid": os.getpid(),
        "process_start": processes.started(os.getpid()),
        "account": {},
    }
    return connection.execute(insert(RunRow).values(values).returning(RunRow.id)).scalar_one()


def close(connection: Connection, run_id: int) -> None:
    """Mark a run that died as interrupted; what it committed stays."""
    statement = update(RunRow).where(RunRow.id == run_id, RunRow.status == "running")
    if connection.execute(statement.values(status="interrupted", finished_at=now())).rowcount == 0:
        raise UsageError(f"run {run_id} is not open", hint="see: image-similarity runs list")


def save_account(
    connection: Connection, run_id: int, account: Mapping[str, Any], status: RunStatus = "running"
) -> None:
    """Store the counters of a run; any status but "running" ends it."""
    finished = None if status == "running" else now()
    connection.execute(
        update(RunRow)
        .where(RunRow.id == run_id)
        .values(account=dict(account), status=status, finished_at=finished)
    )


def latest_options(connection: Connection, source_id: int) -> Sequence[Mapping[str, Any]]:
    """The options of a source's runs, newest first."""
    statement = (
        select(RunRow.options).where(RunRow.source_id == source_id).order_by(RunRow.id.desc())
    )
    return list(connection.execute(statement).scalars())


def reports(connection: Connection, run_id: int | None = None) -> list[RunReport]:
    """All runs (or one), newest first; failures are left to the caller."""
    statement = (
        select(RunRow, SourceRow.name.label("source"), SourceRow.root_path)
        .join(SourceRow, SourceRow.id == RunRow.source_id)
        .order_by(RunRow.id.desc())
    )
    if run_id is not None:
        statement = statement.where(RunRow.id == run_id)
    return [_report(row) for row in connection.execute(statement)]


def _report(row: Row[Any]) -> RunReport:
    run: RunRow = row[0]
    account = run.account
    return RunReport(
        run_id=run.id,
        kind=run.kind,
        status=run.status,  # type: ignore[arg-type]  # held to the literals by a CHECK
        source=row.source,
        root=row.root_path,
        models=tuple(run.options.get("models", ())),
        started_at=run.started_at,
        finished_at=run.finished_at,
        skipped=account.get("skipped", {}),
        seconds=account.get("seconds", 0.0),
        **{name: account.get(name, 0) for name in COUNTERS},
    )


def failures(connection: Connection, run_id: int | None = None) -> list[Failure]:
    """The failures of one run, or all that are still open, by source and path."""
    statement = (
        select(FailureRow, SourceRow.name.label("source"))
        .join(SourceRow, SourceRow.id == FailureRow.source_id)
        .order_by(SourceRow.name, FailureRow.path)
    )
    if run_id is None:
        statement = statement.where(FailureRow.resolved_run_id.is_(None))
    else:
        statement = statement.where(FailureRow.run_id == run_id)
    return [_failure(row[0], row.source) for row in connection.execute(statement)]


def _failure(row: FailureRow, source: str) -> Failure:
    return Failure(
        path=row.path,
        stage=row.stage,  # type: ignore[arg-type]  # held to the literals by a CHECK
        error=row.error,
        message=row.message,
        source=source,
        size=row.size,
        mtime_ns=row.mtime_ns,
        run_id=row.run_id,
    )
