"""What `query` can add beside the ranking by distance: near duplicates, and a geometric check."""

from __future__ import annotations

from typing import Any

import click

from image_similarity.cli import options

orientations = click.option(
    "--orientations",
    "turned",
    is_flag=True,
    help="Near duplicates also where they are turned or mirrored; implies --near.",
)

beside = options.together(
    click.option(
        "--near",
        is_flag=True,
        help="Also the near duplicates of the query by PDQ, whatever their scene.",
    ),
    orientations,
    click.option(
        "--verify",
        is_flag=True,
        help="Count the local features of query and hit that one geometry explains; needs the extra match.",
    ),
    click.option(
        "--by-inliers",
        is_flag=True,
        help="Check the nearest 200 and show those with most inliers first; implies --verify.",
    ),
    click.option(
        "--candidates",
        type=int,
        metavar="N",
        help="How many of the nearest are checked.  [default: 200]",
    ),
)


def implied(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a query as a search takes them, with what some of these imply."""
    candidates = given.pop("candidates")
    verify = given["verify"] or given["by_inliers"]
    if candidates is not None and not verify:
        raise click.UsageError("--candidates goes with --verify or --by-inliers.")
    return {
        **given,
        **({} if candidates is None else {"candidates": candidates}),
        "near": given["near"] or given["turned"],
        "verify": verify,
    }
