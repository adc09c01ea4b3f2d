"""Thumbnails of the page: made once, and kept in a folder outside the evidence that never grows beyond its limit.

The folder is the case's own and its owner's alone; the audit chain tells of it before anything is kept there. Where
nothing can be kept on disk, or must not, a few are kept in memory.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from image_similarity.case import Case
from image_similarity.values import Location
from image_similarity.web.kept import Extent, Kept
from image_similarity.web.options import ServeOptions
from image_similarity.web.problems import Refused

# Pictures that are decoded for the page at one time, and how long the next one waits for its turn.
_AT_ONCE = max(2, min(4, os.cpu_count() or 1))
_SECONDS_WAITING = 30


class Decoding:
    """So many pictures are decoded at one time, however many are asked for."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(_AT_ONCE)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn.

        Raises:
            Refused: It did not come in half a minute.
        """
        if not self._free.acquire(timeout=_SECONDS_WAITING):
            raise Refused(503, "busy", "many pictures are being made", "try again in a moment")
        try:
            yield
        finally:
            self._free.release()


class Thumbnails:
    """The thumbnails of a case, for many threads at once.

    Attributes:
        kept: Where they are kept; other small pictures made of thumbnails may be kept there, too.
    """

    def __init__(self, case: Case, options: ServeOptions, decoding: Decoding) -> None:
        self._case = case
        self._decoding = decoding
        self.kept = Kept(
            None if options.read_only else folder_of(options),
            options.most_cached,
            case.record_cache,
        )
        if self.kept.folder is not None:
            case.refuse_inside(self.kept.folder)

    def jpeg(self, sha256: str, side: int) -> tuple[bytes, bool]:
        """A content as a JPEG at most `side` pixels long; whether it is as large as that, and may therefore be kept.

        Raises:
            UnknownImage, ImageUnreadable: There is no such picture, or it cannot be shown any more.
            Refused: Too many are waiting.
        """
        name = f"{sha256}-{side}.jpg"
        found = self.kept.get(name)
        if found is not None:
            return found, True
        with self._decoding.turn():
            made, whole = self._case.shown_small(sha256, side=side)
        if whole:
            self.kept.put(name, made)
        return made, whole

    def extent(self) -> Extent:
        """What is kept now."""
        return self.kept.extent()

    def purge(self) -> Extent:
        """Delete all that is kept; gives what it was."""
        return self.kept.purge()


def folder_of(options: ServeOptions) -> Path | None:
    """Where thumbnails of a database are kept: in a folder named by its place; None where the user has no folders."""
    try:
        base = options.cache or _user_folder() / "image_similarity" / "thumbnails"
        return base.absolute() / _id_of(options.database)
    except RuntimeError:
        return None


def _user_folder() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    # A relative one is to be ignored, the specification says.
    return Path(named) if Path(named).is_absolute() else Path.home() / ".cache"


def _id_of(database: Location) -> str:
    return hashlib.sha256(os.fsencode(str(database.resolve()))).hexdigest()[:16]
