"""`db copy`: a database moves, whole, between files and servers."""

from __future__ import annotations

from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.values import CopyReport, Location


@click.command(context_settings=options.CONTEXT)
@click.argument("source", metavar="SRC", type=options.DATABASE)
@click.argument("destination", metavar="DST", type=options.DATABASE)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def copy(talk: Talk, /, source: Location, destination: Location, form: str) -> None:
    """Copy the whole database SRC to DST; each is a file or postgresql+psycopg://user@host/name.

    DST must be a new file or an empty database. What was copied is checked against the audit chain at the end. If the
    command is broken off, the same command goes on; until then DST cannot be used.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(source, read_only=True, on_event=on_event) as case,
    ):
        if isinstance(destination, Path):
            evidence.refuse_inside_sources(destination, [case])
        report = case.copy(destination, on_event=on_event)
    if form == "json":
        output.emit(report)
    else:
        _print(report)


def _print(report: CopyReport) -> None:
    output.line(f"{report.source}: copied to {report.database}, {report.rows} rows")
    chain = f"up to entry {report.chain[0]}, head {report.chain[1]}" if report.chain else "none"
    output.pairs(
        [
            ("audit chain", f"{chain}; all that it seals was checked"),
            ("copied", f"entry {report.entry} of the copy's chain"),
            *((name, rows) for name, rows in report.counts.items() if rows),
        ]
    )
