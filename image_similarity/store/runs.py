"""Runs: begun, counted, closed; one at a time, on a server one of each source."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from image_similarity import __version__
from image_similarity.errors import DatabaseLocked, UsageError
from image_similarity.store import audit, processes
from image_similarity.store.clock import now
from image_similarity.store.engine import is_sqlite
from image_similarity.store.schema import failure_table, run_table, source_table
from image_similarity.values import Failure, Mount, RunReport, RunStatus

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
    # Only what writes needs it.
    from image_similarity.store import sealing

    refuse_open(connection, start.source_id)
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
    statement = insert(run_table).values(values).returning(run_table.c.id)
    run_id = int(connection.execute(statement).scalar_one())
    source = connection.execute(
        select(source_table.c.name).where(source_table.c.id == start.source_id)
    ).scalar()
    said = {"run": run_id, "kind": start.kind, "source": source, "options": values["options"]}
    audit.append(connection, "run", {**said, "rows": sealing.seal_begin(connection, run_id)})
    return run_id


def refuse_open(connection: Connection, source_id: int | None = None) -> int:
    """Refuse to write while a run does; runs that died on this machine are closed, and counted.

    On a server runs of different sources go on together: with a source only its own runs are looked at there.

    Raises:
        DatabaseLocked: If another run is alive, or ran on another machine and was never closed.
    """
    died = 0
    statement = select(run_table).where(run_table.c.status == "running")
    if source_id is not None and not is_sqlite(connection):
        statement = statement.where(run_table.c.source_id == source_id)
    for row in connection.execute(statement).mappings():
        here = row["host"] == processes.this_host()
        if not here or processes.is_alive(row["pid"], row["process_start"]):
            raise DatabaseLocked(
                f"run {row['id']} is writing: process {row['pid']} on {row['host']}, since {row['started_at']}",
                hint="wait for it"
                if here
                else f"if it is dead: image-similarity runs close {row['id']} -dp DATABASE",
            )
        close(connection, row["id"])
        died += 1
    return died


def close(connection: Connection, run_id: int) -> None:
    """Mark a run that died as interrupted; what it committed stays."""
    statement = update(run_table).where(run_table.c.id == run_id, run_table.c.status == "running")
    if connection.execute(statement.values(status="interrupted", finished_at=now())).rowcount == 0:
        raise UsageError(f"run {run_id} is not open", hint="see: image-similarity runs list")
    _append_end(connection, run_id)


def _append_end(connection: Connection, run_id: int) -> None:
    """Let the audit chain tell how a run ended, and bind what it closed."""
    # Only what writes needs it.
    from image_similarity.store import sealing

    statement = select(run_table.c.status, run_table.c.account).where(run_table.c.id == run_id)
    status, account = connection.execute(statement).one()
    said = {"run": run_id, "status": status, "account": account}
    audit.append(connection, "end", {**said, "rows": sealing.seal_end(connection, run_id)})


def save_account(
    connection: Connection, run_id: int, account: Mapping[str, Any], status: RunStatus = "running"
) -> None:
    """Store the counters of a run; any status but "running" ends it.

    Raises:
        DatabaseLocked: Somebody closed it, taking it for dead: what was sealed then must not change.
    """
    finished = None if status == "running" else now()
    statement = update(run_table).where(run_table.c.id == run_id, run_table.c.status == "running")
    values = {"account": dict(account), "status": status, "finished_at": finished}
    if connection.execute(statement.values(values)).rowcount == 0:
        raise DatabaseLocked(
            f"run {run_id} was closed while it was writing", hint="run the command again"
        )
    if status != "running":
        _append_end(connection, run_id)


def latest_options(connection: Connection, source: str) -> Sequence[Mapping[str, Any]]:
    """The options of those of a source's runs that walked it, newest first; imports and derivations did not.

    Runs that failed before they took a file count only where there are no others: what a model that could not be loaded
    was asked for would be asked for again by every refresh.
    """
    of_source = select(source_table.c.id).where(source_table.c.name == source).scalar_subquery()
    statement = (
        select(run_table.c.options, run_table.c.status, run_table.c.account)
        .where(run_table.c.source_id == of_source, run_table.c.kind.not_in(("import", "derive")))
        .order_by(run_table.c.id.desc())
    )
    found = connection.execute(statement).all()
    walked = [row for row in found if row.status != "failed" or row.account.get("seen")]
    return [row.options for row in walked or found]


def model_origins(connection: Connection) -> list[str]:
    """The names and weights files that all runs were given for their models, newest first."""
    origins: list[str] = []
    for options in connection.execute(
        select(run_table.c.options).order_by(run_table.c.id.desc())
    ).scalars():
        given = [options.get("weights"), options.get("scenes"), *options.get("models", ())]
        origins += [origin for origin in given if origin is not None]
    return list(dict.fromkeys(origins))


def reports(connection: Connection, run_id: int | None = None) -> list[RunReport]:
    """All runs (or one), newest first; failures are left to the caller."""
    statement = (
        select(run_table, source_table.c.name.label("source"), source_table.c.root_path)
        .join(source_table, source_table.c.id == run_table.c.source_id)
        .order_by(run_table.c.id.desc())
    )
    if run_id is not None:
        statement = statement.where(run_table.c.id == run_id)
    rows: Iterable[Any] = connection.execute(statement)
    return [_report(row) for row in rows]


def _report(row: Any) -> RunReport:
    account = row.account
    return RunReport(
        run_id=row.id,
        kind=row.kind,
        status=row.status,
        source=row.source,
        root=row.root_path,
        models=tuple(row.options.get("models", ())),
        started_at=row.started_at,
        finished_at=row.finished_at,
        skipped=account.get("skipped", {}),
        seconds=account.get("seconds", 0.0),
        mount=Mount(**row.environment["mount"]) if row.environment.get("mount") else None,
        **{name: account.get(name, 0) for name in COUNTERS},
    )


def failures(connection: Connection, run_id: int | None = None) -> list[Failure]:
    """The failures of one run, or all that are still open, by source and path."""
    statement = (
        select(failure_table, source_table.c.name.label("source"))
        .join(source_table, source_table.c.id == failure_table.c.source_id)
        .order_by(source_table.c.name, failure_table.c.path)
    )
    if run_id is None:
        statement = statement.where(failure_table.c.resolved_run_id.is_(None))
    else:
        statement = statement.where(failure_table.c.run_id == run_id)
    return [
        Failure(
            path=row.path,
            stage=row.stage,
            error=row.error,
            message=row.message,
            source=row.source,
            size=row.size,
            mtime_ns=row.mtime_ns,
            run_id=row.run_id,
            sha256=row.sha256,
        )
        for row in connection.execute(statement)
    ]
