"""Two pictures measured against each other as a search would, without a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from image_similarity.calibration.reference import as_close
from image_similarity.errors import ExtraMissing, ImageUnreadable
from image_similarity.matching import pdq
from image_similarity.matching.pdq import PdqHash
from image_similarity.pictures.held import NotHeld, of_held_file, paths_of
from image_similarity.pictures.names import to_text
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Contents, read_file
from image_similarity.ranking.exhaustive import exact_distance
from image_similarity.search.choice import Shared
from image_similarity.search.request import SearchRequest
from image_similarity.search.searcher import Searcher
from image_similarity.settings import MAX_MEGAPIXELS
from image_similarity.store import copies
from image_similarity.store.catalog import Catalog
from image_similarity.values import Comparison


def compare(
    catalog: Catalog,
    query: str | Path,
    hit: str,
    *,
    model: str | None = None,
    shared: Shared | None = None,
) -> Comparison:
    """Measure two pictures against each other.

    Nothing is decoded of pictures whose vectors and PDQ hashes are stored.

    Args:
        catalog: The database whose model and vectors count.
        query: The SHA-256 of a stored picture, or a path on disk.
        hit: The SHA-256 of a stored picture.
        model: Whose vectors; not needed where the database holds those of one.
        shared: What searches of several threads have in common.

    Raises:
        UnknownImage: The database holds no such picture, or no vector of it.
        ImageUnreadable: The query on disk cannot be read or decoded.
        AmbiguousModel, UnknownModel, ModelError.
    """
    # Only a filter needs scenes that are not stored.
    searcher = Searcher([catalog], SearchRequest(model=model, scene=("off",)), shared)
    record = catalog.image(hit)
    other = searcher.query_of_stored(record.sha256)
    contents = _read(query) if isinstance(query, Path) else None
    if contents is None:
        one = searcher.query_of_stored(str(query))
        places = paths_of(catalog.image(one.sha256).places)
    else:
        try:
            one = searcher.query_of(Path(query), contents)
        except PictureError as error:
            raise _unreadable(Path(query), error) from error
        places = [to_text(str(query))]
    info, table = searcher.model.info, searcher.table
    distance = exact_distance(one.vector, other.vector)
    bits, quality, note = _pdq(
        catalog, [(one.sha256, places), (record.sha256, paths_of(record.places))]
    )
    return Comparison(
        query=one.sha256,
        hit=record.sha256,
        model=info,
        distance=distance,
        similarity=info.similarity(distance),
        identical=one.sha256 == record.sha256,
        as_close=as_close(table, distance) if table else None,
        reference=table.made_on if table else "",
        query_scenes=one.scenes,
        hit_scenes=other.scenes,
        pdq_distance=bits,
        pdq_quality=quality,
        pdq_note=note,
    )


def _read(path: Path) -> Contents:
    try:
        found = read_file(str(path))
    except PictureError as error:
        raise _unreadable(path, error) from error
    if not isinstance(found, Contents):
        raise ImageUnreadable(f"{to_text(str(path))} is no picture ({found.kind.rule})")
    return found


def _unreadable(path: Path, error: PictureError) -> ImageUnreadable:
    return ImageUnreadable(f"cannot read {to_text(str(path))}: {error.message}")


def _pdq(
    catalog: Catalog, pictures: Sequence[tuple[str, Sequence[str]]]
) -> tuple[int | None, int | None, str]:
    """Bits that differ and the lower quality; or why neither is known."""
    try:
        one, other = (_hash(catalog, sha256, paths) for sha256, paths in pictures)
    except (ExtraMissing, ImageUnreadable) as error:
        return None, None, error.message
    there = np.frombuffer(other.hash, dtype=np.uint8)[None]
    return int(pdq.distances(one.hash, there)[0]), min(one.quality, other.quality), ""


def _hash(catalog: Catalog, sha256: str, paths: Sequence[str]) -> PdqHash:
    """The stored hash of a content, else that of a file that still holds it."""
    with catalog.reading() as connection:
        stored = copies.hash_of(connection, sha256)
    if stored is not None:
        return PdqHash(*stored)
    pdq.require()

    def hashed(path: Path, data: bytes) -> PdqHash:
        most = int(MAX_MEGAPIXELS * 1_000_000)
        _, pixels = decode_for(data, {pdq.PREPROCESS}, max_pixels=most)
        return pdq.hash_pixels(pixels[pdq.PREPROCESS])

    try:
        return of_held_file(sha256, paths, hashed)
    except NotHeld as why:
        raise ImageUnreadable(
            "no PDQ hash is stored, and no file holds the picture any more"
        ) from why
