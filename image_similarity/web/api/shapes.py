"""Shapes that several operations answer with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel, Field

from image_similarity.reports.text import visible
from image_similarity.values import Decision, ImageRecord, KnownHash, Place, Source

Item = TypeVar("Item")

# A content as every operation names it: whole, never a prefix, and never a path.
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the content.")]
HEX = "^[0-9a-f]{64}$"
Limit = Annotated[int, Query(ge=1, le=500, description="Of one page.")]
Cursor = Annotated[
    str, Query(max_length=200, description="`next` of the page before; empty for the first.")
]


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next` is the cursor of the following one, null on the last."""

    items: list[Item]
    next: str | None = None
    total: int = Field(description="Of all pages.")


class Scene(BaseModel):
    """A scene label with its probability."""

    name: str
    probability: float


class PlaceShape(BaseModel):
    """Where a content was found. Names are shown, with escapes for what does not print."""

    source: str
    root: str
    path: str
    first_seen: str
    modified: str | None
    gone_since: str | None


class SourceShape(BaseModel):
    """A folder that was indexed."""

    name: str
    root: str
    files: int
    images: int
    failures: int
    gone: int


class DecisionShape(BaseModel):
    """What an examiner said."""

    name: str = Field(description="What it is withdrawn by.")
    kind: str
    value: str
    sha256: str
    query_sha256: str
    at: str
    actor: str
    withdrawn_at: str | None
    place: str = Field("", description="Where the content lies, as it is shown; in lists alone.")


class Known(BaseModel):
    """A hash list that holds a content."""

    list: str
    algorithm: str
    category: str


class Picture(BaseModel):
    """A content as grids show it, at the first of its places."""

    sha256: str
    width: int
    height: int
    place: str = Field(description='"source:path", as it is shown.')
    places: int = Field(description="Where it lies; of what lies nowhere any more where it lay.")
    gone: bool = Field(description="Not at the place that is shown any more.")
    partial: bool
    scene: Scene | None
    tags: list[str]
    category: str
    known: list[str]


def picture_shape(image: ImageRecord, place: Place | None = None) -> Picture:
    """A content as a grid shows it, at one of its places or its first."""
    shown = place or image.places[0]
    live = sum(each.gone_since is None for each in image.places)
    return Picture(
        sha256=image.sha256,
        width=image.width,
        height=image.height,
        place=visible(f"{shown.source}:{shown.path}"),
        places=live or len(image.places),
        gone=shown.gone_since is not None,
        partial=image.partial,
        scene=scene_shapes(image)[0] if image.scenes else None,
        tags=list(image.tags),
        category=image.category,
        known=[visible(each.list) for each in image.known],
    )


def scene_shapes(image: ImageRecord) -> list[Scene]:
    """The scenes of a content, the most probable first."""
    return [Scene(name=each.name, probability=each.probability) for each in image.scenes]


def place_shape(place: Place) -> PlaceShape:
    """A place, as it is shown."""
    from image_similarity.reports.rows import utc

    return PlaceShape(
        source=visible(place.source),
        root=visible(place.root),
        path=visible(place.path),
        first_seen=place.first_seen,
        modified=utc(place.mtime_ns),
        gone_since=place.gone_since,
    )


def known_shapes(known: Sequence[KnownHash]) -> list[Known]:
    """The hash lists that hold a content."""
    return [
        Known(list=visible(each.list), algorithm=each.algorithm, category=visible(each.category))
        for each in known
    ]


def source_shape(source: Source) -> SourceShape:
    """A source, as it is shown."""
    return SourceShape(
        name=visible(source.name),
        root=visible(source.root),
        files=source.files,
        images=source.images,
        failures=source.failures,
        gone=source.gone,
    )


def decision_shape(decision: Decision) -> DecisionShape:
    """A decision."""
    return DecisionShape(
        name=decision.name,
        kind=decision.kind,
        value=decision.value,
        sha256=decision.sha256,
        query_sha256=decision.query_sha256,
        at=decision.at,
        actor=visible(decision.actor),
        withdrawn_at=decision.withdrawn_at,
        place=visible(decision.place),
    )


def decision_shapes(decisions: Sequence[Decision]) -> list[DecisionShape]:
    """Several decisions."""
    return [decision_shape(each) for each in decisions]
