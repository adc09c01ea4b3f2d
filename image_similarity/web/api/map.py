"""The map of the whole collection: where each picture lies, and sheets of thumbnails to draw it with."""

from __future__ import annotations

import importlib.util
import struct
from enum import IntEnum
from typing import Annotated, Any, Literal

from anyio import from_thread
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from image_similarity.reports.text import visible
from image_similarity.web import map as maps
from image_similarity.web.desk import Desk, TheDesk
from image_similarity.web.jobs import Job
from image_similarity.web.problems import Refused

router = APIRouter(tags=["map"])

_BYTES = "application/octet-stream"
# Of one request for hashes: 256 KB.
_MOST_HASHES = 8192
# The version is part of a sheet's address: under one address it never changes.
_KEEPING = "private, max-age=86400, immutable"

Version = Annotated[str, Query(pattern="^[0-9a-f]{16}$", description="`version` of `GET /map`.")]


def _answers(kind: str) -> dict[int | str, dict[str, Any]]:
    """What an operation of bytes may answer with; 409 where the map is another by now."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"content": content}, 409: {"description": ""}}


class Side(IntEnum):
    """The sides that a cell may have on a sheet."""

    small = 32
    large = 64


class MapModel(BaseModel):
    """A model whose vectors a map can be made of."""

    name: str
    fingerprint: str
    pictures: int


class MapScene(BaseModel):
    """A scene, its colour on the map and how many pictures show it most probably."""

    name: str
    pictures: int
    colour: str


class MapDrawn(BaseModel):
    """A map that is laid out."""

    version: str = Field(description="Another as soon as anything on the map is.")
    pictures: int
    mapped: int = Field(description="By t-SNE itself; the others by their nearest that are.")
    missing: int = Field(description="Pictures that came since, and are not on it.")
    left: int = Field(description="Pictures of the layout that are not on record any more.")
    perplexity: float
    seed: int
    columns: int
    rows: int
    scenes: list[MapScene]
    block: int = Field(
        description="A sheet shows so many columns and rows. Sheet n is the block in column n % ceil(columns / block) "
        "and row n // ceil(columns / block)."
    )
    sides: list[int] = Field(description="Of a cell on a sheet, in pixels.")


class MapJob(BaseModel):
    """The last job that laid a map out, since the page was opened; see `/jobs`."""

    id: int
    state: str
    message: str
    hint: str


class MapState(BaseModel):
    """Whether there is a map, and of what."""

    state: Literal["none", "running", "ready"]
    model: MapModel | None = Field(description="Null where no picture has a vector.")
    models: list[MapModel]
    can_lay_out: bool = Field(
        description="Whether scikit-learn, of the extra `analysis`, is there."
    )
    job: MapJob | None
    map: MapDrawn | None


@router.get("/map", responses={404: {"description": ""}})
def map_(
    desk: TheDesk,
    model: Annotated[
        str,
        Query(pattern="^([0-9a-f]{64})?$", description="Its fingerprint; empty for the usual one."),
    ] = "",
) -> MapState:
    """Whether the pictures are laid out, and the map if so. `POST /jobs` with the kind "map" lays them out anew."""
    models = _models(desk)
    chosen = next((each for each in models if model in ("", each.fingerprint)), None)
    if model and chosen is None:
        raise Refused(404, "unknown_model", "no picture has a vector of that model", "see models")
    shown = None if chosen is None else desk.maps.shown(chosen.fingerprint)
    job = next((each for each in desk.jobs.jobs() if each.kind == "map"), None)
    running = job is not None and not job.is_over
    return MapState(
        state="running" if running else "ready" if shown else "none",
        model=chosen,
        models=models,
        can_lay_out=importlib.util.find_spec("sklearn") is not None,
        job=None if job is None else _job(job),
        map=None if shown is None else _drawn(shown),
    )


@router.get(
    "/map/points",
    response_class=Response,
    responses=_answers(_BYTES),
)
def points(desk: TheDesk, version: Version) -> Response:
    """Where each picture lies: six bytes for each, three little-endian numbers of 16 bits.

    Its column, its row, and its scene as a place in `scenes`. Pictures stand block by block, those of a block by row
    and column; `/map/hashes` has the same order.
    """
    found = desk.maps.version(version).laid_out
    numbers = [
        number
        for (column, row), scene in zip(found.cells.tolist(), found.scene_of.tolist(), strict=True)
        for number in (column, row, scene)
    ]
    packed = struct.pack(f"<{len(numbers)}H", *numbers)
    return Response(packed, media_type=_BYTES, headers={"Cache-Control": _KEEPING})


@router.get(
    "/map/hashes",
    response_class=Response,
    responses=_answers(_BYTES),
)
def hashes(
    desk: TheDesk,
    version: Version,
    start: Annotated[int, Query(ge=0, le=2**31, description="The first, from 0.")] = 0,
    count: Annotated[
        int, Query(ge=1, le=_MOST_HASHES, description="How many at most.")
    ] = _MOST_HASHES,
) -> Response:
    """The SHA-256 of some pictures in the order of `/map/points`: 32 bytes for each; fewer behind the last."""
    found = desk.maps.version(version).laid_out.hashes[start : start + count]
    return Response(
        bytes.fromhex("".join(found)), media_type=_BYTES, headers={"Cache-Control": _KEEPING}
    )


@router.get(
    "/map/sheets/{n}",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
def sheet(
    n: Annotated[int, Path(ge=0, le=2**31, description="Of the sheet, from 0.")],
    request: Request,
    desk: TheDesk,
    version: Version,
    side: Annotated[Side, Query(description="Of a cell in pixels.")] = Side.small,
) -> Response:
    """The thumbnails of a block of cells, each in its cell; a cross stands for one that cannot be shown any more."""
    found, whole = desk.maps.sheet(
        desk.maps.version(version), n, side, lambda: from_thread.run(request.is_disconnected)
    )
    # With the source mounted again it is another.
    keeping = _KEEPING if whole else "no-store"
    return Response(found, media_type="image/jpeg", headers={"Cache-Control": keeping})


def _models(desk: Desk) -> list[MapModel]:
    """Those with vectors, of most pictures first."""
    status = desk.case.status()
    found = [
        MapModel(
            name=visible(each.name),
            fingerprint=each.fingerprint,
            pictures=status.embeddings.get(each.fingerprint, 0),
        )
        for each in status.models
    ]
    with_vectors = [each for each in found if each.pictures]
    return sorted(with_vectors, key=lambda each: (-each.pictures, each.fingerprint))


def _job(job: Job) -> MapJob:
    return MapJob(id=job.id, state=job.state, message=visible(job.message), hint=visible(job.hint))


def _drawn(shown: maps.Shown) -> MapDrawn:
    found = shown.laid_out
    return MapDrawn(
        version=shown.version,
        pictures=len(found.hashes),
        mapped=found.mapped,
        missing=found.missing,
        left=found.left,
        perplexity=found.perplexity,
        seed=found.seed,
        columns=found.columns,
        rows=found.rows,
        scenes=[
            MapScene(name=visible(each.name), pictures=each.pictures, colour=each.colour)
            for each in found.scenes
        ],
        block=maps.BLOCK,
        sides=[each.value for each in Side],
    )
