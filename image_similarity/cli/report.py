"""`report`: a search, a selection or the whole case as HTML, CSV, JSON Lines, VICS-style JSON or CASE/UCO JSON-LD."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from image_similarity.case import Case
from image_similarity.cli import options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.report_options import what_and_where
from image_similarity.cli.report_sheet import sheet
from image_similarity.reports.rows import Row
from image_similarity.values import Location, Selection

Form = Literal["html", "csv", "jsonl", "vics", "case-uco"]

# An HTML file with more pictures opens slowly, and nobody looks through it.
HTML_PICTURES = 1000


@click.group(context_settings=options.CONTEXT)
def report() -> None:
    """Write what was found, for people and for other programs.

    Without a choice a report holds the whole case. Every report says what was searched and what was not, and ends with
    the audit head.
    """


report.add_command(sheet)


@report.command()
@what_and_where
@click.option(
    "--limit", type=int, default=HTML_PICTURES, show_default=True, metavar="N",
    help="Pictures shown; how many are left out is said.",
)  # fmt: skip
@click.pass_obj
def html(talk: Talk, /, **given: Any) -> None:
    """Write a page with small pictures, blurred until clicked on.

    It is one file, without scripts and links, and fit to be printed.
    """
    _write(talk, "html", **given)


@report.command()
@what_and_where
@click.pass_obj
def csv(talk: Talk, /, **given: Any) -> None:
    """Write one row for each place of each picture, for spreadsheets.

    What was searched and what was not stands in FILE.about.json beside it.
    """
    _write(talk, "csv", **given)


@report.command()
@what_and_where
@click.pass_obj
def jsonl(talk: Talk, /, **given: Any) -> None:
    """Write one JSON object for each place of each picture; the form that loses nothing."""
    _write(talk, "jsonl", **given)


@report.command()
@what_and_where
@click.pass_obj
def vics(talk: Talk, /, **given: Any) -> None:
    """Write JSON in the style of VICS 2.0; not certified."""
    _write(talk, "vics", **given)


@report.command("case-uco")
@what_and_where
@click.pass_obj
def case_uco(talk: Talk, /, **given: Any) -> None:
    """Write CASE/UCO JSON-LD."""
    _write(talk, "case-uco", **given)


def _write(
    talk: Talk,
    form: Form,
    *,
    database: Location,
    path: Path,
    hits: Path | None,
    force: bool,
    limit: int | None = None,
    **choice: Any,
) -> None:
    chosen = Selection(**choice)
    if hits is not None and chosen != Selection():
        raise click.UsageError("--hits is a choice of its own: the query made it.")
    rows = _hits(hits) if hits else ()
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        written = case.report(
            form, path, chosen=chosen, hits=rows, limit=limit, overwrite=force, on_event=on_event
        )
    for text in written.notes:
        output.note(text)
    left_out = written.chosen - written.pictures
    more = f"; {left_out} left out, --limit takes more" if left_out else ""
    output.note(f"{output.count(written.pictures, 'picture')} in the report{more}")
    for each in written.paths:
        output.line(each)


def _hits(path: Path) -> list[Row]:
    from image_similarity.reports.hits_file import read_hits

    if str(path) == "-":
        return read_hits(sys.stdin.buffer, "standard input")
    with path.open("rb") as file:
        return read_hits(file, str(path))
