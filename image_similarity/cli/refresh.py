"""`refresh`: the batch job, every known source again with its recorded settings."""

from __future__ import annotations

from typing import Any

import click

from image_similarity.case import Case
from image_similarity.cli import account, evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.events import Event, Finished
from image_similarity.settings import IndexOptions
from image_similarity.values import Location, RunReport


@click.command(context_settings=options.CONTEXT)
@options.database
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="Only this source; may be repeated."
)
@options.pdq
@options.thumbnails
@options.machine
@click.option("--no-upgrade", is_flag=True, help="Refuse a database of an earlier version.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def refresh(
    talk: Talk,
    /,
    database: Location,
    sources: tuple[str, ...],
    no_upgrade: bool,
    form: str,
    **given: Any,
) -> int:
    """Index every known source again.

    Each with the models and settings of its last run. Made for cron and timers: only new or changed files are read, and
    the worst exit code of all sources is returned.
    """
    evidence.require_database(database)
    reports: list[RunReport] = []
    with (
        Stop(as_json=talk.progress == "json") as stop,
        progress.listener(talk) as on_event,
        Case.open(database, upgrade=False if no_upgrade else None, on_event=on_event) as case,
    ):

        def tell(event: Event) -> None:
            on_event(event)
            # At once: a source that cannot be reached ends the command with an error, after those that can.
            if isinstance(event, Finished):
                reports.append(event.report)
                account.show(event.report, database, form)

        case.refresh(sources, options=IndexOptions(**given), on_event=tell, stop=stop)
    if not reports and not stop.heeded and form != "json":
        output.line("There is no source to index again.")
    return account.exit_code(reports, stop.exit_code, heeded=stop.heeded)
