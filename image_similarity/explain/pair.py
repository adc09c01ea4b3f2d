"""Why two pictures came out as similar: what is measured of both, and matched points or a heat map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from image_similarity.calibration.reference import as_close
from image_similarity.encoding.encoder import Encoder, suggest_batch_size
from image_similarity.errors import ExtraMissing, ImageUnreadable, InvalidSetting, ModelError
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.explain import occlusion
from image_similarity.matching import geometry, pdq
from image_similarity.pictures.names import on_disk, to_text
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Contents, read_file
from image_similarity.ranking.exhaustive import exact_distance
from image_similarity.search.choice import Shared
from image_similarity.search.query import Query
from image_similarity.search.request import SearchRequest
from image_similarity.search.searcher import Searcher
from image_similarity.settings import MAX_MEGAPIXELS
from image_similarity.store.catalog import Catalog
from image_similarity.values import (
    ExplainedPicture,
    ExplainMethod,
    Explanation,
    ImageRecord,
    PictureFacts,
    Preprocess,
)

METHODS: tuple[ExplainMethod | str, ...] = ("auto", "points", "occlusion")
# Pairs of pictures that show nothing in common have fewer inliers than this (docs/matching.md).
FEWEST_INLIERS = 20

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """An explanation with both pictures, uint8 (h, w, 3), upright and at most 1,024 pixels long, to draw it on."""

    explanation: Explanation
    query: Pixels
    hit: Pixels


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One of the two pictures: its vector and scenes, and its pixels for each use."""

    query: Query
    facts: PictureFacts
    pixels: dict[Preprocess, Pixels]


def explain(
    catalog: Catalog,
    query: str,
    hit: str,
    *,
    model: str | None = None,
    method: str = "auto",
    device: str = "auto",
    runtime: str = "auto",
    max_megapixels: float = MAX_MEGAPIXELS,
    shared: Shared | None = None,
    on_event: Listener = ignore,
) -> Pair:
    """Compare two pictures as a search with the database's model would, and find what their likeness rests on.

    Matched points say most: the same things stand in both. They are taken if the geometric check finds at least 20
    inliers and is installed; else each picture gets a heat map by occlusion.

    Args:
        catalog: The database whose model and vectors count.
        query: A path on disk, the SHA-256 of a stored picture (6 or more digits), or a place as hits print it.
        hit: Likewise.
        model: Whose vectors; not needed where the database holds those of one.
        method: "auto", "points" or "occlusion".
        device: Where the network runs.
        runtime: What runs it.
        max_megapixels: Larger pictures are refused.
        shared: What searches of several threads have in common.
        on_event: Gets `Started` and `Progress`, counted in views of the pictures.

    Raises:
        InvalidSetting: There is no such method, or the two have too few points in common for "points".
        UnknownImage: The database holds no such picture.
        ImageUnreadable: A picture cannot be read, or no place of it holds what was indexed.
        ExtraMissing: Points were asked for and OpenCV is not installed.
        ModelError, AmbiguousModel.
    """
    if method not in METHODS:
        raise InvalidSetting(f"no method is called {method!r}", hint=f"one of {', '.join(METHODS)}")
    request = SearchRequest(model=model, device=device, runtime=runtime)
    searcher = Searcher([catalog], request, shared)
    one, other = (_side(catalog, searcher, each, max_megapixels) for each in (query, hit))
    match, note = (None, "") if method == "occlusion" else _match(one, other, method)
    heats: tuple[occlusion.Heat, ...] = ()
    if match is None:
        heats = _heats(searcher.encoder(), one, other, on_event)
    explanation = _explanation(searcher, one, other, match, note, heats)
    shown = geometry.PREPROCESS
    return Pair(explanation, one.pixels[shown], other.pixels[shown])


def _side(catalog: Catalog, searcher: Searcher, named: str, max_megapixels: float) -> _Side:
    path, contents = _find(catalog, named)
    wanted = {searcher.model.info.preprocess, geometry.PREPROCESS, pdq.PREPROCESS}
    try:
        query = searcher.query_of(path, contents)
        facts, pixels = decode_for(
            contents.data, wanted, max_pixels=int(max_megapixels * 1_000_000)
        )
    except PictureError as error:
        raise ImageUnreadable(
            f"cannot read {to_text(str(path))}: {error.message}", hint="explain compares pictures"
        ) from error
    return _Side(query, facts, pixels)


def _find(catalog: Catalog, named: str) -> tuple[Path, Contents]:
    """The file that is meant, read: one on disk, or a place that still holds a stored content."""
    if Path(named).is_file():
        return Path(named), _read(Path(named))
    reason = "no place of it is known"
    for record in _records(catalog, named):
        for place in record.places:
            if place.gone_since is not None:
                continue
            path = Path(on_disk(place))
            try:
                contents = _read(path)
            except ImageUnreadable as error:
                reason = error.message
                continue
            if contents.digests.sha256 == record.sha256:
                return path, contents
            reason = f"{place.source}:{place.path} is not what was indexed"
    raise ImageUnreadable(
        f"the picture {named} is not at hand: {reason}", hint="mount its source and try again"
    )


