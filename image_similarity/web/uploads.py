"""Pictures that were dropped or pasted to search with: kept while the page is up, outside of case and evidence.

A search reads its query from a file, so that is what they are: in a folder of the system's temporary ones that only
this user can enter. They never become part of the case.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from image_similarity.case import Case
from image_similarity.errors import ImageUnreadable
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.read import Left, read_file
from image_similarity.settings import MAX_MEGAPIXELS
from image_similarity.web.problems import Refused
from image_similarity.web.thumbnails import Decoding

# Of all that are kept at one time; the one that was not used for longest goes.
MOST_KEPT = 200
MOST_BYTES = 2**30
_PREFIX = "image-similarity-uploads-"
# What such a folder holds, whole and half written.
_OURS = re.compile(r"[0-9a-f]{64}|tmp\w{8}")
_MAX_PIXELS = int(MAX_MEGAPIXELS * 1_000_000)
# To learn that it is a picture; a JPEG is then decoded at an eighth of its size.
_SMALL = 64


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that was sent; width and height are those of the upright picture."""

    sha256: str
    name: str
    width: int
    height: int
    size: int
    path: Path


class Uploads:
    """The pictures that were sent, for many threads at once.

    Attributes:
        receiving: How many are being sent now.
    """

    def __init__(self, case: Case, decoding: Decoding) -> None:
        self.receiving = 0
        self._case, self._decoding = case, decoding
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._held = -1
        self._kept: OrderedDict[str, Upload] = OrderedDict()

    def add(self, data: bytes, name: str) -> Upload:
        """Keep a picture, once it is known to be one.

        Raises:
            ImageUnreadable: It is none.
            Refused: Too many are being decoded.
            UsageError: The system's temporary folder is evidence.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._place() / sha256
        self._write(path, data)
        try:
            with self._decoding.turn():
                width, height = _size(path, data)
        except (ImageUnreadable, Refused):
            with self._lock:
                if sha256 not in self._kept:
                    path.unlink(missing_ok=True)
            raise
        upload = Upload(sha256, name, width, height, len(data), path)
        with self._lock:
            self._kept[sha256] = upload
            self._kept.move_to_end(sha256)
            self._trim()
        return upload

    def get(self, sha256: str) -> Upload:
        """A picture that was sent.

        Raises:
            Refused: It is not kept, or not any more.
        """
        with self._lock:
            upload = self._kept.get(sha256)
            if upload is None:
                raise Refused(
                    404, "no_upload", "this picture is not kept any more", "choose it once more"
                )
            self._kept.move_to_end(sha256)
            return upload

    def jpeg(self, sha256: str, side: int) -> bytes:
        """One of them as a JPEG without metadata, at most `side` pixels long.

        Raises:
            Refused: It is not kept any more, or too many are being decoded.
            ImageUnreadable: It cannot be decoded.
        """
        from image_similarity.pictures.thumbnail import thumbnail

        upload = self.get(sha256)
        try:
            with self._decoding.turn():
                return thumbnail(upload.path.read_bytes(), side, max_pixels=_MAX_PIXELS)
        except PictureError as error:
            raise ImageUnreadable(error.message) from error
        except FileNotFoundError:
            raise Refused(404, "no_upload", "this picture is not kept any more") from None

    def close(self) -> None:
        """Delete all of them."""
        with self._lock:
            self._kept.clear()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                os.close(self._held)
                self._folder = None

    def _place(self) -> Path:
        with self._lock:
            if self._folder is None:
                self._case.refuse_inside(tempfile.gettempdir())
                _purge_abandoned(Path(tempfile.gettempdir()))
                self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
                self._held = _hold(self._folder)
            return self._folder

    def _write(self, path: Path, data: bytes) -> None:
        # Under its name it is whole: another search may read it at this moment.
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)

    def _trim(self) -> None:
        while len(self._kept) > MOST_KEPT or sum(u.size for u in self._kept.values()) > MOST_BYTES:
            _, oldest = self._kept.popitem(last=False)
            oldest.path.unlink(missing_ok=True)


def _hold(folder: Path) -> int:
    """Hold a folder for as long as this process lives, however it ends; gives the descriptor that does.

    Raises:
        OSError: Another process holds it, or it is no folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _purge_abandoned(temporary: Path) -> None:
    """Delete what a server left behind that was killed: nobody holds its folder any more.

    Of a folder that holds anything else nothing is deleted: someone may have called theirs so.
    """
    for folder in temporary.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            names = [each.name for each in folder.iterdir()]
            # A new one is not held for a moment, and empty.
            if names and all(map(_OURS.fullmatch, names)) and folder.lstat().st_uid == os.getuid():
                descriptor = _hold(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


def _size(path: Path, data: bytes) -> tuple[int, int]:
    """Width and height of a file that a search would take.

    Raises:
        ImageUnreadable: It would not.
    """
    from image_similarity.pictures import isolate

    try:
        found = read_file(str(path))
        if isinstance(found, Left):
            raise ImageUnreadable(f"this is no picture ({found.kind.rule})")
        facts, _ = isolate.frames(data, {_SMALL}, max_pixels=_MAX_PIXELS)
    except PictureError as error:
        raise ImageUnreadable(
            f"this picture cannot be read: {error.message}", hint="choose another"
        ) from error
    return facts.width, facts.height
