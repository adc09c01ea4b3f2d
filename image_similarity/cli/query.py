"""`query`: rank the pictures of one or several databases by their distance to a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_similarity.case import Case, search_cases, search_cases_folder
from image_similarity.cli import (
    account,
    beside_options,
    known_options,
    manifest_file,
    options,
    output,
    progress,
    query_making,
)
from image_similarity.cli.hits import Renderer
from image_similarity.cli.options import Talk
from image_similarity.cli.recorded_queries import RecordedQueries
from image_similarity.events import Listener
from image_similarity.values import Calibration, Failure, Location, SearchResult

if TYPE_CHECKING:
    from image_similarity.cli.sheet import Sheet


@click.command(context_settings=options.CONTEXT)
@click.argument("pictures", metavar="[IMAGE|DIR]...", nargs=-1, type=options.PATH)
@click.option("--sha256", metavar="HEX", help="Search with an indexed picture; 6 or more digits.")
@options.databases
@options.model()
@click.option(
    "-k", "k", type=int, default=5, show_default=True, metavar="N", help="Hits for each query."
)
@click.option(
    "--max-distance",
    type=float,
    metavar="X",
    help="Only hits this near; from 0 to 2, unless vectors are raw.",
)
@click.option(
    "--scene",
    "scene",
    multiple=True,
    default=("auto",),
    metavar="auto|hard|off|NAME",
    help="Search the query's likely scenes, its first one, all, or those named; may be repeated."
    "  [default: auto]",
)
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="Only this source; may be repeated."
)
@click.option(
    "--under", metavar="PREFIX", help="Only paths below this one, relative to their source."
)
@click.option("--include-gone", is_flag=True, help="Also places where the picture is no longer.")
@click.option("--no-partial", is_flag=True, help="No pictures that could be decoded only in part.")
@click.option(
    "--calibration",
    type=options.PATH,
    metavar="FILE",
    help="Also say likelihood ratios, as `calibrate` learned them.",
)
@click.option(
    "--approximate",
    is_flag=True,
    help="Compare only the pictures whose short codes look alike; faster from a million pictures on, may miss some.",
)
@click.option(
    "--exact",
    is_flag=True,
    help="Compare all pictures also where a server has an index of them; a file is always searched so.",
)
@click.option(
    "--index",
    type=options.PATH,
    metavar="FILE",
    help="Search with an index that `analyse ann` built; implies --approximate.",
)
@query_making.query_making
@beside_options.beside
@known_options.known
@options.device
@options.runtime
@options.output_format("table", "json", "csv", "paths")
@click.option(
    "-0", "--null", is_flag=True, help="With --format paths: end each path with a NUL byte."
)
@click.option("--report", type=options.PATH, metavar="FILE.html", help="Also write an HTML report.")
@manifest_file.option
@click.option(
    "--force", is_flag=True, help="Let --report or --manifest replace an earlier file of its kind."
)
@options.talk
@click.pass_obj
def query(
    talk: Talk,
    /,
    pictures: tuple[Path, ...],
    databases: tuple[Location, ...],
    form: str,
    null: bool,
    report: Path | None,
    manifest: Path | None,
    force: bool,
    **given: Any,
) -> int:
    """Rank pictures by their distance to a query.

    The query is IMAGE, each picture in DIR, or an indexed picture named by its SHA-256; with --fuse all of them
    together.

    Hits are documented leads for examination, never findings.
    """
    one_list = query_making.one_list(pictures, given)
    if (not pictures and not given["sha256"]) or (pictures and given["sha256"] and not one_list):
        raise click.UsageError("Give either IMAGE (or DIR) or --sha256.")
    if null and form != "paths":
        raise click.UsageError("-0 goes with --format paths.")
    if report and manifest and report.resolve() == manifest.resolve():
        raise click.UsageError(
            "--report and --manifest name one file; the second would replace the first."
        )
    given["include_partial"] = not given.pop("no_partial")
    given["approximate"] |= given["index"] is not None
    given["calibration"] = _calibration(given["calibration"])
    given = beside_options.implied(query_making.made(given))
    renderer, failures = Renderer(form, null=null), 0
    with ExitStack() as stack:
        on_event = stack.enter_context(progress.listener(talk))
        cases = [
            stack.enter_context(Case.open(path, read_only=True, on_event=on_event))
            # None counts twice, nor does one on a server that is named with another password.
            for path in {str(path.resolve()): path for path in databases}.values()
        ]
        sheet = _sheet(report, cases, force=force)
        record = manifest_file.opened(manifest, cases, given, force=force)
        given["with_basis"] = record is not None
        queries = RecordedQueries(cases, {"pictures": pictures, **given})
        for answer in _answers(cases, pictures, given, on_event, one_list=one_list):
            if isinstance(answer, Failure):
                failures += 1
                output.note(f"not searched: {progress.failure_line(answer)}")
                if sheet:
                    sheet.miss(answer)
                continue
            try:
                renderer.show(answer)
            finally:
                # Whoever reads may have seen enough and closed the pipe; what was asked stays on record.
                queries.add(answer)
            if sheet:
                sheet.add(answer)
            if record:
                record.add(answer)
        if sheet:
            output.note(f"report: {sheet.write()}")
        if record:
            output.note(f"manifest: {record.write()}")
    return account.PARTIAL if failures else 0


def _sheet(target: Path | None, cases: Sequence[Case], *, force: bool) -> Sheet | None:
    if target is None:
        return None
    from image_similarity.cli.sheet import Sheet

    return Sheet(target, cases, force=force)


def _calibration(path: Path | None) -> Calibration | None:
    from image_similarity.calibration.files import read_calibration

    return None if path is None else read_calibration(path)


def _answers(
    cases: list[Any],
    pictures: Sequence[Path],
    given: dict[str, Any],
    on_event: Listener,
    *,
    one_list: bool,
) -> Iterator[SearchResult | Failure]:
    from image_similarity.search import SearchRequest

    against = given.pop("against")
    if one_list:
        request = SearchRequest(**given)
        yield from query_making.fused(cases, pictures, request, against)
        return
    picture = pictures[0] if pictures else None
    request = SearchRequest(query=picture, **given)
    if picture is not None and picture.is_dir():
        yield from search_cases_folder(cases, picture, request, on_event=on_event)
    else:
        yield search_cases(cases, request, on_event=on_event)
