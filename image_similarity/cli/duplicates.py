"""`duplicates`: which pictures of a database are copies of each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from image_similarity.case import Case
from image_similarity.cli import beside_options, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.pictures.names import on_disk
from image_similarity.reports import beside, rows
from image_similarity.reports.rows import Row
from image_similarity.values import Duplicates, Location, Stack

COLUMNS = (
    "stack", "kind", "pictures", "spread", "sha256", "width", "height", "size", "pdq_distance", "pdq_quality",
    "pdq_orientation", "path", "relative_path", "source",
)  # fmt: skip


@click.command(context_settings=options.CONTEXT)
@options.database
@click.option("--near", is_flag=True, help="Also near duplicates by PDQ, not only identical files.")
@beside_options.orientations
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="Only this source; may be repeated."
)
@options.output_format("table", "json", "csv")
@options.talk
@click.pass_obj
def duplicates(
    talk: Talk,
    /,
    database: Location,
    near: bool,
    turned: bool,
    sources: tuple[str, ...],
    form: str,
) -> None:
    """List the pictures that are copies of each other, in stacks.

    First one content at several places, then, with --near, contents that look nearly the same, each with every place.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.duplicates(
            near=near or turned, turned=turned, sources=sources, on_event=on_event
        )
    if form == "table":
        _print(found)
    elif form == "json":
        rows.write_jsonl(_rows(found), sys.stdout)
    else:
        rows.write_csv(_rows(found), sys.stdout, COLUMNS)
    said = [_count(found), beside.duplicates_text(found)]
    for text in said:
        (output.line if form == "table" else output.note)(text)


def _count(found: Duplicates) -> str:
    near = sum(stack.kind == "near" for stack in found.stacks)
    identical = len(found.stacks) - near
    return (
        f"{output.count(identical, 'stack')} of identical files, {near} of near duplicates, "
        f"among {output.count(found.pictures, 'picture')}"
    )


def _print(found: Duplicates) -> None:
    for number, stack in enumerate(found.stacks, start=1):
        output.line(f"stack {number}: {_kind(stack)}", bold=True)
        for member in stack.members:
            image = member.image
            size = f"{image.width} x {image.height}, {output.size(image.size)}"
            apart = ""
            if member.distance is not None and member is not stack.members[0]:
                turned = "" if member.orientation == "as it is" else f", {member.orientation}"
                apart = f", {output.count(member.distance, 'bit')} apart{turned}"
            output.line(f"  {image.sha256[:12]}  {size}{apart}")
            for place in image.places:
                output.line(f"    {place.source}:{place.path}")


def _kind(stack: Stack) -> str:
    if stack.kind == "identical":
        return f"identical at {output.count(len(stack.members[0].image.places), 'place')}"
    return (
        f"{len(stack.members)} near duplicates, at most {output.count(stack.spread, 'bit')} apart"
    )


def _rows(found: Duplicates) -> Iterator[Row]:
    """One row a place."""
    for number, stack in enumerate(found.stacks, start=1):
        for member in stack.members:
            for place in member.image.places:
                values = (
                    number, stack.kind, len(stack.members), stack.spread, member.image.sha256, member.image.width,
                    member.image.height, member.image.size, member.distance, member.quality,
                    member.orientation or None, on_disk(place), place.path, place.source,
                )  # fmt: skip
                yield dict(zip(COLUMNS, values, strict=True))
