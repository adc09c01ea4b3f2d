"""`relink`: a source whose evidence is mounted elsewhere now."""

from __future__ import annotations

from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress, verification
from image_similarity.cli.options import Talk
from image_similarity.errors import VerificationFailed
from image_similarity.values import Location, RelinkReport


@click.command(context_settings=options.CONTEXT)
@click.argument("source", metavar="SOURCE")
@click.argument("new_root", metavar="NEWROOT", type=options.PATH)
@options.database
@click.option(
    "--sample",
    type=int,
    metavar="N",
    help="Compare N files, drawn by a fixed seed.  [default: all]",
)
@click.option("--allow-missing", is_flag=True, help="Move it also if files are missing there.")
@click.option("--dry-run", is_flag=True, help="Compare, and write nothing.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def relink(
    talk: Talk,
    /,
    source: str,
    new_root: Path,
    database: Location,
    sample: int | None,
    allow_missing: bool,
    dry_run: bool,
    form: str,
) -> int:
    """Move SOURCE to the folder NEWROOT.

    For evidence that is mounted at another place now. The recorded files are read there and compared by their hashes;
    only if they are the same is the source moved. NEWROOT is only read.
    """
    evidence.require_database(database)
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=dry_run, on_event=on_event) as case,
    ):
        report = case.relink(
            source,
            new_root,
            sample=sample,
            allow_missing=allow_missing,
            dry_run=dry_run,
            on_event=on_event,
        )
    if form == "json":
        output.emit(report)
    else:
        _print(report)
    return 0 if report.proved else VerificationFailed.exit_code


def _print(report: RelinkReport) -> None:
    verification.print_findings(report.findings)
    output.line(
        f"{report.read} of {output.count(report.files, 'file')} compared: {report.same} same / "
        f"{report.changed} changed / {report.missing} missing / {report.unreadable} unreadable"
    )
    if report.moved:
        output.line(f"{report.source}: moved from {report.old_root} to {report.new_root}")
    elif report.proved:
        output.line(f"{report.source}: would be moved from {report.old_root} to {report.new_root}")
    else:
        output.line(f"{report.source}: stays at {report.old_root}; {report.new_root} is not proved")
