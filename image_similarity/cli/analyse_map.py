"""`analyse map`: all pictures of a database on one map, as a picture or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_similarity.case import Case
from image_similarity.cli import options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.values import Location


@click.command("map", context_settings=options.CONTEXT)
@options.together(
    options.database,
    options.model(),
    click.option(
        "-o", "--output", "path", type=options.PATH, required=True, metavar="FILE.png|FILE.html",
        help="A picture, or a page to move about in.",
    ),
    click.option(
        "--layout", type=options.PATH, metavar="FILE.csv",
        help="Keep the positions there, or draw from them if it exists.",
    ),
    click.option(
        "--perplexity", type=float, metavar="X",
        help="About how many neighbours count as near.  [default: 30]",
    ),
    click.option(
        "--seed", type=int, metavar="N", help="Of all that is drawn at random.  [default: 1]"
    ),
    click.option(
        "--tile", type=int, metavar="PX",
        help="The longest side of thumbnails.  [default: 64, on a page 96, or what fits]",
    ),
    click.option(
        "--source", "sources", multiple=True, metavar="NAME",
        help="Pictures of this source; may be repeated.",
    ),
    click.option(
        "--under", metavar="PREFIX", help="Pictures below this path, relative to their source."
    ),
    click.option("--reveal", is_flag=True, help="Show pictures as they are, not blurred and grey."),
    click.option("--force", is_flag=True, help="Replace an earlier map of this kind."),
    options.output_format("table", "json"),
    options.talk,
)  # fmt: skip
@click.pass_obj
def map(talk: Talk, /, database: Location, path: Path, form: str, force: bool, **given: Any) -> int:
    """Lay all pictures out so that similar ones lie together (t-SNE).

    FILE.png holds every picture as a thumbnail in a place of its own, FILE.html a page to zoom, search by eye, and
    select from. Minutes for thousands of pictures. Needs the extra analysis.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.map(path, overwrite=force, on_event=on_event, **given)
    for note in found.notes:
        output.note(note)
    if form == "json":
        output.emit(found)
        return 0
    others = found.pictures - found.mapped
    pairs = [
        ("map", f"{found.path} ({output.size(found.size_bytes)})"),
        ("model", f"{found.model} ({found.fingerprint[:12]})"),
        (
            "pictures",
            f"{found.pictures} in {found.columns} x {found.rows} cells of {found.tile} px",
        ),
        ("positions", f"t-SNE, perplexity {found.fitted:g}, seed {found.seed}"),
    ]
    if found.layout:
        pairs.append(("layout", f"{found.layout}, {'written' if found.computed else 'read'}"))
    if others:
        pairs.append(("sample", f"{found.mapped} mapped, {others} placed by their nearest in it"))
    output.pairs(pairs)
    if found.unseen:
        output.note(f"{output.count(found.unseen, 'picture')} could not be shown: gone or changed")
    if found.missing:
        output.note(
            f"{output.count(found.missing, 'picture')} of the database not on the map: the layout does not know them"
        )
    return 0
