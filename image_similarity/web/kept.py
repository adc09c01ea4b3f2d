"""Small files that are kept up to a limit, in a folder of this program or in memory; those not used for longest go.

What lies in the folder is not trusted: a file that is not what was written under its name counts as none.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LOG = logging.getLogger(__name__)
# In memory, where there is no folder.
_MOST_REMEMBERED = 32 * 2**20
# A thumbnail is some 20 KB, a sheet of them some megabytes; nothing larger is of ours.
_LARGEST = 8 * 2**20
_DIGEST_BYTES = 32
# How old the time of a file's last use may be: nearly all uses then write nothing.
_SECONDS_USED = 3600
# Of the limit, when it was reached: the next look through the folder is a tenth of it away.
_KEPT_SHARE = 0.9
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class Extent:
    """What is kept now, and where: `folder` is None where it is in memory."""

    folder: Path | None
    files: int
    bytes: int
    most: int


class Kept:
    """Small files by name, in a folder or in memory, the least recently used of which go when they are too many.

    Args:
        folder: Made when first needed; None keeps them in memory.
        most: How many bytes they may take together.
        tell: Called before the first is kept in the folder; a sentence why none may be, or None.
    """

    def __init__(self, folder: Path | None, most: int, tell: Callable[[Path], str | None]) -> None:
        self.folder = folder
        self._most = most
        self._tell = tell
        self._told = False
        self._bytes: int | None = None
        self._complained = False
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._memory: OrderedDict[str, bytes] = OrderedDict()

    def get(self, name: str) -> bytes | None:
        """What was kept under a name; None if nothing is, or something else lies there."""
        with self._lock:
            if name in self._memory:
                self._memory.move_to_end(name)
                return self._memory[name]
        return None if self.folder is None else _read(self.folder / name)

    def put(self, name: str, data: bytes) -> None:
        """Keep something under a name; never raises, as the page goes on without."""
        try:
            if self.folder is not None and self._may_write(self.folder):
                self._write(self.folder, name, data)
                return
        except OSError as error:
            self._complain(f"thumbnails cannot be kept in {self.folder}: {error.strerror}")
        self._remember(name, data)

    def extent(self) -> Extent:
        """What is kept now."""
        with self._lock:
            if self.folder is None:
                sizes = [len(each) for each in self._memory.values()]
                return Extent(None, len(sizes), sum(sizes), min(self._most, _MOST_REMEMBERED))
        found = _listed(self.folder)
        return Extent(self.folder, len(found), sum(each.size for each in found), self._most)

    def purge(self) -> Extent:
        """Delete all; gives what it was."""
        with self._lock:
            self._memory.clear()
        was = self.extent()
        if self.folder is not None:
            for each in _listed(self.folder, unfinished=True):
                with suppress(OSError):
                    each.path.unlink()
        with self._lock:
            self._bytes = None
        return was

    def _may_write(self, folder: Path) -> bool:
        """Whether the folder is there and is on record; another thread that is just seeing to it is not waited for."""
        if self._told and folder.is_dir():
            return True
        if not self._telling.acquire(blocking=False):
            return False
        try:
            refusal = None if self._told else self._tell(folder)
            if refusal is not None:
                self._complain(f"thumbnails are not kept in {folder}: {refusal}")
                return False
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
            self._told = True
            return True
        finally:
            self._telling.release()

    def _write(self, folder: Path, name: str, data: bytes) -> None:
        # A file for its owner only; under its name it is whole or not there.
        descriptor, part = tempfile.mkstemp(prefix="part-", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data + _digest(name, data))
            Path(part).replace(folder / name)
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise
        with self._lock:
            if self._bytes is None:
                self._bytes = sum(each.size for each in _listed(folder, unfinished=True))
            else:
                self._bytes += len(data) + _DIGEST_BYTES
            if self._bytes > self._most:
                self._bytes = _thin(folder, int(self._most * _KEPT_SHARE))

    def _remember(self, name: str, data: bytes) -> None:
        with self._lock:
            self._memory[name] = data
            most = min(self._most, _MOST_REMEMBERED)
            while sum(map(len, self._memory.values())) > most:
                self._memory.popitem(last=False)

    def _complain(self, text: str) -> None:
        if not self._complained:
            self._complained = True
            _LOG.warning("%s", text)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    used: float


def _listed(folder: Path, *, unfinished: bool = False) -> list[_File]:
    """The files of ours in a folder; `unfinished` also those that a killed page left."""
    found = []
    kinds = (".jpg", "part-") if unfinished else (".jpg",)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.endswith(kinds[0]) or entry.name.startswith(kinds[1:])):
                continue
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    about = entry.stat(follow_symlinks=False)
                    found.append(_File(Path(entry.path), about.st_size, about.st_mtime))
    return found


def _thin(folder: Path, most: int) -> int:
    """Delete the least recently used files until the others take no more than `most`; gives what they take."""
    files = sorted(_listed(folder, unfinished=True), key=lambda each: each.used)
    taken = sum(each.size for each in files)
    for each in files:
        if taken <= most:
            break
        with suppress(OSError):
            each.path.unlink()
            taken -= each.size
    return taken


def _digest(name: str, data: bytes) -> bytes:
    """What stands behind the bytes of a file: it was written whole, and under this name."""
    return hashlib.sha256(name.encode() + b"\0" + data).digest()


def _read(path: Path) -> bytes | None:
    try:
        # Neither a link is followed nor a pipe waited for.
        descriptor = os.open(path, _OPEN)
    except OSError:
        return None
    with suppress(OSError), os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
            return None
        whole = file.read()
        data, digest = whole[:-_DIGEST_BYTES], whole[-_DIGEST_BYTES:]
        if digest != _digest(path.name, data):
            return None
        if time.time() - about.st_mtime > _SECONDS_USED:
            with suppress(OSError):
                os.utime(path)
        return data
    return None
