"""What `query` does with pictures of hash lists, with what examiners said, and with dates."""

from __future__ import annotations

import click

from image_similarity.cli import options

known = options.together(
    click.option(
        "--known",
        type=click.Choice(["mark", "hide", "only"]),
        default="mark",
        show_default=True,
        help="Pictures of hash lists: name the lists beside them, leave them out, or search only them.",
    ),
    click.option(
        "--include-irrelevant",
        is_flag=True,
        help="Also hits that were judged irrelevant for this query.",
    ),
    click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="NAME",
        help="Only pictures with this tag; may be repeated.",
    ),
    click.option(
        "--taken-from",
        metavar="DATE",
        help="Only pictures taken then or later, by EXIF: YYYY, YYYY-MM or YYYY-MM-DD.",
    ),
    click.option(
        "--taken-to",
        metavar="DATE",
        help="Only pictures taken then or earlier, by EXIF.",
    ),
)
