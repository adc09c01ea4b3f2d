"""The map of the page: its layouts, kept in the cache folder, and sheets of thumbnails, a block of cells on each."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_similarity.case import Case
from image_similarity.errors import ImageUnreadable, UnknownImage, UsageError
from image_similarity.events import Listener
from image_similarity.web.jobs import Stopped
from image_similarity.web.options import ServeOptions
from image_similarity.web.problems import Refused
from image_similarity.web.temporary import Temporary
from image_similarity.web.thumbnails import Thumbnails, folder_of

if TYPE_CHECKING:
    from PIL import Image

    from image_similarity.analysis.laid_out import LaidOut

# A sheet shows so many columns and rows of cells.
BLOCK = 16
# Thumbnails are made once, for the larger of the sides that cells have.
_THUMBNAIL = 64
# Around a thumbnail that is not square, and between thumbnails.
_GROUND = (128, 128, 128)
_GAP = 1
_QUALITY = 80
# Maps that may still be asked for: one for each model and window, with those that a new layout took the place of.
_REMEMBERED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A map as it is shown: its pictures block by block, and of each block that has any the first and the end.

    `version` is another as soon as anything on it is.
    """

    version: str
    laid_out: LaidOut
    blocks: Mapping[int, tuple[int, int]]
    across: int


class Maps:
    """The maps of a case: computed by a job, read when they are asked for, drawn from thumbnails that are kept."""

    def __init__(self, case: Case, options: ServeOptions, thumbnails: Thumbnails) -> None:
        self._case = case
        self._thumbnails = thumbnails
        self._fresh: dict[str, tuple[object, Shown]] = {}
        self._shown: dict[str, Shown] = {}
        self._reading, self._lock = threading.Lock(), threading.Lock()
        # A case that is open for reading only leaves nothing behind.
        self._folder = None if options.read_only else folder_of(options)
        self._passing = Temporary(case)

    def close(self) -> None:
        """Delete what was kept for as long as the page was open."""
        self._passing.close()

    def lay_out(
        self, case: Case, asked: Mapping[str, Any], on_event: Listener, stop: Callable[[], bool]
    ) -> Mapping[str, Any]:
        """The job: lay out the pictures that have a vector of the model with the fingerprint that is asked for."""
        folder = self._folder or self._passing.path()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fingerprint = asked["model"] or self.usual_model(case)
        path = _file(folder, fingerprint)
        if not case.lay_out(path, model=fingerprint, on_event=on_event, stop=stop):
            raise Stopped
        return {"model": fingerprint}

    def usual_model(self, case: Case | None = None) -> str:
        """The fingerprint of the model that most pictures have a vector of, the first of several; "" without any."""
        held = (case or self._case).status().embeddings
        return min(held, key=lambda each: (-held[each], each), default="")

    def shown(self, fingerprint: str) -> Shown | None:
        """The map of a model as it is now; None if it was not laid out yet, or what was kept of it is damaged."""
        folder = self._folder or self._passing.made
        if folder is None:
            return None
        # Of 50,000 pictures it takes seconds, in which sheets of maps that are known are not held up.
        with self._reading:
            found = self._read(_file(folder, fingerprint), fingerprint)
        if found is not None:
            with self._lock:
                self._shown.pop(found.version, None)
                self._shown[found.version] = found
                while len(self._shown) > _REMEMBERED:
                    del self._shown[next(iter(self._shown))]
        return found

    def _read(self, path: Path, fingerprint: str) -> Shown | None:
        try:
            state = (_state(path), self._case.state())
            known, found = self._fresh.get(fingerprint, (None, None))
            if found is None or known != state:
                found = _in_blocks(self._case.laid_out(path))
                self._fresh[fingerprint] = (state, found)
        except (OSError, UsageError):
            return None
        return found

    def version(self, version: str) -> Shown:
        """A map that was shown before.

        Raises:
            Refused: It has changed since.
        """
        with self._lock:
            found = self._shown.get(version)
        if found is None:
            raise Refused(409, "map_changed", "the map is another by now", "load it again")
        return found

    def sheet(
        self, shown: Shown, number: int, side: int, given_up: Callable[[], bool]
    ) -> tuple[bytes, bool]:
        """The thumbnails of a block as one JPEG, and whether all could be shown; `given_up` is asked between them.

        Raises:
            Refused: The block has no pictures, or nobody waits for it any more.
        """
        if number not in shown.blocks:
            raise Refused(404, "no_sheet", f"the map has no pictures in block {number}")
        name = f"map-{shown.version}-{number}-{side}.jpg"
        kept = self._thumbnails.kept
        found = kept.get(name)
        if found is not None:
            return found, True
        found, whole = self._drawn(shown, number, side, given_up)
        if whole:
            kept.put(name, found)
        return found, whole

    def _drawn(
        self, shown: Shown, number: int, side: int, given_up: Callable[[], bool]
    ) -> tuple[bytes, bool]:
        from PIL import Image

        start, end = shown.blocks[number]
        paper = Image.new("RGB", (BLOCK * side, BLOCK * side), _GROUND)
        whole = True
        for picture in range(start, end):
            if given_up():
                raise Refused(409, "given_up", "nobody waits for this sheet any more")
            column, row = (int(each) % BLOCK for each in shown.laid_out.cells[picture])
            try:
                jpeg, large = self._thumbnails.jpeg(shown.laid_out.hashes[picture], _THUMBNAIL)
                _paste(paper, jpeg, column * side, row * side, side)
                whole = whole and large
            except (UnknownImage, ImageUnreadable):
                _cross(paper, column * side, row * side, side)
                whole = False
        target = io.BytesIO()
        paper.save(target, "JPEG", quality=_QUALITY)
        return target.getvalue(), whole


