"""The geometric check of the nearest pictures: their files are read again and matched with the query, point by point.

This is what recognises the same room from another angle, where a model's distance only says that two pictures look
alike. Only files that still hold what was indexed are compared; of the others it is said why not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from image_similarity.errors import ImageUnreadable, UnknownImage
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.matching import geometry
from image_similarity.matching.geometry import Features
from image_similarity.pictures.names import on_disk
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Contents, read_file
from image_similarity.pictures.region import Region
from image_similarity.search.request import SearchRequest
from image_similarity.store.catalog import Catalog
from image_similarity.values import GeometryCheck, Hit, Place, SearchResult

MOST_WORKERS = 8


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How many inliers a picture has with the query, or why that cannot be said."""

    inliers: int | None
    reason: str = ""


def check(
    catalogs: Sequence[Catalog],
    request: SearchRequest,
    result: SearchResult,
    path: Path | None,
    *,
    on_event: Listener = ignore,
) -> SearchResult:
    """Give a result whose hits say how many inliers they have, in the order that the request asks for.

    Args:
        catalogs: The databases that were searched.
        request: What was asked; `k` hits are left of those that the result has.
        result: With `candidates` hits, if they are to be ordered by inliers.
        path: Where the query lies on disk, if it was given so.
        on_event: Gets `Started` and `Progress`, counted in pictures.

    Raises:
        ExtraMissing: OpenCV is not installed.
        ImageUnreadable: The query picture is not at hand any more.
    """
    geometry.require()
    limit = int(request.max_megapixels * 1_000_000)
    query = _query_features(catalogs, request, result, path, limit)
    candidates = result.hits[: request.candidates]
    found = _outcomes(query, candidates, limit, on_event)
    checked = [_with(hit, found[hit.image.sha256]) for hit in candidates]
    if request.by_inliers:
        # Stable: among equals, and among those not checked, the distance decides.
        checked.sort(key=lambda hit: -1 if hit.inliers is None else hit.inliers, reverse=True)
        checked = [
            replace(hit, rank=rank, distance_rank=hit.rank)
            for rank, hit in enumerate(checked, start=1)
        ]
    return replace(
        result,
        k=request.k,
        hits=(*checked, *result.hits[request.candidates :])[: request.k],
        geometry=GeometryCheck(
            candidates=len(found),
            checked=sum(each.inliers is not None for each in found.values()),
            by_inliers=request.by_inliers,
            features=len(query),
        ),
    )


def _with(hit: Hit, outcome: _Outcome) -> Hit:
    return replace(hit, inliers=outcome.inliers, not_checked=outcome.reason)


def _query_features(
    catalogs: Sequence[Catalog],
    request: SearchRequest,
    result: SearchResult,
    path: Path | None,
    limit: int,
) -> Features:
    paths = [path] if path is not None else _paths_of(catalogs, result.sha256)
    reason = "no place of it is known"
    for each in paths:
        try:
            return _read(each, result.sha256, limit, request.region)
        except PictureError as error:
            reason = error.message
    raise ImageUnreadable(
        f"the query {result.query} cannot be checked: {reason}",
        hint="mount its source, or give the picture itself as the query",
    )


def _paths_of(catalogs: Sequence[Catalog], sha256: str) -> list[Path]:
    found = []
    for catalog in catalogs:
        try:
            found += _on_disk(catalog.image(sha256).places)
        except UnknownImage:
            continue
    return found


def _on_disk(places: Iterable[Place]) -> list[Path]:
    """Where a content may still lie."""
    return [Path(on_disk(place)) for place in places if place.gone_since is None]


def _read(path: Path, sha256: str, limit: int, region: Region | None = None) -> Features:
    """The features of a file that still holds a content.

    Raises:
        PictureError: It does not, or it cannot be read or decoded.
    """
    contents = read_file(str(path))
    if not isinstance(contents, Contents) or contents.digests.sha256 != sha256:
        raise PictureError("read", "Changed", "the file is not what was indexed")
    _, pixels = decode_for(contents.data, {geometry.PREPROCESS}, max_pixels=limit, region=region)
    return geometry.features(pixels[geometry.PREPROCESS])


def _outcomes(
    query: Features, hits: Sequence[Hit], limit: int, on_event: Listener
) -> dict[str, _Outcome]:
    """What comes of each content among the hits, by SHA-256; a thread holds one picture at a time."""
    # Of all databases: the source of one may be mounted, that of another not.
    contents: dict[str, dict[Place, None]] = {}
    for hit in hits:
        contents.setdefault(hit.image.sha256, {}).update(dict.fromkeys(hit.image.places))
    on_event(Started("matching", "", len(contents), unit="pictures"))
    found: dict[str, _Outcome] = {}
    pool = ThreadPoolExecutor(min(MOST_WORKERS, os.cpu_count() or 1), thread_name_prefix="geometry")
    try:
        waiting = {
            pool.submit(_outcome, query, sha256, places, limit): sha256
            for sha256, places in contents.items()
        }
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            on_event(Progress(len(found), len(contents), 0, 0))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return found


def _outcome(query: Features, sha256: str, places: Iterable[Place], limit: int) -> _Outcome:
    reason = "no longer there"
    for path in _on_disk(places):
        try:
            features = _read(path, sha256, limit)
        except PictureError as error:
            reason = error.message
            continue
        return _Outcome(geometry.compare(query, features).inliers)
    return _Outcome(None, reason)
