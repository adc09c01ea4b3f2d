"""What a query is made of, and how strong its hits are: part of a picture, several pictures, a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_similarity.case import Case, search_cases_fused
from image_similarity.cli import options
from image_similarity.pictures.region import Region, read_box
from image_similarity.values import Failure, SearchResult

if TYPE_CHECKING:
    from image_similarity.search import SearchRequest

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
        "--fuse",
        is_flag=True,
        help="One list for several query pictures, by reciprocal rank fusion.",
    ),
    click.option(
        "--not",
        "against",
        multiple=True,
        type=options.PATH,
        metavar="IMAGE",
        help="Leave out what is nearer to this picture than to every query; may be repeated.",
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


def one_list(pictures: Sequence[Path], given: dict[str, Any]) -> bool:
    """Return whether all queries give one list together; takes the options that say so out of `given`.

    Raises:
        click.UsageError: There are several pictures, and it was not said what to do with them.
    """
    fuse, against = given.pop("fuse"), given["against"]
    several = len(pictures) > 1 or any(picture.is_dir() for picture in pictures)
    if len(pictures) > 1 and not fuse:
        raise click.UsageError("Several pictures: --fuse makes one list of them, DIR a list each.")
    if against and several and not fuse:
        raise click.UsageError("--not goes with one IMAGE, or with --fuse.")
    return fuse or bool(against)


def fused(
    cases: Sequence[Case], pictures: Sequence[Path], request: SearchRequest, against: Sequence[Path]
) -> Iterator[SearchResult | Failure]:
    """Give the one list of all queries, and the pictures of folders that could not be read."""
    result, failures = search_cases_fused(cases, pictures, request, against=against)
    yield result
    yield from failures


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
