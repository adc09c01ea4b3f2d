"""`analyse codebook`: visual words of a database's pictures, and their histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_similarity.case import Case
from image_similarity.cli import account, evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.events import Event, Finished
from image_similarity.settings import BUILTIN, IndexOptions
from image_similarity.values import CodebookInfo, Location, RunReport


@click.group(context_settings=options.CONTEXT)
def codebook() -> None:
    """Bags of visual words: build a codebook, encode the pictures."""


@codebook.command(context_settings=options.CONTEXT)
@options.database
@options.model()
@click.option(
    "-o", "--output", "target", type=options.PATH, required=True, metavar="FILE.safetensors",
    help="The codebook.",
)  # fmt: skip
@click.option("--words", type=int, default=8_500, show_default=True, metavar="N", help="Words.")
@click.option(
    "--sample", type=int, default=500_000, show_default=True, metavar="N",
    help="Local features to learn from, about; at least as many as words.",
)  # fmt: skip
@click.option(
    "--dims", type=int, default=64, show_default=True, metavar="N",
    help="Principal components of a local feature that are kept.",
)  # fmt: skip
@click.option(
    "--layer", metavar="NAME", help="Where in the network.  [default: its last convolutional map]"
)
@click.option(
    "--norm", type=click.Choice(["l2", "hellinger"]), default="l2", show_default=True,
    help="How a histogram is made a vector.",
)  # fmt: skip
@click.option(
    "--seed", type=int, default=1, show_default=True, metavar="N",
    help="Draws pictures, features and the first words.",
)  # fmt: skip
@options.device
@click.option("--force", is_flag=True, help="Replace an earlier codebook.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def build(
    talk: Talk, /, database: Location, target: Path, model: str | None, form: str, **given: Any
) -> int:
    """Learn visual words from the pictures of a database.

    Interrupted or killed, the same command goes on from where it was. The file is a model, which every -m takes.
    """
    with (
        Stop(as_json=talk.progress == "json") as stop,
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.build_codebook(
            target, model=model or BUILTIN, on_event=on_event, stop=stop, **given
        )
    if found is None:
        output.note("Stopped: what was finished is kept; the same command goes on from there.")
        return stop.exit_code
    if form == "json":
        output.emit(found)
    else:
        output.pairs(_rows(found))
    if found.changed:
        output.note(f"{output.count(found.changed, 'picture')} left out: no longer as indexed")
    failed = account.say_not_evaluated(found.failures, done="used")
    return account.PARTIAL if found.changed else failed


@codebook.command(context_settings=options.CONTEXT)
@options.database
@click.argument("codebook_file", metavar="CODEBOOK", type=options.PATH)
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="Only this source; may be repeated."
)
@options.machine
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def encode(
    talk: Talk,
    /,
    database: Location,
    codebook_file: Path,
    sources: tuple[str, ...],
    form: str,
    **given: Any,
) -> int:
    """Store the histogram of visual words of every picture.

    Each source is refreshed with CODEBOOK as one more model. Pictures that have theirs are not read again.
    """
    evidence.require_database(database)
    reports: list[RunReport] = []
    with (
        Stop(as_json=talk.progress == "json") as stop,
        progress.listener(talk) as on_event,
        Case.open(database, on_event=on_event) as case,
    ):

        def tell(event: Event) -> None:
            on_event(event)
            # At once: a source that cannot be reached ends the command with an error, after those that can.
            if isinstance(event, Finished):
                reports.append(event.report)
                account.show(event.report, database, form)

        case.encode_codebook(
            codebook_file, sources, options=IndexOptions(**given), on_event=tell, stop=stop
        )
    return account.exit_code(reports, stop.exit_code, heeded=stop.heeded)


def _rows(found: CodebookInfo) -> list[tuple[str, str]]:
    rows, columns = found.cells
    return [
        ("codebook", f"{found.path} ({output.size(found.size_bytes)})"),
        ("model", f"{found.model} ({found.fingerprint[:12]})"),
        ("features", f"{found.base}, layer {found.layer}, {rows} x {columns} cells a picture"),
        ("learned from", f"{found.features} features of {found.pictures} pictures"),
        (
            "words",
            f"{found.words} in {found.dims} dimensions ({found.explained:.1%} of the variance)",
        ),
        ("vectors", f"{found.norm}, {output.size(2 * found.words)} a picture"),
    ]
