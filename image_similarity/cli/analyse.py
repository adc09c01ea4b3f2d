"""`analyse`: what is made of a database as a whole."""

from __future__ import annotations

import click

from image_similarity.cli import options
from image_similarity.cli.lazy_group import LazyGroup


@click.group(
    cls=LazyGroup,
    homes={
        "ann": "image_similarity.cli.analyse_ann",
        "neighbours": "image_similarity.cli.analyse_neighbours",
        "codebook": "image_similarity.cli.analyse_codebook",
        "derive": "image_similarity.cli.analyse_derive",
        "reduce": "image_similarity.cli.analyse_reduce",
        "map": "image_similarity.cli.analyse_map",
    },
    context_settings=options.CONTEXT,
)
def analyse() -> None:
    """Build what needs all vectors of a database."""
