"""The options of `train` that are settings of its recipe."""

from __future__ import annotations

import click

from image_similarity.cli import options
from image_similarity.training.recipe import LOSSES, Recipe

DEFAULT = Recipe()


# A decorator; its options are named as the recipe's attributes.
recipe_options = options.together(
    click.option(
        "--groups",
        type=options.PATH,
        metavar="CSV",
        help="Groups from a file with the columns path and group, not from the first folders in DIR.",
    ),
    click.option(
        "--unlabelled",
        is_flag=True,
        help="No groups: learn to find edited copies of each picture.",
    ),
    click.option(
        "--head",
        type=int,
        metavar="N",
        help="Keep the model as it is and train only a linear map to N numbers; fast.",
    ),
    click.option(
        "--classes",
        is_flag=True,
        help="Also learn the groups as classes; `predict` names them for new pictures.",
    ),
    click.option("--from-scratch", is_flag=True, help="The model's network, from random weights."),
    click.option(
        "--loss",
        type=click.Choice(LOSSES),
        default=DEFAULT.loss,
        show_default=True,
        help="What is minimised; the last four need the extra train.",
    ),
    click.option(
        "--margin",
        type=float,
        metavar="X",
        default=DEFAULT.margin,
        show_default=True,
        help="Of the first three losses, between squared distances.",
    ),
    click.option(
        "--epochs",
        type=int,
        metavar="N",
        default=DEFAULT.epochs,
        show_default=True,
        help="Rounds over the pictures.",
    ),
    click.option(
        "--batch-size",
        type=int,
        metavar="N",
        default=DEFAULT.batch_size,
        show_default=True,
        help="Pictures in a batch.",
    ),
    click.option(
        "--pictures-per-group",
        type=int,
        metavar="N",
        default=DEFAULT.pictures_per_group,
        show_default=True,
        help="How many pictures of a batch come from one group.",
    ),
    click.option(
        "--learning-rate",
        type=float,
        metavar="X",
        help="The highest.  [default: 0.001 for a head or from scratch, else 0.0001]",
    ),
    click.option(
        "--size",
        type=int,
        metavar="N",
        help="Side of the pictures.  [default: the model's]",
    ),
    click.option(
        "--seed",
        type=int,
        metavar="N",
        default=DEFAULT.seed,
        show_default=True,
        help="Of everything that is drawn.",
    ),
    click.option(
        "--distil-from",
        "teacher",
        metavar="MODEL",
        type=options.ModelName(),
        help="Also learn which pictures this model finds alike.",
    ),
    click.option(
        "--distil-weight",
        "teacher_weight",
        type=float,
        metavar="X",
        default=DEFAULT.teacher_weight,
        show_default=True,
        help="Of what is learned from that model.",
    ),
    click.option(
        "--validation-share",
        type=float,
        metavar="X",
        default=DEFAULT.validation_share,
        show_default=True,
        help="Share of the groups that is never trained on.",
    ),
    click.option(
        "--near-duplicate",
        type=float,
        metavar="X",
        default=DEFAULT.near_duplicate,
        show_default=True,
        help="Leave out validation pictures with this cosine to one that is trained on.",
    ),
    click.option(
        "--licence", default="", metavar="TEXT", help="The model's licence, for its card."
    ),
)
