"""A content found again: in the first of its files that still holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from image_similarity.pictures.names import from_text
from image_similarity.values import Place

# A content may lie at very many places, none of which can be read any more.
_TRIED = 3
Made = TypeVar("Made")


class NotHeld(Exception):
    """No file holds a content any more; the text says why."""


def of_held_file(sha256: str, paths: Iterable[str], make: Callable[[Path, bytes], Made]) -> Made:
    """Return what is made of the path and the bytes of the first of these files that still holds a content.

    Args:
        sha256: The content's SHA-256; nothing is made of a file that holds another.
        paths: Paths on disk, in text form; see `paths_of`.
        make: May raise `PictureError`; the next file is tried then.

    Raises:
        NotHeld: None does, or nothing can be made of it.
    """
    from image_similarity.pictures.picture_error import PictureError
    from image_similarity.pictures.read import Contents, read_file

    why = "it is at no place on record any more"
    for path in paths:
        try:
            found = read_file(from_text(path))
            if isinstance(found, Contents) and found.digests.sha256 == sha256:
                return make(Path(from_text(path)), found.data)
            why = "the file there is another now"
        except PictureError as error:
            why = error.message
        except ValueError:
            why = "the path on record is none"
    raise NotHeld(why)


def paths_of(places: Iterable[Place]) -> list[str]:
    """Return where the first places of a content that are not gone lie on disk, in text form."""
    live = [place for place in places if place.gone_since is None]
    return [place.full_path for place in live[:_TRIED]]
