"""Search results made by hand, for what renders them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from image_similarity.reports.about import About
from image_similarity.values import (
    DISTANCE_STEPS,
    AuditEntry,
    Calibration,
    CaseFacts,
    Coverage,
    DatabaseStatus,
    Decision,
    DistanceTable,
    Hit,
    ImageRecord,
    KnownHash,
    ModelInfo,
    Mount,
    Place,
    Preprocess,
    RunReport,
    SceneFilter,
    SceneScore,
    SearchResult,
    Source,
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


HEAD = AuditEntry(
    number=7,
    at="2026-03-04T05:06:07Z",
    actor="an@machine",
    action="export",
    detail="{}",
    previous="0" * 64,
    digest="d7" * 32,
)

# What a name or a line of EXIF may hold at worst.
HOSTILE = '=cmd|"/C calc"!A0;<script>alert(1)</script><img src=x onerror=alert(1)>\u202egpj.exe\'"&]]>{{7*7}}\x1b[31m'


def sample_coverage(**changes: Any) -> Coverage:
    """What a database covers: one source, one run, some files that were left out or could not be read."""
    run = RunReport(
        run_id=3,
        kind="index",
        status="partial",
        source="disk-07",
        root="/evidence",
        models=("builtin",),
        started_at="2026-01-02T03:04:05Z",
        finished_at="2026-01-02T03:14:05Z",
        seen=60,
        new=50,
        failed=2,
        skipped={"video": 5, "archive": 3},
        mount=Mount("/evidence", True, "off"),
    )
    status = DatabaseStatus(
        path="case.db",
        revision="0004",
        head="0004",
        size=1000,
        images=50,
        files=52,
        gone=1,
        failures=2,
        skipped={"video": 5, "archive": 3},
        models=(MODEL,),
        embeddings={MODEL.fingerprint: 50},
        sources=(Source("disk-07", "/evidence", "2026-01-02T03:04:05Z", 52, 50, 2, 1),),
        last_run=run,
    )
    coverage = Coverage(
        facts=CaseFacts("17/2026", "A. Examiner", "EX-1", "second look"),
        status=status,
        runs=(run,),
        failed={"decode": 2},
        partial=4,
        several_frames={"GIF": 6},
        head=HEAD,
    )
    return replace(coverage, **changes)


def sample_about(*coverages: Coverage, **changes: Any) -> About:
    """What a report of a whole case says."""
    about = About(
        what="whole case",
        asked=(),
        extent="50 pictures",
        coverages=coverages or (sample_coverage(),),
        written="2026-03-04T05:06:08Z",
    )
    return replace(about, **changes)


def sample_image(rank: int = 1, path: str = "rooms/a.jpg", **changes: Any) -> ImageRecord:
    """A content at two places, the second of which is gone, with EXIF and decisions."""
    place = Place("disk-07", "/evidence", path, "2026-01-02T03:04:05Z", 1_600_000_000_123_456_789)
    image = ImageRecord(
        sha256=f"{rank:02x}" * 32,
        sha1=f"{rank:02x}" * 20,
        md5=f"{rank:02x}" * 16,
        size=1000,
        width=96,
        height=72,
        format="JPEG",
        mime="image/jpeg",
        partial=False,
        exif={"make": "Maker", "latitude": -33.5},
        places=(place, replace(place, path=f"copies/{path}", gone_since="2026-02-03T00:00:00Z")),
        scenes=(SceneScore("bedroom", 0.875),),
        decisions=(
            _decision("tag", "room"),
            _decision("note", "ask about the lamp"),
            _decision("category", "2"),
        ),
        known=(KnownHash("vendor", "sha1"),),
    )
    return replace(image, **changes)


def _decision(kind: str, value: str) -> Decision:
    return Decision("m1", kind, value, "01" * 32, "2026-02-02T02:02:02Z", "an@machine")


def on_disk(place: Place) -> str:
    """Where a place lies."""
    return f"{place.root}/{place.path}"
