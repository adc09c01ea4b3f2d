"""The work of a long computation as it grows: blocks of neighbours beside the file that is made of them at the end.

A file of these begins with what it is of, one line of JSON; then follow blocks of one size, each with its CRC-32. What
is complete when a process dies stays; a block that was torn is told by its CRC and computed again.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from image_similarity.errors import UsageError

MARK = b"image_similarity neighbours, work in progress\n"
_LONGEST_HEAD = 2**20


def path_of(target: Path) -> Path:
    """Give where the work of a file lies until that is complete: beside it, FILE.work."""
    return target.with_name(target.name + ".work")


class Work:
    """Rows of `k` neighbours in blocks of `block` rows, kept in a file; to be used in a `with` block.

    A file of the same head is taken up where it ends. One of another head is begun anew, and `replaced` says what
    differs. The file stays when the block ends; `discard` deletes it.

    Args:
        path: The file.
        head: What all of it depends on; JSON values.
        rows: How many rows there will be.
        k: Neighbours of each.
        block: Rows that are added at once.

    Raises:
        UsageError: Another file lies there, or another process is working on it.
        OSError.
    """

    def __init__(
        self, path: Path, head: Mapping[str, Any], *, rows: int, k: int, block: int
    ) -> None:
        self.path, self.block, self._rows, self._k = path, block, rows, k
        self._type = np.dtype(
            [("numbers", "<i8", (block, k)), ("distances", "<f8", (block, k)), ("crc", "<u4")]
        )
        self._head = MARK + json.dumps({**head, "block": block}, sort_keys=True).encode() + b"\n"
        self.replaced: list[str] = []
        self.blocks = self.resumed = 0

    def __enter__(self) -> Self:
        self._file = self.path.open("a+b")
        try:
            self._lock()
            self._take_up()
        except BaseException:
            self._file.close()
            raise
        self.resumed = self.done
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What a full disk did not take it does not take now, and the error that says so is on its way.
        with suppress(OSError):
            self._file.close()

    @property
    def done(self) -> int:
        """How many rows there are."""
        return min(self._rows, self.blocks * self.block)

    def is_complete(self) -> bool:
        """Whether the file, as it lies there, has this head and all rows; nothing is changed. To be asked outside."""
        blocks = -(-self._rows // self.block)
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                found = file.read(len(self._head))
        except FileNotFoundError:
            return False
        return found == self._head and size == len(self._head) + blocks * self._type.itemsize

    def _lock(self) -> None:
        """Keep others out: two processes that add blocks in turn would both be wrong. The system unlocks at the end."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another process is working on {self.path}", hint="wait for it, or stop it"
            ) from error

    def _take_up(self) -> None:
        """Find how far an earlier file of the same head goes, or begin one."""
        self._file.seek(0)
        mark = self._file.read(len(MARK))
        if mark and not MARK.startswith(mark):
            raise UsageError(
                f"{self.path} exists and is no work of this command",
                hint="move it away, or name another output",
            )
        found = self._file.readline(_LONGEST_HEAD)
        if mark + found == self._head:
            while self._is_whole(self._file.read(self._type.itemsize)):
                self.blocks += 1
            self._file.truncate(len(self._head) + self.blocks * self._type.itemsize)
            return
        if found:
            self.replaced = _differing(found, self._head[len(MARK) :])
        self._file.truncate(0)
        self._file.write(self._head)
        self._file.flush()

    def _is_whole(self, data: bytes) -> bool:
        if len(data) < self._type.itemsize or self.done >= self._rows:
            return False
        return self._crc(data[:-4]) == data[-4:]

    def _crc(self, data: bytes) -> bytes:
        """The checksum of the next block: of one at another place it is another."""
        return zlib.crc32(data, self.blocks).to_bytes(4, "little")

    def append(self, numbers: npt.NDArray[np.int64], distances: npt.NDArray[np.float64]) -> None:
        """Add the rows of the next block, each array (n, k); only the last block may have fewer rows than others."""
        block = np.zeros(1, dtype=self._type)
        block["numbers"], block["distances"] = -1, np.nan
        block["numbers"][0, : len(numbers)] = numbers
        block["distances"][0, : len(distances)] = distances
        data = block.tobytes()[:-4]
        try:
            self._file.write(data + self._crc(data))
            # Handed to the system at once: what a killed process had in its own memory would be lost.
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.blocks += 1

    def rows(self, at: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Give some rows: numbers int64 (n, k) and distances float64 (n, k)."""
        offset = len(self._head)
        stored = np.memmap(self.path, self._type, mode="r", offset=offset, shape=(self.blocks,))
        block, row = np.divmod(at, self.block)
        return stored["numbers"][block, row], stored["distances"][block, row]

    def discard(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def _differing(found: bytes, wanted: bytes) -> list[str]:
    """In which entries two heads differ; that cannot be told of one that is damaged."""
    try:
        before, now = json.loads(found), json.loads(wanted)
        return sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    except (ValueError, AttributeError, TypeError):
        return ["damaged"]
