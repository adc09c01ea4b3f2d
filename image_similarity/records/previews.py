"""A small picture for a report: of a file that still is the content that was compared, or its stored thumbnail."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.errors import ImageUnreadable
from image_similarity.pictures.held import NotHeld, of_held_file, paths_of
from image_similarity.store import thumbnails
from image_similarity.store.catalog import Catalog
from image_similarity.values import ImageRecord

if TYPE_CHECKING:
    from image_similarity.reports.tiles import Tile


def preview(sha256: str, paths: Iterable[str], *, side: int) -> bytes | None:
    """Return a small JPEG of a content from the first of these files that still holds it; None where none does.

    Args:
        sha256: The content's SHA-256; a file that holds another is not shown.
        paths: Paths on disk, in text form.
        side: The longest side in pixels.
    """
    from image_similarity.pictures.thumbnail import thumbnail

    try:
        return of_held_file(sha256, paths, lambda _, data: thumbnail(data, side=side))
    except NotHeld:
        return None


def file_of(image: ImageRecord) -> Path:
    """Return the first of a content's files that still holds it.

    Raises:
        ImageUnreadable: None does; the message says why.
    """
    try:
        return of_held_file(image.sha256, paths_of(image.places), lambda path, _: path)
    except NotHeld as why:
        raise ImageUnreadable(
            f"no file holds {image.sha256} any more: {why}", hint="mount its source where it was"
        ) from why


def shown(image: ImageRecord, *, side: int, quality: int) -> bytes:
    """Return a JPEG of a content from the first of its files that still holds it.

    Args:
        image: The content; a file that holds another is not shown.
        side: The longest side in pixels.
        quality: Of the JPEG.

    Raises:
        ImageUnreadable: None does; the message says why.
    """
    from image_similarity.pictures.thumbnail import thumbnail

    def made(_: Path, data: bytes) -> bytes:
        return thumbnail(data, side, quality=quality)

    try:
        return of_held_file(image.sha256, paths_of(image.places), made)
    except NotHeld as why:
        raise ImageUnreadable(
            f"this picture cannot be shown: {why}", hint="is its source mounted?"
        ) from why


def shown_small(catalog: Catalog, image: ImageRecord, *, side: int) -> tuple[bytes, bool]:
    """Return a small JPEG of a content, and whether it is as large as was asked for.

    The stored thumbnail if that is large enough, else what `shown` gives, else the smaller thumbnail.

    Raises:
        ImageUnreadable: No file holds the content any more, and no thumbnail is stored.
    """
    from image_similarity.pictures.thumbnail import QUALITY, of_pixels

    wanted = min(side, max(image.width, image.height))
    kept = _of_stored(stored([catalog], image.sha256), side)
    pixels = None if kept is None else kept.pixels
    if pixels is not None and max(pixels.shape[:2]) >= wanted:
        return of_pixels(pixels), True
    try:
        return shown(image, side=side, quality=QUALITY), True
    except ImageUnreadable:
        if pixels is None:
            raise
        return of_pixels(pixels), False


def tile(catalogs: Iterable[Catalog], sha256: str, paths: Iterable[str], *, side: int) -> Tile:
    """Return a content as a small picture for a sheet or a map; never raises for what is wrong with a picture.

    The stored thumbnail if it is large enough, else what the first of the files gives that still holds the content,
    decoded with the same care as evidence is, else the thumbnail that there is, else why there is none.

    Args:
        catalogs: The databases that may hold a thumbnail.
        sha256: The content's SHA-256; a file that holds another is not shown.
        paths: Paths on disk, in text form; see `paths_of`.
        side: The longest side in pixels.
    """
    from image_similarity.pictures.thumbnail import small
    from image_similarity.reports.tiles import Tile

    kept = _of_stored(stored(catalogs, sha256), side)
    if kept is not None and kept.pixels is not None and max(kept.pixels.shape[:2]) >= side:
        return kept
    try:
        return of_held_file(sha256, paths, lambda _, data: Tile(small(data, side)))
    except NotHeld as why:
        return kept or Tile(None, f"not shown: {why}")


def _of_stored(jpeg: bytes | None, side: int) -> Tile | None:
    """A stored thumbnail as a tile; None if there is none, or the database holds something else in its place."""
    from image_similarity.pictures.picture_error import PictureError
    from image_similarity.pictures.thumbnail import small
    from image_similarity.reports.tiles import Tile

    if jpeg is None:
        return None
    try:
        return Tile(small(jpeg, side))
    except PictureError:
        return None


def stored(catalogs: Iterable[Catalog], sha256: str) -> bytes | None:
    """Return the thumbnail of a content, a JPEG, from the first of the databases that holds one; else None."""
    for catalog in catalogs:
        with catalog.reading() as connection:
            found = thumbnails.read(connection, sha256)
        if found:
            return found
    return None
