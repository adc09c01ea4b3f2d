"""One picture: all that is known of it, small, and large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from image_similarity.errors import ImageUnreadable
from image_similarity.reports.rows import plain
from image_similarity.reports.text import visible
from image_similarity.web.api.shapes import (
    DecisionShape,
    Known,
    PlaceShape,
    Scene,
    Sha256,
    decision_shapes,
    known_shapes,
    place_shape,
    scene_shapes,
)
from image_similarity.web.desk import TheDesk
from image_similarity.web.kept import Extent
from image_similarity.web.problems import Refused

router = APIRouter(tags=["pictures"])

_KEEP_NOTHING = {"Cache-Control": "no-store"}


class Pdq(BaseModel):
    """The PDQ hash of a content, in hexadecimal digits, and its quality from 0 to 100."""

    hash: str
    quality: int


class PictureRecord(BaseModel):
    """Everything on record of a content."""

    sha256: str
    sha1: str
    md5: str
    size: int
    width: int
    height: int
    format: str
    mime: str
    partial: bool
    exif: dict[str, Any]
    places: list[PlaceShape]
    scenes: list[Scene]
    decisions: list[DecisionShape]
    known: list[Known]
    pdq: Pdq | None = Field(description="Null where none is stored.")


class CacheShape(BaseModel):
    """The thumbnails that are kept."""

    folder: str | None = Field(description="Null where they are kept in memory only.")
    files: int
    bytes: int
    most: int = Field(description="How many bytes they may take.")


@router.get("/pictures/{sha256}")
def picture(sha256: Sha256, desk: TheDesk) -> PictureRecord:
    """Everything on record of a content."""
    image = desk.case.image(sha256)
    pdq = desk.case.pdq_hash(sha256)
    return PictureRecord(
        sha256=image.sha256,
        sha1=image.sha1,
        md5=image.md5,
        size=image.size,
        width=image.width,
        height=image.height,
        format=image.format,
        mime=image.mime,
        partial=image.partial,
        exif={
            visible(name): visible(value) if isinstance(value, str) else plain(value)
            for name, value in image.exif.items()
        },
        places=[place_shape(each) for each in image.places],
        scenes=scene_shapes(image),
        decisions=decision_shapes(image.decisions),
        known=known_shapes(image.known),
        pdq=None if pdq is None else Pdq(hash=pdq[0], quality=pdq[1]),
    )


@router.get(
    "/pictures/{sha256}/thumbnail",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}},
        304: {"description": "The one that the browser has is the one there is."},
    },
)
def thumbnail(
    sha256: Sha256,
    desk: TheDesk,
    side: Annotated[int, Query(ge=32, le=512, description="The longest, in pixels.")] = 256,
    if_none_match: Annotated[
        str, Header(max_length=1000, description="The ETag of what the client has.")
    ] = "",
) -> Response:
    """The picture, upright and small, as JPEG without metadata; 404 with a reason where it cannot be shown any more."""
    # The name says all: what has this SHA-256 never looks otherwise.
    tag = f'"{sha256}-{side}"'
    keep = {"ETag": tag, "Cache-Control": "private, max-age=86400, immutable"}
    if tag in if_none_match:
        return Response(status_code=304, headers=keep)
    with _shown():
        made, whole = desk.thumbnails.jpeg(sha256, side)
    # A stored thumbnail that is smaller than this is all there is until the source is mounted again.
    return Response(made, headers=keep if whole else _KEEP_NOTHING, media_type="image/jpeg")


@router.get(
    "/pictures/{sha256}/picture",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
def large(
    sha256: Sha256,
    desk: TheDesk,
    side: Annotated[int, Query(ge=256, le=4096, description="The longest, in pixels.")] = 2048,
) -> Response:
    """The picture, upright and large, as JPEG without metadata, which is kept nowhere."""
    with _shown(), desk.decoding.turn():
        made = desk.case.shown(sha256, side=side)
    return Response(made, headers=_KEEP_NOTHING, media_type="image/jpeg")


@router.get("/cache")
def cache(desk: TheDesk) -> CacheShape:
    """Where thumbnails are kept, and how many."""
    return _cache_shape(desk.thumbnails.extent())


@router.delete("/cache")
def purge_cache(desk: TheDesk) -> CacheShape:
    """Delete the thumbnails that are kept; gives what they were. They are made again where they are looked at again."""
    return _cache_shape(desk.thumbnails.purge())


def _cache_shape(extent: Extent) -> CacheShape:
    return CacheShape(
        folder=None if extent.folder is None else visible(str(extent.folder)),
        files=extent.files,
        bytes=extent.bytes,
        most=extent.most,
    )


@contextmanager
def _shown() -> Iterator[None]:
    """Tell of a picture that cannot be shown as of one that is not there: the rest of the page is well."""
    try:
        yield
    except ImageUnreadable as error:
        raise Refused(404, "no_picture", error.message, error.hint) from error
