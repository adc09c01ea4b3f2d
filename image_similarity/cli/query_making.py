"""What a query is made of, and how strong its hits are: part of a picture, a limit on false hits."""

from __future__ import annotations

from typing import Any

import click

from image_similarity.cli import options
from image_similarity.pictures.region import Region, read_box

query_making = options.together(
    click.option(
        "--crop",
        metavar="X,Y,W,H",
        help="Only this part of IMAGE, in pixels of the upright picture or as 10%,20%,30%,40%.",
    ),
    click.option(
        "--mask",
        type=options.PATH,
        metavar="FILE",
        help="Hide what is black in this picture of the same shape.",
    ),
    click.option(
        "--mask-box",
        "mask_boxes",
        multiple=True,
        metavar="X,Y,W,H",
        help="Hide this part, a person say; may be repeated.",
    ),
    click.option(
        "--strength", is_flag=True, help="Say how many unrelated pictures are expected as close."
    ),
    click.option(
        "--max-expected-false",
        type=float,
        metavar="Y",
        help="Only hits where at most this many are expected; implies --strength.",
    ),
)


def made(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a query with those of `query_making` as a search takes them.

    Raises:
        InvalidSetting: A box is none.
    """
    rest = dict(given)
    rest["strength"] |= rest["max_expected_false"] is not None
    crop, mask, boxes = rest.pop("crop"), rest.pop("mask"), rest.pop("mask_boxes")
    if crop or mask or boxes:
        rest["region"] = Region(
            None if crop is None else read_box(crop), tuple(map(read_box, boxes)), mask
        )
    return rest
