"""`analyse derive`: the vectors of a derived model, for every picture that has one of the model below it."""

from __future__ import annotations

from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import account, evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.values import Location


@click.command(context_settings=options.CONTEXT)
@click.argument("model", metavar="FILE", type=options.PATH)
@options.database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def derive(talk: Talk, /, model: Path, database: Location, form: str) -> int:
    """Store the vectors of the derived model in FILE.

    For every picture that has a vector of the model below it and none of this one: after `analyse reduce --no-store`,
    after an interruption, or when pictures were indexed since. No picture is read.
    """
    evidence.require_database(database)
    with (
        Stop(as_json=talk.progress == "json") as stop,
        progress.listener(talk) as on_event,
        Case.open(database, on_event=on_event) as case,
    ):
        reports = case.derive(model, on_event=on_event, stop=stop)
        code = account.exit_code(reports, stop.exit_code, heeded=stop.heeded)
    for report in reports:
        if form == "json":
            output.emit(report)
        else:
            output.line(account.derived_line(report))
    if not reports and not stop.heeded and form != "json":
        output.line("Every picture has its vector already.")
    return code
