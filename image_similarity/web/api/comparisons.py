"""Two pictures side by side: how far apart they are, what they share, and why they came out as similar."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Literal

from anyio import from_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from image_similarity.reports.meaning import as_close_text
from image_similarity.reports.text import visible
from image_similarity.values import Comparison, Decision, Explanation
from image_similarity.web.api.shapes import HEX, DecisionShape, Sha256, decision_shape
from image_similarity.web.desk import Desk, TheDesk

router = APIRouter(tags=["comparisons"])

# A model by its fingerprint: a name might be that of a file.
_MODEL = "^[0-9a-f]{12,64}$"
Model = Annotated[
    str | None,
    Query(
        pattern=_MODEL,
        description="The fingerprint of the model, where the case holds vectors of several.",
    ),
]
Upload = Annotated[bool, Query(description="Whether the query is an upload, by its name.")]


class SharedScene(BaseModel):
    """A scene that both may show, with the probability for each."""

    name: str
    query: float
    hit: float


class ComparisonShape(BaseModel):
    """What two pictures have in common. A lead for examination, never a finding."""

    query: str
    hit: str
    model: str
    fingerprint: str
    distance: float
    similarity: float | None
    identical: bool = Field(description="The same bytes.")
    as_close: str = Field(description="How many reference pairs came as close, in words.")
    reference: str = Field(description="What the reference pairs are of.")
    shared_scenes: list[SharedScene]
    pdq_distance: int | None = Field(description="Of 256 bits; at most 31 is a near duplicate.")
    pdq_quality: int | None = Field(description="The lower of both; below 50 it says nothing.")
    pdq_note: str = Field(description="Why there is no PDQ distance.")
    verdict: DecisionShape | None


class Asked(BaseModel):
    """Which two pictures to explain, and how."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: Annotated[str, Field(pattern=HEX)]
    hit: Annotated[str, Field(pattern=HEX)]
    upload: bool = False
    method: Literal["auto", "points", "occlusion"] = "auto"
    model: Annotated[str | None, Field(pattern=_MODEL)] = None


class ExplanationShape(BaseModel):
    """Why two pictures came out as similar: matched points, or a heat map of each."""

    method: Literal["matched points", "occlusion"]
    geometry: str
    note: str = Field(description="Why there are no points.")
    points: list[Annotated[list[float], Field(min_length=4, max_length=4)]] = Field(
        description="x, y in the query and x, y in the hit, as shares of width and height."
    )
    query_heat: list[list[float]] = Field(
        description="Rows of parts: by how much the distance rises when each is hidden."
    )
    hit_heat: list[list[float]]


@router.get("/comparisons/{query}/{hit}")
def comparison(
    query: Sha256, hit: Sha256, desk: TheDesk, upload: Upload = False, model: Model = None
) -> ComparisonShape:
    """What two pictures have in common, as a search measures it."""
    asked = _query(desk, query, upload)
    with desk.decoding.turn():
        found = desk.case.compare(asked, hit, model=model, shared=desk.shared)
    verdicts, _ = desk.case.latest_decisions(
        sha256=hit, kind="verdict", query_sha256=found.query, limit=1
    )
    return _comparison_shape(found, verdicts[0] if verdicts else None)


@router.post("/explanations")
def explanation(asked: Asked, desk: TheDesk, request: Request) -> ExplanationShape:
    """Why two pictures came out as similar. It takes seconds; one is made at a time."""
    found = desk.explaining.explain(
        _query(desk, asked.query, asked.upload),
        asked.hit,
        method=asked.method,
        model=asked.model,
        given_up=lambda: from_thread.run(request.is_disconnected),
    )
    return _explanation_shape(found)


def _query(desk: Desk, name: str, upload: bool) -> str | FilePath:
    return desk.uploads.get(name).path if upload else name


def _comparison_shape(found: Comparison, verdict: Decision | None) -> ComparisonShape:
    return ComparisonShape(
        query=found.query,
        hit=found.hit,
        model=visible(found.model.name),
        fingerprint=found.model.fingerprint,
        distance=found.distance,
        similarity=found.similarity,
        identical=found.identical,
        as_close=as_close_text(found.as_close) if found.as_close else "",
        reference=found.reference,
        shared_scenes=[
            SharedScene(name=name, query=here, hit=there)
            for name, here, there in found.shared_scenes
        ],
        pdq_distance=found.pdq_distance,
        pdq_quality=found.pdq_quality,
        pdq_note=found.pdq_note,
        verdict=None if verdict is None else decision_shape(verdict),
    )


def _explanation_shape(found: Explanation) -> ExplanationShape:
    return ExplanationShape(
        method=found.method,
        geometry=found.geometry,
        note=found.note,
        points=[list(each) for each in found.points],
        query_heat=[list(row) for row in found.query.heat],
        hit_heat=[list(row) for row in found.hit.heat],
    )
