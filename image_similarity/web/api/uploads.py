"""Pictures to search with that are not in the case: sent, and shown again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from image_similarity.reports.text import visible
from image_similarity.web.api.shapes import Sha256
from image_similarity.web.desk import TheDesk
from image_similarity.web.problems import Refused

router = APIRouter(tags=["search"])

# Bodies that are held in memory at one time.
MOST_RECEIVED = 8


class UploadShape(BaseModel):
    """A picture that was sent; width and height are those of the upright picture."""

    sha256: str
    name: str
    width: int
    height: int


async def _body(request: Request, desk: TheDesk) -> AsyncIterator[bytes]:
    """The body of a request, one of few at a time."""
    uploads = desk.uploads
    # Counted in the event loop's one thread.
    if uploads.receiving >= MOST_RECEIVED:
        raise Refused(503, "busy", "many pictures are being sent", "try again in a moment")
    uploads.receiving += 1
    try:
        yield await request.body()
    finally:
        uploads.receiving -= 1


@router.post(
    "/uploads",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
def upload(
    body: Annotated[bytes, Depends(_body)],
    desk: TheDesk,
    name: Annotated[str, Query(max_length=255, description="What to call it.")] = "",
) -> UploadShape:
    """Send a picture to search with; it is kept until the page is closed, and never becomes part of the case."""
    made = desk.uploads.add(body, visible(name))
    return UploadShape(sha256=made.sha256, name=made.name, width=made.width, height=made.height)


@router.get(
    "/uploads/{sha256}/picture",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
def uploaded(
    sha256: Sha256,
    desk: TheDesk,
    side: Annotated[int, Query(ge=32, le=4096, description="The longest, in pixels.")] = 512,
) -> Response:
    """A picture that was sent, upright, as JPEG without metadata, which is kept nowhere."""
    made = desk.uploads.jpeg(sha256, side)
    return Response(made, headers={"Cache-Control": "no-store"}, media_type="image/jpeg")
