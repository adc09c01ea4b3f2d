"""From query pictures to ranked hits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from image_similarity.values import SearchResult
from image_similarity.web.answers import Answer, id_of
from image_similarity.web.api.hit_shapes import AnswerShape, HitShape, answer_shape, hit_page
from image_similarity.web.api.jobs import source_names
from image_similarity.web.api.shapes import HEX, Cursor, Limit, Page
from image_similarity.web.asking import Question, ask
from image_similarity.web.desk import Desk, TheDesk
from image_similarity.web.problems import Refused
from image_similarity.web.session import TheSession
from image_similarity.web.sessions import Session

router = APIRouter(tags=["search"])

# Of the hits that come with the answer itself.
FIRST_PAGE = 100
# No control characters: no name or path as it is shown has any.
_TEXT = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_TEXT)]
SourceName = Annotated[str, Field(min_length=1, max_length=4096, pattern=_TEXT)]
Box = Annotated[str, Field(max_length=60, pattern=_TEXT)]
Date = Annotated[str, Field(pattern=r"^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$")]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Of the answer.")]


def _only(given: str, absent: str) -> dict[str, Any]:
    """How the document says that one of two fields is given."""
    properties = {given: {"type": "string"}, absent: {"type": "null"}}
    return {"required": [given], "properties": properties}


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class QueryPicture(BaseModel):
    """A picture to search with: one of the case, or one that was sent to /uploads."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"oneOf": [_only("sha256", "upload"), _only("upload", "sha256")]},
    )

    sha256: Annotated[str, Field(pattern=HEX)] | None = None
    upload: Annotated[str, Field(pattern=HEX)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.sha256 is None) == (self.upload is None):
            raise ValueError("give either sha256 or upload")
        return self


class SearchQuestion(BaseModel):
    """What is asked. What is left out filters nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    queries: list[QueryPicture] = Field(
        min_length=1, max_length=20, description="Several are answered by one list."
    )
    against: list[QueryPicture] = Field(
        [], max_length=20, description="Nothing that is nearer to one of these than to every query."
    )
    crop: Box | None = Field(
        None,
        description='Search with this part of the one query: "10%,20%,30%,40%", left, top, width, height.',
    )
    hidden: list[Box] = Field([], max_length=20, description="Hide these parts of the one query.")
    model: Annotated[str, Field(max_length=200, pattern=_TEXT)] = Field(
        "", description="A name or a fingerprint; needed where the case has vectors of several."
    )
    # To JSON 5.0 is a whole number, too.
    k: Annotated[int, Field(ge=1, le=1000), BeforeValidator(_whole)] = 100
    max_distance: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    scene: list[Name] = Field(
        ["auto"],
        min_length=1,
        max_length=400,
        description='"auto", the scenes that the query likely shows; "off", all; or names. "auto" takes further names.',
    )
    sources: list[SourceName] = Field([], max_length=100)
    under: Annotated[str, Field(max_length=4096, pattern=_TEXT)] = Field(
        "", description="Only below this folder of a source."
    )
    tags: list[Name] = Field([], max_length=100, description="Only with one of these.")
    known: Literal["mark", "hide", "only"] = "mark"
    taken_from: Date | None = Field(None, description="By EXIF: a year, month or day.")
    taken_to: Date | None = None
    include_gone: bool = False
    include_irrelevant: bool = False
    strength: bool = Field(
        False, description="Say how many unrelated pictures are expected as close as each hit."
    )
    verify: bool = Field(False, description="Count the features that one geometry explains.")
    near: bool = Field(False, description="Also tell near duplicates, of any scene.")
    exact: bool = Field(
        False, description="Compare all pictures also where a server has an index of them."
    )


@router.post("/searches")
def search(asked: SearchQuestion, desk: TheDesk, session: TheSession) -> AnswerShape:
    """Rank the pictures of the case by their distance to one or several others; the hits are leads, never findings.

    A search in a case that has a number is an entry of its audit chain, in the name of the session's examiner.
    """
    if (asked.crop or asked.hidden) and len(asked.queries) > 1:
        raise Refused(422, "part_of_several", "a part is of one query picture")
    sources = source_names(desk.case, asked.sources) if asked.sources else []
    result = ask(desk, _question(asked, sources))
    said = _said(asked)
    recorded, reason = _record(desk, session, result, said)
    answer = Answer(id_of(said, result), said, result, recorded, reason)
    desk.answers.keep(answer)
    return answer_shape(desk, answer, FIRST_PAGE)


@router.get("/searches/{id}")
def answered(id: Id, desk: TheDesk) -> AnswerShape:
    """An answer again; 404 where it is forgotten: the last few are kept, until the page is closed."""
    return answer_shape(desk, desk.answers.get(id), FIRST_PAGE)


@router.get("/searches/{id}/hits")
def hits(id: Id, desk: TheDesk, cursor: Cursor = "", limit: Limit = 100) -> Page[HitShape]:
    """The hits of an answer, page by page, as they were when it was given."""
    return hit_page(desk.answers.get(id).result.hits, cursor, limit)


def _question(asked: SearchQuestion, sources: Sequence[str]) -> Question:
    return Question(
        stored=[each.sha256 for each in asked.queries if each.sha256],
        uploads=[each.upload for each in asked.queries if each.upload],
        stored_against=[each.sha256 for each in asked.against if each.sha256],
        uploads_against=[each.upload for each in asked.against if each.upload],
        crop=asked.crop,
        hidden=asked.hidden,
        settings={
            "model": asked.model or None,
            "k": asked.k,
            "max_distance": asked.max_distance,
            "scene": tuple(asked.scene),
            "sources": tuple(sources),
            "under": asked.under or None,
            "tags": tuple(asked.tags),
            "known": asked.known,
            "taken_from": asked.taken_from,
            "taken_to": asked.taken_to,
            "include_gone": asked.include_gone,
            "include_irrelevant": asked.include_irrelevant,
            "strength": asked.strength,
            "verify": asked.verify,
            "near": asked.near,
            "exact": asked.exact,
        },
    )


def _said(asked: SearchQuestion) -> dict[str, Any]:
    """What was asked for, as JSON values, without what was not."""
    said: dict[str, Any] = json.loads(asked.model_dump_json(exclude_none=True))
    # A distance of 0 was asked for, and equals False.
    return {
        name: value for name, value in said.items() if value is not False and value not in ("", [])
    }


def _record(
    desk: Desk, session: Session, result: SearchResult, said: dict[str, Any]
) -> tuple[bool, str]:
    """Whether the search is in the audit chain, and if it should be and is not, why."""
    if not desk.case.facts().number:
        return False, ""
    if desk.options.read_only:
        return False, "the case was opened for reading only"
    with desk.case.acting_as(session.examiner):
        refused = desk.case.record_query(result, **said)
    return refused is None, refused or ""
