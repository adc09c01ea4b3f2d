"""Search results made by hand, for what renders them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from image_similarity.values import (
    DISTANCE_STEPS,
    Calibration,
    DistanceTable,
    Hit,
    ImageRecord,
    ModelInfo,
    Place,
    Preprocess,
    SceneFilter,
    SceneScore,
    SearchResult,
)

MODEL = ModelInfo(
    name="builtin",
    fingerprint="f1" * 32,
    architecture="tiny",
    weights_sha256="ee" * 32,
    preprocess=Preprocess(32),
    dim=16,
    scenes=("bedroom", "beach"),
)


TABLE = DistanceTable(
    fingerprint=MODEL.fingerprint,
    made_on="3,000 held-out pictures",
    pictures=3000,
    unrelated=(*[0] * DISTANCE_STEPS, 1500),
    same_scene=(*[41] * DISTANCE_STEPS, 1500),
)

CALIBRATION = Calibration(
    fingerprint=MODEL.fingerprint,
    model=MODEL.name,
    same="both pictures show the same room",
    different="they are of two different groups of rooms.csv",
    intercept=2.5,
    slope=-3.0,
    bound=math.log10(212),
    groups=212,
    pictures=480,
    same_pairs=300,
    different_pairs=3000,
    cllr=0.4,
    cllr_low=0.35,
    cllr_high=0.45,
    cllr_min=0.38,
    groups_sha256="ab" * 32,
    made_at="2026-01-02T03:04:05Z",
    version="0.2.0",
)


def sample_hit(rank: int = 1, path: str = "rooms/a.jpg", **changes: Any) -> Hit:
    """A hit at a place below /evidence; `changes` replace fields of the hit, its place or its image."""
    place = Place("disk-07", "/evidence", path, "2026-01-02T03:04:05Z")
    image = ImageRecord(
        sha256=f"{rank:02x}" * 32,
        sha1="",
        md5="",
        size=1000,
        width=96,
        height=72,
        format="JPEG",
        mime="image/jpeg",
        partial=False,
        exif={},
        places=(place,),
        scenes=(SceneScore("bedroom", 0.875),),
    )
    hit = Hit(rank, 0.25 * rank, 1 - rank / 10, False, place, image, "case.db")
    for record in (hit.place, hit.image):
        known = {key: changes.pop(key) for key in list(changes) if hasattr(record, key)}
        hit = replace(
            hit, **{type(record).__name__.removesuffix("Record").lower(): replace(record, **known)}
        )
    return replace(hit, **changes)


def sample_result(*hits: Hit, **changes: Any) -> SearchResult:
    """A result with those hits, of a query that is not indexed."""
    result = SearchResult(
        query="query.jpg",
        sha256="ab" * 32,
        model=MODEL,
        scene_model=MODEL,
        query_scenes=(SceneScore("bedroom", 0.9), SceneScore("beach", 0.1)),
        stored=False,
        k=5,
        max_distance=None,
        search="exhaustive",
        filter=SceneFilter("auto", ("bedroom",), searched=40, hidden=10, hidden_nearer=2),
        hits=hits,
    )
    return replace(result, **changes)
