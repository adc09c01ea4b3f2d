"""A file against the hash that was recorded of it: the same, changed, missing or unreadable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.read import Left, read_file


@dataclass(frozen=True, slots=True)
class Otherwise:
    """How a file is not what was recorded; `reason` says more in a few words, `found` is its SHA-256 now, if read."""

    kind: Literal["changed", "missing", "unreadable"]
    reason: str = ""
    found: str = ""


def recheck(os_path: str, sha256: str) -> Otherwise | None:
    """Read a file once and compare; None if it still holds what it held."""
    try:
        contents = read_file(os_path)
    except PictureError as error:
        if error.error == "Empty":
            return Otherwise("changed", "it is empty now")
        gone = error.error in ("FileNotFoundError", "NotADirectoryError")
        return Otherwise("missing" if gone else "unreadable", error.message)
    if isinstance(contents, Left):
        return Otherwise("changed", "it is no picture any more")
    if contents.digests.sha256 != sha256:
        return Otherwise("changed", found=contents.digests.sha256)
    return None
