"""All pictures of the case, page by page, and how many there are of what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from image_similarity.errors import InvalidSetting
from image_similarity.reports.text import visible
from image_similarity.values import Choice, Counted, Facets, Listed
from image_similarity.web.api.shapes import Page, Picture, Scene
from image_similarity.web.desk import Desk, TheDesk
from image_similarity.web.problems import Refused

router = APIRouter(tags=["library"])

_Name = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\u0000]*$")]
_Names = Annotated[list[_Name], Field(max_length=100)]
_Taken = Annotated[str, StringConstraints(pattern="^([0-9]{4}(-[0-9]{2})?|undated)$")]
_Day = Annotated[str, StringConstraints(pattern="^([0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?)?$")]


class Filters(BaseModel):
    """Which pictures are meant; a filter that there is not is refused, as a slip of the hand would show all."""

    model_config = ConfigDict(extra="forbid")

    scene: _Names = Field([], description="Most probable scenes.")
    source: _Names = Field([], description="Sources, as they are shown.")
    tag: _Names = Field([], description="Tags that stand.")
    hash_list: _Names = Field([], description="Hash lists that hold the picture.")
    category: _Names = Field([], description="Categories that stand.")
    taken: list[_Taken] = Field([], max_length=100, description='Years, months, or "undated".')
    taken_from: _Day = Field("", description="A year, month or day.")
    taken_to: _Day = Field("", description="Included.")
    under: str = Field(
        "", max_length=4096, pattern=r"^[^\u0000]*$", description="A folder of a source."
    )
    known: Literal["any", "hide", "only"] = Field("any", description="Files of hash lists.")
    gone: bool = Field(False, description="Also what lies nowhere any more.")


class Asked(Filters):
    """Which pictures are meant, in what order, and which page."""

    order: Literal["path", "taken", "added"] = Field(
        "path", description="By place; by when they were taken; or the last indexed first."
    )
    limit: int = Field(100, ge=1, le=500, description="Of one page.")
    cursor: str = Field(
        "",
        pattern="^((path|taken|added)-[0-9]{1,18}-[0-9]{1,18})?$",
        description="`next` of the page before; empty for the first.",
    )


class ListedPicture(Picture):
    """A content of the library, at the first of its places that meet the filters."""

    taken: str = Field(description="When, by the camera's clock; empty where it tells nothing.")
    verdicts: list[str] = Field(description="What was said of it as a hit of any query.")


class Count(BaseModel):
    """A name with the number of pictures that have it."""

    name: str
    count: int


class Counts(BaseModel):
    """How many pictures that meet the filters have what; a facet's own choice does not narrow its counts."""

    total: int
    scene: list[Count] = Field(description="Most probable scenes.")
    source: list[Count]
    tag: list[Count]
    hash_list: list[Count]
    category: list[Count]
    taken: list[Count] = Field(description='Months, or years where these are many; "undated" last.')


def _choice(desk: Desk, asked: Filters) -> Choice:
    meant = _Meant(desk, [*asked.source, *asked.tag, *asked.hash_list, *asked.category])
    return Choice(
        scenes=tuple(asked.scene),
        sources=meant.of("sources", asked.source),
        under=asked.under or None,
        tags=meant.of("tags", asked.tag),
        lists=meant.of("lists", asked.hash_list),
        categories=meant.of("categories", asked.category),
        taken=tuple(asked.taken),
        taken_from=asked.taken_from or None,
        taken_to=asked.taken_to or None,
        known=asked.known,
        include_gone=asked.gone,
    )


class _Meant:
    """Which names are meant by those that were shown: a character that could deceive is shown as an escape."""

    def __init__(self, desk: Desk, wanted: Sequence[str]) -> None:
        escaped = any("\\" in each for each in wanted)
        self._all = desk.case.facets(Choice(include_gone=True)) if escaped else None

    def of(self, facet: str, names: Sequence[str]) -> tuple[str, ...]:
        held: Sequence[Counted] = getattr(self._all, facet) if self._all else ()
        shown = {visible(each.name): each.name for each in held}
        return tuple(shown.get(name, name) for name in names)


@router.get("/pictures", responses={404: {}})
def pictures(desk: TheDesk, asked: Annotated[Asked, Query()]) -> Page[ListedPicture]:
    """Pictures that meet every filter; of several values of one filter any suffices.

    Pages go on where they stopped while the case grows.
    """
    choice, after = _choice(desk, asked), asked.cursor or None
    try:
        found = desk.case.browse(choice, order=asked.order, after=after, limit=asked.limit)
    except InvalidSetting as error:
        if after is None:
            raise
        raise Refused(422, "bad_cursor", "the list has no such place", "begin anew") from error
    return Page(
        items=[_shape(each) for each in found.items], next=found.following, total=found.total
    )


@router.get("/facets", responses={404: {}})
def facets(desk: TheDesk, asked: Annotated[Filters, Query()]) -> Counts:
    """How many pictures that meet the filters have which scene, source, tag, hash list, category and date."""
    found: Facets = desk.case.facets(_choice(desk, asked))
    return Counts(
        total=found.total,
        scene=_counts(found.scenes),
        source=_counts(found.sources),
        tag=_counts(found.tags),
        hash_list=_counts(found.lists),
        category=_counts(found.categories),
        taken=_counts(found.taken),
    )


def _counts(found: Sequence[Counted]) -> list[Count]:
    return [Count(name=visible(each.name), count=each.count) for each in found]


def _shape(each: Listed) -> ListedPicture:
    scene = each.scene
    return ListedPicture(
        sha256=each.sha256,
        width=each.width,
        height=each.height,
        place=visible(f"{each.source}:{each.path}"),
        places=each.places,
        gone=each.gone,
        partial=each.partial,
        scene=None
        if scene is None
        else Scene(name=visible(scene.name), probability=scene.probability),
        tags=[visible(tag) for tag in each.tags],
        category=visible(each.category),
        known=[visible(name) for name in each.known],
        taken=visible(each.taken.replace("T", " ")),
        verdicts=[visible(verdict) for verdict in each.verdicts],
    )
