"""`index`, which is also `generate_embeddings`: take the pictures of a folder into a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_similarity.case import Case, check_folder, check_options, is_there
from image_similarity.cli import account, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.settings import BUILTIN, MAX_MEGAPIXELS, IndexOptions
from image_similarity.values import Location

scenes_and_weights = options.together(
    click.option(
        "--scenes",
        metavar="MODEL|none",
        default=BUILTIN,
        show_default=True,
        help="The model that labels scenes, or none.",
    ),
    click.option(
        "--weights",
        type=options.PATH,
        metavar="FILE",
        help="A weights file for the one model named.",
    ),
)

left_out = options.together(
    click.option(
        "--exclude", multiple=True, metavar="GLOB", help="Leave out what matches; may be repeated."
    ),
    click.option(
        "--max-megapixels",
        type=float,
        metavar="N",
        default=MAX_MEGAPIXELS,
        show_default=True,
        help="Larger pictures are recorded as failures.",
    ),
)


@click.command(context_settings=options.CONTEXT)
@options.model(multiple=True)
@options.evidence("The folder of pictures, or one picture; only ever read.")
@options.created_database
@scenes_and_weights
@options.pdq
@options.thumbnails
@options.machine
@left_out
@click.option("--no-upgrade", is_flag=True, help="Refuse a database of an earlier version.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def index(
    talk: Talk, /, folder: Path, database: Location, source: str | None, form: str, **given: Any
) -> int:
    """Take the pictures of a folder into a database.

    A second run reads only what is new or changed. Stopped with Ctrl-C it finishes its batch; the next run goes on
    from there.
    """
    upgrade = False if given.pop("no_upgrade") else None
    chosen = options_of(**given)
    # Before the database is opened, which creates it.
    check_folder(folder, database)
    if not is_there(database):
        check_options(chosen)
    with (
        Stop(as_json=talk.progress == "json") as stop,
        progress.listener(talk) as on_event,
        Case.open(database, upgrade=upgrade, on_event=on_event) as case,
    ):
        report = case.index(folder, options=chosen, source=source, on_event=on_event, stop=stop)
    if form == "json":
        output.emit(report)
    else:
        account.print_account(report, database)
    return account.exit_code([report], stop.exit_code)


def options_of(
    models: tuple[str, ...], scenes: str, exclude: tuple[str, ...], **given: Any
) -> IndexOptions:
    """Give the settings of a run from what its command was told."""
    return IndexOptions(
        models=models or (BUILTIN,),
        scenes=None if scenes == "none" else scenes,
        exclude=tuple(exclude),
        **given,
    )
