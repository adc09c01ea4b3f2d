"""Pictures that were dropped or pasted to search with: kept while the page is up, outside of case and evidence.

A search reads its query from a file, so that is what they are: in a folder of the system's temporary ones that only
this user can enter. They never become part of the case.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from image_similarity.case import Case
from image_similarity.errors import ImageUnreadable
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.read import Left, read_file
from image_similarity.settings import MAX_MEGAPIXELS
from image_similarity.web.problems import Refused
from image_similarity.web.temporary import Temporary
from image_similarity.web.thumbnails import Decoding

# Of all that are kept at one time; the one that was not used for longest goes.
MOST_KEPT = 200
MOST_BYTES = 2**30
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
        self._decoding = decoding
        self._lock = threading.Lock()
        self._folder = Temporary(case)
        self._kept: OrderedDict[str, Upload] = OrderedDict()

    def add(self, data: bytes, name: str) -> Upload:
        """Keep a picture, once it is known to be one.

        Raises:
            ImageUnreadable: It is none.
            Refused: Too many are being decoded, or it cannot be kept.
            UsageError: The system's temporary folder is evidence.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            with self._part(data) as part:
                with self._decoding.turn():
                    width, height = _size(part, data)
                path = part.with_name(sha256)
                upload = Upload(sha256, name, width, height, len(data), path)
                with self._lock:
                    # Under its name it is whole: another search may read it at this moment.
                    part.replace(path)
                    self._kept[sha256] = upload
                    self._kept.move_to_end(sha256)
                    self._trim()
        except OSError as error:
            told = f"the picture cannot be kept in {tempfile.gettempdir()}: {error.strerror}"
            raise Refused(409, "not_kept", told, "free space there") from error
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
            self._folder.close()

    @contextmanager
    def _part(self, data: bytes) -> Iterator[Path]:
        """A file with these bytes, which goes at the end if it is still there."""
        descriptor, name = tempfile.mkstemp(prefix="part-", dir=self._folder.path())
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            yield part
        finally:
            part.unlink(missing_ok=True)

    def _trim(self) -> None:
        while len(self._kept) > MOST_KEPT or sum(u.size for u in self._kept.values()) > MOST_BYTES:
            _, oldest = self._kept.popitem(last=False)
            oldest.path.unlink(missing_ok=True)


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
