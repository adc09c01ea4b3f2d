"""The options that say what models are measured on, the same for `evaluate` and `compare`."""

from __future__ import annotations

import click

from image_similarity.cli import options

# A decorator; its options are named as the request's attributes.
task_options = options.together(
    click.option(
        "--edits",
        multiple=True,
        metavar="easy|hard|NAME",
        help="Look for copies edited so; may be repeated.",
    ),
    click.option(
        "--gallery",
        type=options.PATH,
        metavar="DIR|LIST",
        help="Hide the copies' originals among these pictures, too.",
    ),
    click.option(
        "--unmatched",
        type=int,
        metavar="N",
        help="Originals kept out of the gallery, so that their copies have no match.  [default: a third]",
    ),
    click.option(
        "--pairs",
        type=options.PATH,
        metavar="FILE.csv",
        help="Columns a,b,same or query,positive,negative.",
    ),
    click.option(
        "--class-names",
        type=options.PATH,
        metavar="FILE",
        help="Lines of a name and a number, for lists whose classes are numbers.",
    ),
    click.option(
        "--background",
        type=options.PATH,
        metavar="DIR|LIST",
        help="Centre TorchScript models on the mean of these pictures.",
    ),
    click.option(
        "--root",
        type=options.PATH,
        metavar="DIR",
        help="Where paths in lists and CSV files begin.  [default: the file's folder]",
    ),
    click.option(
        "--reduce",
        type=int,
        metavar="N",
        help="First reduce pictures to a shorter side of N pixels.  [default: 512 with --edits, else not]",
    ),
    click.option(
        "--sample",
        type=int,
        metavar="N",
        help="Take only N of the pictures, drawn with the seed.",
    ),
    click.option(
        "--seed",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help="Of everything that is drawn.",
    ),
    click.option(
        "--resamples",
        type=int,
        default=1000,
        show_default=True,
        metavar="N",
        help="Of the queries, for the intervals.",
    ),
    options.device,
)
