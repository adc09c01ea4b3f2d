"""Pictures and decisions as files for others, and pictures that were chosen one by one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from image_similarity.reports.rows import Row, hit_rows, plain
from image_similarity.reports.text import visible
from image_similarity.values import Selection
from image_similarity.web.api.paging import cut
from image_similarity.web.api.shapes import HEX, Cursor, Limit, Page, Picture, picture_shape
from image_similarity.web.desk import Desk, TheDesk
from image_similarity.web.problems import Refused
from image_similarity.web.report_files import MEDIA_TYPES, NAME, Form, Written, sha256_of
from image_similarity.web.session import TheSession

router = APIRouter(tags=["reports"])

Hash = Annotated[str, Field(pattern=HEX)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]
# An HTML file with more pictures opens slowly, and nobody looks through it.
_HTML_PICTURES = 1000
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "Unknown."}}


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    form: Form
    limit: Annotated[int, Field(ge=1, le=10_000_000, strict=True)] | None = Field(
        None,
        description="At most so many pictures; the report says how many it left out. Of HTML 1,000 by default.",
    )


class OfPictures(_Asked):
    """A report of pictures that were chosen one by one, at all places where they lie or lay."""

    of: Literal["pictures"]
    sha256s: list[Hash] = Field(min_length=1, max_length=10_000)


class OfTags(_Asked):
    """A report of all pictures that have any of these tags, at all places where they lie or lay."""

    of: Literal["tags"]
    tags: list[Tag] = Field(min_length=1, max_length=100)


class OfCase(_Asked):
    """A report of the whole case."""

    of: Literal["case"]
    include_gone: StrictBool = Field(
        False, description="Also places where the picture is no longer."
    )


class OfSearch(_Asked):
    """A report of the hits of an answer that is still kept, as they were ranked then."""

    of: Literal["search"]
    search: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="Its id.")]


class ReportFile(BaseModel):
    """A file in the folder of reports."""

    name: str
    path: str = Field(description="On the server's disk.")
    size: int
    written_at: str


class NewReport(ReportFile):
    """A report that was written."""

    sha256: str
    pictures: int = Field(description="In the report.")
    chosen: int = Field(description="Of how many; the others were left out by the limit.")
    beside: str | None = Field(
        description="Of CSV the name of the file that says what was searched."
    )
    notes: list[str]


class Wanted(BaseModel):
    """Pictures by their hashes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sha256s: list[Hash] = Field(min_length=1, max_length=500)


class Found(BaseModel):
    """Those of the pictures that the case holds, in the order in which they were named."""

    items: list[Picture]
    unknown: list[str]


@router.post("/batches/pictures")
def pictures(wanted: Wanted, desk: TheDesk) -> Found:
    """Up to 500 pictures by their hashes, as grids show them."""
    items = [picture_shape(each) for each in desk.case.images(wanted.sha256s)]
    held = {each.sha256 for each in items}
    unknown = [each for each in dict.fromkeys(wanted.sha256s) if each not in held]
    return Found(items=items, unknown=unknown)


@router.get("/reports")
def reports(desk: TheDesk, limit: Limit = 100, cursor: Cursor = "") -> Page[ReportFile]:
    """The reports that the page has written and that still lie in its folder, the latest first."""
    found = desk.reports.written()
    page, following = cut(found, lambda each: each.name, cursor, limit)
    items = [ReportFile(**_file(each)) for each in page]
    return Page(items=items, next=following, total=len(found))


@router.post("/reports", status_code=201, responses=_UNKNOWN)
def report(
    asked: Annotated[OfPictures | OfTags | OfCase | OfSearch, Field(discriminator="of")],
    desk: TheDesk,
    session: TheSession,
) -> NewReport:
    """Write a report into the folder of reports, on record in the audit chain with its SHA-256."""
    hits = _hits(desk, asked.search) if isinstance(asked, OfSearch) else ()
    limit = _HTML_PICTURES if asked.limit is None and asked.form == "html" else asked.limit
    with desk.deciding(session.examiner) as case, desk.reports.next(case, asked.form) as path:
        told = case.report(asked.form, path, chosen=_chosen(asked), hits=hits, limit=limit)
    beside = told.paths[1:]
    return NewReport(
        **_file(desk.reports.get(path.name)),
        sha256=sha256_of(path),
        pictures=told.pictures,
        chosen=told.chosen,
        beside=f"{path.name}.about.json" if beside else None,
        notes=[visible(each) for each in told.notes],
    )


@router.get(
    "/reports/{name}",
    response_class=FileResponse,
    responses={200: {"content": {each: {} for each in MEDIA_TYPES.values()}}},
)
def report_file(
    name: Annotated[str, Path(pattern=NAME, max_length=60, description="Of the file.")],
    desk: TheDesk,
) -> FileResponse:
    """A report, to be saved: a browser that opens it anyway runs nothing of it."""
    found = desk.reports.get(name)
    return FileResponse(
        found.path,
        media_type=MEDIA_TYPES[name.rpartition(".")[2]],
        filename=name,
        headers={"Content-Security-Policy": "sandbox"},
    )


def _chosen(asked: OfPictures | OfTags | OfCase | OfSearch) -> Selection | None:
    """Which pictures; what was chosen must be in the report, also where it lies no longer."""
    if isinstance(asked, OfPictures):
        return Selection(sha256s=tuple(asked.sha256s), include_gone=True)
    if isinstance(asked, OfTags):
        return Selection(tags=tuple(asked.tags), include_gone=True)
    return Selection(include_gone=asked.include_gone) if isinstance(asked, OfCase) else None


def _hits(desk: Desk, id_: str) -> list[Row]:
    rows = [
        plain(row) for row in hit_rows(desk.answers.get(id_).result, lambda place: place.full_path)
    ]
    if not rows:
        raise Refused(409, "no_hits", "this search has no hits to report")
    return rows


def _file(written: Written) -> dict[str, Any]:
    return {
        "name": written.name,
        "path": visible(str(written.path)),
        "size": written.size,
        "written_at": written.written_at,
    }
