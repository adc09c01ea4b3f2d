"""`case traces` and `case purge-thumbnails`: what the program wrote of a case, and how to be rid of small pictures."""

from __future__ import annotations

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.values import Location


@click.command()
@options.database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def traces(talk: Talk, /, database: Location, form: str) -> None:
    """List every copy and derived picture that was written.

    Backups, reports, manifests, exports and indexes, as the audit chain tells of them, with what lies there now; and
    the thumbnails in the database and in the folders of the analyst's page.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.traces()
    if form == "json":
        output.emit(found)
        return
    output.table(
        ("entry", "written", "by", "kind", "now", "bytes", "file"),
        [
            (
                f"{t.merge}:{t.entry}" if t.merge else t.entry,
                t.at,
                t.actor,
                t.kind,
                t.state,
                t.size,
                t.path,
            )
            for t in found.files
        ],
    )
    output.line(
        f"{output.count(len(found.files), 'file')}; in the database "
        f"{output.count(found.thumbnails, 'thumbnail')}, {output.size(found.thumbnail_bytes)}"
    )
    for folder in found.folders:
        output.line(
            f"of the page {output.count(folder.files, 'thumbnail')}, {output.size(folder.bytes)}, "
            f"in {folder.path}"
        )


@click.command("purge-thumbnails")
@options.database
@options.talk
@click.pass_obj
def purge_thumbnails(talk: Talk, /, database: Location) -> None:
    """Delete all stored thumbnails, and those that the page keeps.

    Their places in the database file are overwritten, and the audit chain keeps that they were deleted. Copies of the
    database are not reached. No refresh makes them again until `index --thumbnails` is given. The page makes its own
    again when it is used, and not with `serve --read-only`.
    """
    evidence.require_database(database)
    with progress.listener(talk) as on_event, Case.open(database, on_event=on_event) as case:
        output.line(f"{output.count(case.purge_thumbnails(), 'thumbnail')} deleted")
        cached = case.purge_cached()
    if cached:
        output.line(f"{output.count(cached, 'thumbnail')} of the page deleted")
