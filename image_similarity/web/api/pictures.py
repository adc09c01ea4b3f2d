"""One picture: all that is known of it, small, and large."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel

from image_similarity.reports.rows import plain
from image_similarity.reports.text import visible
from image_similarity.web.api.shapes import (
    DecisionShape,
    Known,
    PlaceShape,
    Scene,
    Sha256,
    decision_shapes,
    place_shape,
    scene_shapes,
)
from image_similarity.web.desk import TheDesk
from image_similarity.web.problems import Refused

router = APIRouter(tags=["pictures"])


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


@router.get("/pictures/{sha256}")
def picture(sha256: Sha256, desk: TheDesk) -> PictureRecord:
    """Everything on record of a content."""
    image = desk.case.image(sha256)
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
        known=[
            Known(
                list=visible(each.list), algorithm=each.algorithm, category=visible(each.category)
            )
            for each in image.known
        ],
    )


@router.get(
    "/pictures/{sha256}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
def thumbnail(
    sha256: Sha256,
    desk: TheDesk,
    side: Annotated[int, Query(ge=32, le=512, description="Of the longer side, in pixels.")] = 256,
) -> Response:
    """The picture, upright and small, as JPEG without metadata; 404 where no file holds it any more."""
    found = desk.case.preview(sha256, side=side)
    if found is None:
        raise Refused(404, "no_picture", "no file holds this picture any more")
    return Response(found, media_type="image/jpeg")
