"""The options of every `report` command: the database, the file, and what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_similarity.cli import options


def what_and_where(command: Any) -> Any:
    """Add the options of every report: the database, the file, and what is in it."""
    return options.together(
        options.database,
        click.option(
            "-o", "--output", "path", type=options.PATH, required=True, metavar="FILE",
            help="The file; never below an indexed folder.",
        ),
        click.option(
            "--hits", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE|-",
            help="The hits that `query --format json` wrote.",
        ),
        click.option(
            "--tag", "tags", multiple=True, metavar="NAME",
            help="Pictures with this tag; may be repeated.",
        ),
        click.option(
            "--source", "sources", multiple=True, metavar="NAME",
            help="Pictures of this source; may be repeated.",
        ),
        click.option(
            "--under", metavar="PREFIX",
            help="Pictures below this path, relative to their source.",
        ),
        click.option(
            "--scene", "scenes", multiple=True, metavar="NAME",
            help="Pictures that most probably show this scene; may be repeated.",
        ),
        click.option(
            "--sha256", "sha256s", multiple=True, metavar="HEX",
            help="This picture; 6 or more digits; may be repeated.",
        ),
        click.option(
            "--include-gone", is_flag=True, help="Also places where the picture is no longer."
        ),
        click.option("--force", is_flag=True, help="Replace an earlier report of this kind."),
        options.talk,
    )(command)  # fmt: skip
