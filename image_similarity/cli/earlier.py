"""`db import`: a database of the earlier image-similarity is taken over."""

from __future__ import annotations

from pathlib import Path

import click

from image_similarity.case import Case, check_earlier, check_folder
from image_similarity.cli import account, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.settings import MAX_MEGAPIXELS
from image_similarity.values import ImportReport, Location


@click.command(context_settings=options.CONTEXT)
@click.argument("earlier", metavar="OLD", type=options.PATH)
@options.evidence("The folder that holds its pictures; only ever read.")
@options.created_database
@click.option(
    "--max-megapixels",
    type=float,
    metavar="N",
    default=MAX_MEGAPIXELS,
    show_default=True,
    help="Larger pictures are recorded as failures.",
)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def import_earlier(
    talk: Talk,
    /,
    earlier: Path,
    folder: Path,
    database: Location,
    source: str | None,
    max_megapixels: float,
    form: str,
) -> int:
    """Take over OLD, a database of the earlier image-similarity.

    Its vectors and scenes are stored with the pictures that its paths lead to, under a model record of their own, so
    that they are never compared with others. OLD is only read.
    """
    # Before the database is opened, which creates it.
    check_folder(folder, database)
    check_earlier(earlier)
    with (
        Stop(as_json=talk.progress == "json") as stop,
        progress.listener(talk) as on_event,
        Case.open(database, on_event=on_event) as case,
    ):
        report = case.import_earlier(
            earlier,
            folder,
            source=source,
            max_megapixels=max_megapixels,
            on_event=on_event,
            stop=stop,
        )
    if form == "json":
        output.emit(report)
    else:
        _print(report, database)
    return account.exit_code([report.run], stop.exit_code)


def _print(report: ImportReport, database: Location) -> None:
    account.print_account(report.run, database)
    output.pairs(
        [
            ("imported", f"{report.earlier}, SHA-256 {report.earlier_sha256}"),
            ("rows", f"{report.rows}, of them with a path that came before: {report.repeated}"),
            ("model", f"{report.model}@{report.fingerprint[:12]}, {report.dim} dimensions"),
            ("scene labels", report.labelled),
            ("vectors made of unit length", report.rescaled),
            ("other vectors of one content", report.otherwise),
        ],
        indent=2,
    )
