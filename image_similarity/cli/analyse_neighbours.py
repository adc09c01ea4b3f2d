"""`analyse neighbours`: the nearest pictures of every picture, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_similarity.case import Case
from image_similarity.cli import account, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.values import Location

if TYPE_CHECKING:
    from image_similarity.analysis.neighbours import NeighboursReport

# Listed pictures that are not there, which a message names; -v names all.
_FIRST = 3


@click.command(context_settings=options.CONTEXT)
@options.database
@options.model()
@click.option(
    "-k", "k", type=int, default=5, show_default=True, metavar="N", help="Neighbours of each."
)
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    type=options.PATH,
    metavar="FILE",
    help="A name that ends in .h5, .json (an inverted index) or .csv.",
)
@click.option("--same-scene", is_flag=True, help="Only neighbours of the same most probable scene.")
@click.option(
    "--only",
    type=options.PATH,
    metavar="CSV",
    help="Only the pictures of this list, with the columns path and id.",
)
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="Only this source; may be repeated."
)
@click.option(
    "--under", metavar="PREFIX", help="Only paths below this one, relative to their source."
)
@click.option("--include-gone", is_flag=True, help="Also pictures that are no longer there.")
@click.option("--no-partial", is_flag=True, help="No pictures that could be decoded only in part.")
@click.option(
    "--approximate",
    is_flag=True,
    help="Search with the index that `analyse ann` built; may miss some, how many is measured.",
)
@click.option(
    "--index",
    type=options.PATH,
    metavar="FILE",
    help="That index; implies --approximate.  [default: DB.MODEL.ann]",
)
@click.option("--force", is_flag=True, help="Let -o replace an earlier file of its kind.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def neighbours(
    talk: Talk,
    /,
    database: Location,
    target: Path,
    no_partial: bool,
    force: bool,
    form: str,
    **given: Any,
) -> int:
    """Write the nearest pictures of every picture to a file.

    Stopped with Ctrl-C or killed, the same command goes on where it was.
    """
    with (
        progress.listener(talk) as on_event,
        Stop(as_json=talk.progress == "json") as stop,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        report = case.neighbours(
            target,
            include_partial=not no_partial,
            overwrite=force,
            on_event=on_event,
            stop=stop,
            **given,
        )
    if form == "json":
        output.emit(report)
    else:
        _print(report)
    for note in report.notes:
        output.note(note)
    if report.missing:
        named = report.missing if talk.verbose else report.missing[:_FIRST]
        output.note(f"{output.count(len(report.missing), 'listed picture')} left out:")
        for each in named:
            output.note(f"  {each}")
        if len(named) < len(report.missing):
            output.note(f"  and {len(report.missing) - len(named)} more; -v names all")
    if report.status == "interrupted":
        output.note("Stopped; run the same command again to go on.")
        return stop.exit_code
    return account.PARTIAL if report.missing else 0


def _print(report: NeighboursReport) -> None:
    recall = report.recall
    search = "exact, by proven bounds"
    if recall is not None:
        search = (
            f"approximate, recall@{recall.at} {recall.share:.4f} against the exact search,"
            f" over {output.count(recall.queries, 'picture')}"
        )
    pairs: list[tuple[str, object]] = [
        ("neighbours", ", ".join(report.paths) or "not written yet"),
        ("pictures", f"{report.done} of {report.pictures}, {report.k} neighbours each"),
        ("model", f"{report.model} ({report.fingerprint[:12]})"),
        ("search", search),
        ("state", report.state),
    ]
    if report.fewer:
        pairs.append(("with fewer", report.fewer))
    if report.without_scene:
        pairs.append(("without a scene", report.without_scene))
    if report.not_finite:
        pairs.append(("not of numbers", report.not_finite))
    output.pairs(pairs)
