"""`runs`: what was done, and what could not be taken."""

from __future__ import annotations

import click

from image_similarity.case import Case
from image_similarity.cli import account, evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.values import Location


@click.group(context_settings=options.CONTEXT)
def runs() -> None:
    """List runs, with their accounts and failures."""


@runs.command("list")
@options.database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def list_runs(talk: Talk, /, database: Location, form: str) -> None:
    """List all runs, newest first."""
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.runs()
    if form == "json":
        for report in found:
            output.emit(report)
        return
    output.table(
        ("run", "kind", "status", "started", "seen", "embedded", "failed", "gone", "source"),
        [
            (
                r.run_id,
                r.kind,
                r.status,
                r.started_at,
                r.seen,
                r.embedded,
                r.failed,
                r.gone,
                r.source,
            )
            for r in found
        ],
    )


@runs.command("show")
@click.argument("run_id", metavar="ID", type=int)
@options.database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def show_run(talk: Talk, /, run_id: int, database: Location, form: str) -> None:
    """Show the account of one run."""
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        report = case.run(run_id)
    if form == "json":
        output.emit(report)
    else:
        account.print_account(report, database)


@runs.command("failures")
@click.argument("run_id", metavar="[ID]", type=int, required=False)
@options.database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def failures(talk: Talk, /, run_id: int | None, database: Location, form: str) -> None:
    """List what could not be taken.

    The failures that are still open or, with ID, those that this run met.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        if run_id is not None:
            case.run(run_id)  # says that there is no such run, where an empty list would not
        found = case.failures(run_id)
    if form == "json":
        for failure in found:
            output.emit(failure)
        return
    output.table(
        ("run", "stage", "error", "picture", "message"),
        [(f.run_id, f.stage, f.error, f"{f.source}:{f.path}", f.message) for f in found],
    )
    output.note(output.count(len(found), "failure"))


@runs.command("close")
@click.argument("run_id", metavar="ID", type=int)
@options.database
@options.talk
@click.pass_obj
def close_run(talk: Talk, /, run_id: int, database: Location) -> None:
    """Close a run that died on another machine.

    A run that died on this machine is closed by the next run. What it stored stays.
    """
    evidence.require_database(database)
    with progress.listener(talk) as on_event, Case.open(database, on_event=on_event) as case:
        case.close_run(run_id)
        output.line(f"run {run_id}: {case.run(run_id).status}")
