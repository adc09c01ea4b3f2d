"""`report sheet`: contact sheets to look at, each of a query and its nearest pictures, as PNG or PDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_similarity.case import Case
from image_similarity.cli import options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.values import Location, Selection

if TYPE_CHECKING:
    from image_similarity.reports.tiles import Look

_choice = options.together(
    click.option("--all", "all_", is_flag=True, help="A sheet for every picture of the database."),
    click.option(
        "--tag", "tags", multiple=True, metavar="NAME",
        help="For pictures with this tag; may be repeated.",
    ),
    click.option(
        "--source", "sources", multiple=True, metavar="NAME",
        help="For pictures of this source; may be repeated.",
    ),
    click.option(
        "--under", metavar="PREFIX",
        help="For pictures below this path, relative to their source.",
    ),
    click.option(
        "--scene-is", "scenes", multiple=True, metavar="NAME",
        help="For pictures that most probably show this scene; may be repeated.",
    ),
    click.option(
        "--sha256", "sha256s", multiple=True, metavar="HEX",
        help="For this picture; 6 or more digits; may be repeated.",
    ),
)  # fmt: skip

_looks = options.together(
    click.option(
        "--blur", "look", flag_value="blur", default="blur", help="Blur the pictures; the default."
    ),
    click.option("--grey", "look", flag_value="grey", help="Show them sharp, without colours."),
    click.option("--reveal", "look", flag_value="reveal", help="Show them as they are."),
)


@click.command(context_settings=options.CONTEXT)
@click.argument("pictures", metavar="[IMAGE]...", nargs=-1, type=options.PATH)
@options.database
@click.option(
    "-o",
    "--output",
    "target",
    type=options.PATH,
    required=True,
    metavar="OUT",
    help="OUT.png for one query, OUT.pdf, or a folder; never below an indexed folder.",
)
@options.model()
@_choice
@click.option(
    "-k", "k", type=int, default=10, show_default=True, metavar="N", help="Hits for each query."
)
@click.option(
    "--scene",
    "scene",
    multiple=True,
    default=("auto",),
    metavar="auto|hard|off|NAME",
    help="What is searched, as in `query`; may be repeated.  [default: auto]",
)
@click.option(
    "--columns", type=int, default=5, show_default=True, metavar="N", help="Tiles side by side."
)
@click.option(
    "--tile", type=int, default=200, show_default=True, metavar="PX", help="The side of a tile."
)
@_looks
@click.option("--force", is_flag=True, help="Replace earlier sheets.")
@options.talk
@click.pass_obj
def sheet(
    talk: Talk,
    /,
    pictures: tuple[Path, ...],
    database: Location,
    target: Path,
    model: str | None,
    all_: bool,
    k: int,
    scene: tuple[str, ...],
    columns: int,
    tile: int,
    look: Look,
    force: bool,
    **choice: tuple[str, ...] | str | None,
) -> int:
    """Write contact sheets: a query and its nearest pictures.

    The queries are pictures on disk, or indexed ones that are chosen; the hits are of the whole database. Hits are
    documented leads for examination, never findings.
    """  # fmt: skip
    chosen = Selection(**choice)  # type: ignore[arg-type]
    if all_ and chosen != Selection():
        raise click.UsageError("--all leaves nothing to choose.")
    if not (pictures or all_ or chosen != Selection()):
        raise click.UsageError("Give IMAGE, a choice such as --source or --sha256, or --all.")
    with (
        Stop(as_json=talk.progress == "json") as stop,
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        written = case.sheet(
            target, pictures, chosen=chosen if all_ or chosen != Selection() else None,
            model=model, k=k, scene=scene, columns=columns, tile=tile, look=look,
            overwrite=force, on_event=on_event, stop=stop,
        )  # fmt: skip
    for text in written.notes:
        output.note(text)
    if written.paths:
        output.note(f"{output.count(written.pictures, 'sheet')}, pictures {_LOOKS[look]}")
    for each in written.paths:
        output.line(each)
    return stop.exit_code if stop() and written.pictures < written.chosen else 0


_LOOKS = {"blur": "blurred", "grey": "without colours", "reveal": "revealed"}
