"""`replay`: rank again what a manifest says, and say same or where it differs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from image_similarity.case import Case, manifest_databases, replay_manifest
from image_similarity.cli import options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.errors import VerificationFailed
from image_similarity.values import Difference, Location, Replayed, ReplayReport

SHOWN = 20


@click.command(context_settings=options.CONTEXT)
@click.argument("manifest", metavar="FILE.json", type=options.PATH)
@click.option(
    "-dp",
    "--db-path",
    "databases",
    multiple=True,
    type=options.DATABASE,
    metavar="DB",
    help="The databases in the order of the manifest.  [default: where they lay then]",
)
@click.option(
    "--block-size",
    type=int,
    metavar="N",
    help="Pictures compared at once; the answer does not depend on it.  [default: 4096]",
)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def replay(
    talk: Talk,
    /,
    manifest: Path,
    databases: tuple[Location, ...],
    block_size: int | None,
    form: str,
) -> int:
    """Rank again what `query --manifest` wrote.

    Every stored vector is compared with those of the manifest, over the rows as of its run, without a network and
    without the pictures. Says "same", or where the answer differs.
    """
    with ExitStack() as stack:
        on_event = stack.enter_context(progress.listener(talk))
        cases = [
            stack.enter_context(Case.open(path, read_only=True, on_event=on_event))
            for path in databases or manifest_databases(manifest)
        ]
        report = replay_manifest(cases, manifest, block=block_size, on_event=on_event)
    if form == "json":
        output.emit({"same": report.same, "queries": report.queries, "databases": report.databases})
    else:
        _print(report)
    return 0 if report.same else VerificationFailed.exit_code


def _print(report: ReplayReport) -> None:
    for difference in report.databases:
        output.line(f"{difference.what}: {difference.message}")
    for query in report.queries:
        _print_query(query)
    if len(report.queries) > 1:
        same = sum(not query.differences for query in report.queries)
        output.line(f"same: {same} of {len(report.queries)} queries")


def _print_query(query: Replayed) -> None:
    counted = f"{query.confirmed} of {output.count(query.results, 'result')}"
    said = "differs" if query.differences else "same"
    output.line(f"{said}: {counted}, {_how(query)}  ({query.query})")
    _print_some(query.differences)
    if query.missed:
        missed = output.count(len(query.missed), "result")
        output.line(f"  the search was approximate; it missed {missed}:")
        _print_some(query.missed)


def _how(query: Replayed) -> str:
    if not query.differences:
        return "distances identical"
    both = [(d.expected, d.found) for d in query.differences if d.kind == "distance" and d.found]
    if len(both) < len(query.differences):
        return "as in the manifest"
    # Vectors that were computed anew, in another database or in other batches, differ in their last digits.
    largest = max(abs(float(was) - float(now)) for was, now in both)
    return f"as in the manifest; the order is the same, distances differ by at most {largest:.1e}"


def _print_some(differences: Sequence[Difference]) -> None:
    for difference in differences[:SHOWN]:
        output.line(f"  {_line(difference)}")
    if (more := len(differences) - SHOWN) > 0:
        output.line(f"  ... and {more} more; --format json shows all")


def _line(difference: Difference) -> str:
    values = [
        f"{word} {value}"
        for word, value in (("manifest", difference.expected), ("now", difference.found))
        if value
    ]
    shown = f" ({', '.join(values)})" if values else ""
    place = "query" if difference.rank is None else f"rank {difference.rank}"
    return f"{place}: {difference.what}: {difference.message}{shown}"
