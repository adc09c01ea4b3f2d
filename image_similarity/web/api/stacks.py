"""Stacks of duplicates: one content at several places, and contents that look nearly the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from image_similarity.case import Case
from image_similarity.reports.text import visible
from image_similarity.web.api.jobs import source_names
from image_similarity.web.api.paging import cut
from image_similarity.web.api.shapes import (
    Cursor,
    Limit,
    Page,
    Picture,
    PlaceShape,
    picture_shape,
    place_shape,
)
from image_similarity.web.desk import TheDesk
from image_similarity.web.problems import Refused
from image_similarity.web.stacks import KeptStack, Member

router = APIRouter(tags=["pictures"])

# Of one picture, in a list of stacks; the record of the picture has all.
_PLACES_SHOWN = 100


class Copy(Picture):
    """A picture in a stack."""

    size: int = Field(description="In bytes.")
    distance: int | None = Field(description="To the first of a near stack, in bits of PDQ.")
    orientation: str = Field(description="How it is turned to the first.")
    live: int = Field(description="Places where it still lies.")
    found_at: list[PlaceShape] = Field(description="Where it lies, 100 places at most.")


class StackShape(BaseModel):
    """Pictures that are copies; the first has the most pixels."""

    kind: Literal["identical", "near"]
    spread: int = Field(description="The greatest distance between two of them, in bits of PDQ.")
    sources: list[str]
    sha256s: list[str] = Field(description="Of all pictures in it.")
    pictures: list[Copy] = Field(description="The first of them, `members` at most.")


class StacksShape(Page[StackShape]):
    """Stacks: identical files first, then near duplicates."""

    identical: int = Field(description="Stacks of identical files, of those that were asked for.")
    near: int = Field(description="Stacks of near duplicates, of those that were asked for.")
    pictures: int = Field(description="That were looked at.")
    hashed: int = Field(description="Pictures that have a PDQ hash; only these can be near.")
    poor: int = Field(description="Of these, with too little structure to be compared.")
    limit: int = Field(description="Near ones differ in at most so many bits.")
    current: bool = Field(description="False if files were taken in or went since.")


@router.get("/stacks")
def stacks(
    desk: TheDesk,
    near: Annotated[bool, Query(description="Also near duplicates.")] = False,
    turned: Annotated[bool, Query(description="Also turned or mirrored ones.")] = False,
    source: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=4096)]],
        Query(max_length=20, description="Only stacks with a picture in one of these."),
    ] = [],  # noqa: B006 - FastAPI copies it
    across: Annotated[
        bool, Query(description="Only stacks that lie in two sources or more.")
    ] = False,
    members: Annotated[int, Query(ge=1, le=200, description="Pictures shown of each.")] = 24,
    cursor: Cursor = "",
    limit: Limit = 20,
) -> StacksShape:
    """Which pictures are copies of each other; of many pictures, near ones are found by a job first: 409 until then."""
    found, is_current = desk.stacks.get(desk.case, near=near or turned, turned=turned)
    if found is None:
        raise Refused(
            409,
            "stacks_not_ready",
            "near duplicates have not been looked for yet",
            "POST /jobs with the kind stacks",
        )
    names = set(source_names(desk.case, source))
    chosen = [
        stack
        for stack in found.stacks
        if (not names or names & stack.sources) and (not across or len(stack.sources) > 1)
    ]
    page, following = cut(chosen, _name, cursor, limit)
    identical = sum(stack.kind == "identical" for stack in chosen)
    return StacksShape(
        items=[_stack_shape(desk.case, each, members) for each in page],
        next=following,
        total=len(chosen),
        identical=identical,
        near=len(chosen) - identical,
        pictures=found.pictures,
        hashed=found.hashed,
        poor=found.poor,
        limit=found.limit,
        current=is_current,
    )


def _stack_shape(case: Case, stack: KeptStack, members: int) -> StackShape:
    return StackShape(
        kind="identical" if stack.kind == "identical" else "near",
        spread=stack.spread,
        sources=sorted(visible(each) for each in stack.sources),
        sha256s=[each.sha256 for each in stack.members],
        pictures=_copies(case, stack.members[:members]),
    )


def _copies(case: Case, members: Sequence[Member]) -> list[Copy]:
    found = []
    for member in members:
        image = case.image(member.sha256)
        live = [place for place in image.places if place.gone_since is None]
        found.append(
            Copy(
                **picture_shape(image).model_dump(),
                size=image.size,
                distance=member.distance,
                orientation=member.orientation,
                live=len(live),
                found_at=[place_shape(each) for each in live[:_PLACES_SHOWN]],
            )
        )
    return found


def _name(stack: KeptStack) -> str:
    return f"{stack.kind} {stack.members[0].sha256}"