def _records(catalog: Catalog, named: str) -> list[ImageRecord]:
    if re.fullmatch("[0-9a-fA-F]{6,64}", named):
        return [catalog.image(named.lower())]
    # Hits are printed as source:path; a name may hold a colon, too.
    source, colon, path = named.partition(":")
    if colon and source in {each.name for each in catalog.sources()}:
        return [
            record
            for record in catalog.images_at([path])
            if any((place.source, place.path) == (source, path) for place in record.places)
        ]
    return catalog.images_at([named])


def _read(path: Path) -> Contents:
    try:
        contents = read_file(str(path))
    except PictureError as error:
        raise ImageUnreadable(f"cannot read {to_text(str(path))}: {error.message}") from error
    if not isinstance(contents, Contents):
        raise ImageUnreadable(f"{to_text(str(path))} is no picture ({contents.kind.rule})")
    return contents


def _match(one: _Side, other: _Side, method: str) -> tuple[geometry.Match | None, str]:
    """The matched points, or None and why there are none."""
    try:
        found = geometry.compare(
            *(geometry.features(side.pixels[geometry.PREPROCESS]) for side in (one, other))
        )
    except ExtraMissing as error:
        if method == "points":
            raise
        return None, error.message
    if found.inliers >= FEWEST_INLIERS:
        return found, ""
    note = f"{found.inliers} points matched, fewer than the {FEWEST_INLIERS} that say something"
    if method == "points":
        raise InvalidSetting(note, hint="choose --method auto or occlusion")
    return None, note


def _heats(
    encoder: Encoder, one: _Side, other: _Side, on_event: Listener
) -> tuple[occlusion.Heat, ...]:
    if encoder.spec.dim is None:
        raise ModelError(f"{encoder.spec.name} gives no vectors")
    views = 2 * (occlusion.CELLS**2 + 1)
    on_event(Started("explaining", "", views, "views"))
    size, done = suggest_batch_size(encoder), 0

    def embed(batch: Pixels) -> npt.NDArray[np.float32]:
        nonlocal done
        parts = []
        for start in range(0, len(batch), size):
            encoded = encoder.encode(batch[start : start + size])
            if encoded.vectors is None or not encoded.finite.all():
                raise ModelError(f"{encoder.spec.name} gave no finite vector")
            parts.append(encoded.vectors)
            done += len(encoded.vectors)
            on_event(Progress(done, views, 0, 0))
        return np.concatenate(parts)

    seen = encoder.spec.preprocess
    return tuple(
        occlusion.heat_of(embed, here.pixels[seen], there.query.vector.astype(np.float32))
        for here, there in ((one, other), (other, one))
    )


def _explanation(
    searcher: Searcher,
    one: _Side,
    other: _Side,
    match: geometry.Match | None,
    note: str,
    heats: tuple[occlusion.Heat, ...],
) -> Explanation:
    distance = exact_distance(one.query.vector, other.query.vector)
    table = searcher.table
    bits, quality = _pdq(one, other)
    first, second = (
        _picture(side, heats[number] if heats else None) for number, side in enumerate((one, other))
    )
    return Explanation(
        query=first,
        hit=second,
        model=searcher.model.info,
        distance=distance,
        similarity=searcher.model.info.similarity(distance),
        identical=one.query.sha256 == other.query.sha256,
        pdq_distance=bits,
        pdq_quality=quality,
        as_close=as_close(table, distance) if table else None,
        reference=table.made_on if table else "",
        method="occlusion" if match is None else "matched points",
        geometry="none" if match is None else match.geometry,
        points=() if match is None else _points(one, other, match),
        note=note,
    )


def _picture(side: _Side, heat: occlusion.Heat | None) -> ExplainedPicture:
    return ExplainedPicture(
        label=to_text(side.query.label),
        sha256=side.query.sha256,
        width=side.facts.width,
        height=side.facts.height,
        indexed=side.query.was_stored,
        scenes=side.query.scenes,
        heat=() if heat is None else tuple(map(tuple, heat.tolist())),
    )


def _pdq(one: _Side, other: _Side) -> tuple[int | None, int | None]:
    """The PDQ distance and the lower of the two qualities; None where the package is not installed."""
    try:
        hashes = [pdq.hash_pixels(side.pixels[pdq.PREPROCESS]) for side in (one, other)]
    except ExtraMissing:
        return None, None
    there = np.frombuffer(hashes[1].hash, dtype=np.uint8)[None]
    return int(pdq.distances(hashes[0].hash, there)[0]), min(each.quality for each in hashes)


def _points(
    one: _Side, other: _Side, match: geometry.Match
) -> tuple[tuple[float, float, float, float], ...]:
    """Where each pair of points lies, as shares of width and height of the two pictures."""
    scales = [
        np.array(side.pixels[geometry.PREPROCESS].shape[1::-1], dtype=np.float64)
        for side in (one, other)
    ]
    shares = np.hstack([match.one / scales[0], match.other / scales[1]]).clip(0.0, 1.0)
    return tuple((*map(float, row),) for row in shares)  # type: ignore[misc]
