"""`hashlist`: lists of known files, by whose hashes pictures are marked, hidden or picked out."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.reports.rows import plain, write_csv, write_jsonl
from image_similarity.reports.taken_out import ALGORITHMS
from image_similarity.values import HashListReport, KnownPlace, Location


@click.group(context_settings=options.CONTEXT)
def hashlist() -> None:
    """Lists of known files: import, list and remove them, and list what they know."""


@hashlist.command("import")
@click.argument("file", type=options.PATH)
@options.database
@click.option("--name", metavar="NAME", help="What the list is called.  [default: the file's name]")
@click.option(
    "--form",
    "kind",
    type=click.Choice(["auto", "plain", "csv", "nsrl", "vics"]),
    default="auto",
    show_default=True,
    help="What the file is: a hash a line, CSV, NSRL-like, VICS-style JSON.",
)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def import_list(
    talk: Talk, /, file: Path, database: Location, name: str | None, kind: Any, form: str
) -> None:
    """Import a file of known hashes.

    MD5, SHA-1 or SHA-256; of several in a row the strongest is taken. It is stored as a whole or not at all. Hashes of
    the empty file are dropped.
    """
    evidence.require_database(database)
    with progress.listener(talk) as on_event, Case.open(database, on_event=on_event) as case:
        report = case.import_hash_list(
            file, name=name, form=None if kind == "auto" else kind, on_event=on_event
        )
    if form == "json":
        output.emit(report)
    else:
        _print(report)


@hashlist.command("list")
@options.database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def list_lists(talk: Talk, /, database: Location, form: str) -> None:
    """List the hash lists."""
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.hash_lists()
    if form == "json":
        for each in found:
            output.emit(each)
        return
    columns = ("hashes", "form", "imported", "SHA-256 of the file", "list")
    output.table(
        columns, [(e.entries, e.form, e.imported_at, e.file_sha256, e.name) for e in found]
    )


@hashlist.command("matches")
@click.argument("name", required=False)
@options.database
@options.output_format("table", "json", "csv")
@options.talk
@click.pass_obj
def matches(talk: Talk, /, name: str | None, database: Location, form: str) -> None:
    """List every place whose content is known.

    Of the list NAME, or of all. Files that could not be taken are listed, too, if their SHA-256 is known.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.known_places(name)
        if form == "json":
            write_jsonl(map(plain, found), sys.stdout)
        elif form == "csv":
            columns = [each.name for each in fields(KnownPlace)]
            write_csv(map(plain, found), sys.stdout, columns)
        else:
            rows = [(e.list, ALGORITHMS[e.algorithm], e.category, _place(e)) for e in found]
            output.table(("list", "by", "category", "picture"), rows)
            output.note(output.count(len(rows), "place"))


def _place(known: KnownPlace) -> str:
    gone = f"  (gone since {known.gone_since})" if known.gone_since else ""
    failure = f"  (not taken: {known.failure})" if known.failure else ""
    return f"{known.place}{gone}{failure}"


@hashlist.command("remove")
@click.argument("name")
@options.database
@options.talk
@click.pass_obj
def remove(talk: Talk, /, name: str, database: Location) -> None:
    """Remove a hash list.

    The audit chain keeps that it was there, and the SHA-256 of its file.
    """
    evidence.require_database(database)
    with progress.listener(talk) as on_event, Case.open(database, on_event=on_event) as case:
        removed = case.remove_hash_list(name)
    output.line(f"{removed.name}: removed, {removed.entries} hashes")


def _print(report: HashListReport) -> None:
    made = report.list
    first = f"; the first: {report.first_malformed}" if report.malformed else ""
    output.line(made.name, bold=True)
    output.pairs(
        [
            ("form", made.form),
            ("SHA-256 of the file", made.file_sha256),
            ("hashes", f"{made.entries}; {report.repeated} rows repeat one of them"),
            ("empty file", f"{report.empty} rows dropped"),
            ("without a hash", f"{report.malformed} rows not taken{first}"),
            ("in this database", f"{output.count(report.pictures, 'picture')} known"),
            ("", f"{report.unreadable} known among the files that could not be taken"),
        ],
        indent=2,
    )