def _file(folder: Path, fingerprint: str) -> Path:
    return folder / f"map-{fingerprint[:16]}.csv"


def _state(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_mtime_ns, about.st_size


def _in_blocks(found: LaidOut) -> Shown:
    """Order pictures by block, and within it by row and column: those that are near each other stand together."""
    across = -(-found.columns // BLOCK)
    cells = found.cells.tolist()
    block_of = [(row // BLOCK) * across + column // BLOCK for column, row in cells]
    order = sorted(range(len(cells)), key=lambda each: (block_of[each], *reversed(cells[each])))
    blocks: dict[int, tuple[int, int]] = {}
    for at, picture in enumerate(order):
        start, _ = blocks.get(block_of[picture], (at, at))
        blocks[block_of[picture]] = (start, at + 1)
    ordered = replace(
        found,
        hashes=tuple(found.hashes[each] for each in order),
        cells=found.cells[order],
        scene_of=found.scene_of[order],
    )
    return Shown(_version(ordered), ordered, blocks, across)


def _version(found: LaidOut) -> str:
    digest = hashlib.sha256(f"{found.fingerprint} {found.perplexity} {found.seed}".encode())
    digest.update("".join(found.hashes).encode())
    digest.update(found.cells.tobytes() + found.scene_of.tobytes())
    digest.update("\0".join(each.name for each in found.scenes).encode("utf-8", "replace"))
    return digest.hexdigest()[:16]


def _paste(paper: Image.Image, jpeg: bytes, x: int, y: int, side: int) -> None:
    from PIL import Image

    room = side - 2 * _GAP
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as opened:
        small = opened.convert("RGB")
    small.thumbnail((room, room), Image.Resampling.BICUBIC)
    paper.paste(small, (x + (side - small.width) // 2, y + (side - small.height) // 2))


def _cross(paper: Image.Image, x: int, y: int, side: int) -> None:
    """What stands for a picture that cannot be shown any more."""
    from PIL import ImageDraw

    pen, far = ImageDraw.Draw(paper), side - 1 - side // 4
    near = side // 4
    for ends in ((near, near, far, far), (near, far, far, near)):
        pen.line([x + ends[0], y + ends[1], x + ends[2], y + ends[3]], fill=(200, 200, 200))
