"""One read of one file: the bytes that are decoded are the bytes that were hashed, and nothing is ever written."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from dataclasses import dataclass

from image_similarity.pictures.kinds import HEAD_BYTES, Kind, sniff
from image_similarity.pictures.picture_error import PictureError
from image_similarity.values import Digests

# A file written this shortly before it is read may be written again without a new time: FAT keeps times to 2 s.
_SETTLING_NS = 2_000_000_000
_CHUNK = 16 * 1024**2
# Larger files are recorded as failures.
SIZE_LIMIT = 2 * 1024**3

# O_NONBLOCK: a FIFO put in the file's place must not hold the run. O_BINARY and O_NOINHERIT exist on Windows only.
_FLAGS = os.O_RDONLY | sum(
    getattr(os, flag, 0)
    for flag in ("O_NONBLOCK", "O_BINARY", "O_NOINHERIT", "O_CLOEXEC", "O_NOCTTY")
)
_NO_ATIME: int = getattr(os, "O_NOATIME", 0)


@dataclass(frozen=True, slots=True)
class Contents:
    """A picture file's bytes with their hashes.

    `settled` is false if the file's time is so recent, or in the future, that a later change might not show in it.
    """

    data: bytes
    digests: Digests
    kind: Kind
    size: int
    mtime_ns: int
    settled: bool


@dataclass(frozen=True, slots=True)
class Left:
    """A file that is no picture; only its first bytes were read."""

    kind: Kind
    size: int
    mtime_ns: int


def read_file(os_path: str, *, size_limit: int = SIZE_LIMIT) -> Contents | Left:
    """Return all bytes of a picture file, or what else the file is; opens it once, for reading.

    Raises:
        PictureError: stage "read": the file cannot be opened or read, is empty, larger than `size_limit` bytes, no
            regular file, or changed while it was read.
    """
    try:
        descriptor = _open(os_path)
        try:
            return _read(descriptor, os.path.basename(os_path), size_limit)  # noqa: PTH119
        finally:
            os.close(descriptor)
    except (OSError, MemoryError) as error:
        raise _read_error(error) from error


def _open(os_path: str) -> int:
    """Open for reading, without leaving a new access time on the evidence where the system allows that."""
    if _NO_ATIME:
        try:
            return os.open(os_path, _FLAGS | _NO_ATIME)
        except PermissionError as error:
            # EPERM: only the owner may ask for it. EACCES is a file that may not be read at all.
            if error.errno != errno.EPERM:
                raise
    return os.open(os_path, _FLAGS)


def _read(descriptor: int, name: str, size_limit: int) -> Contents | Left:
    now_ns = time.time_ns()
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise PictureError("read", "NotAFile", "no regular file stands here any more")
    head = _take(descriptor, HEAD_BYTES)
    kind = sniff(head, name)
    if kind.kind != "picture":
        return Left(kind, before.st_size, before.st_mtime_ns)
    if before.st_size > size_limit:
        raise PictureError(
            "read", "TooLarge", f"{before.st_size} bytes; the limit is {size_limit} bytes"
        )
    # One byte more than announced, so that a file that grew is seen to have grown.
    data = head + _take(descriptor, max(0, before.st_size - len(head)) + 1)
    after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(
        data
    ) != after.st_size:
        raise PictureError("read", "Changed", "the file changed while it was read")
    if not data:
        raise PictureError("read", "Empty", "the file has zero bytes")
    settled = is_settled(before.st_mtime_ns, now_ns)
    return Contents(data, digests_of(data), kind, len(data), before.st_mtime_ns, settled)


def is_settled(mtime_ns: int, now_ns: int) -> bool:
    """Whether a file's time is old enough that a later change will show in it; one in the future is not."""
    return mtime_ns <= now_ns - _SETTLING_NS


def _take(descriptor: int, count: int) -> bytes:
    """Read `count` bytes, fewer only at the end of the file: a single read may return less than there is."""
    chunks = []
    while count > 0:
        chunk = os.read(descriptor, min(count, _CHUNK))
        if not chunk:
            break
        chunks.append(chunk)
        count -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def digests_of(data: bytes) -> Digests:
    """Give the hashes of a file; SHA-1 and MD5 are for exchange with other tools, not for security."""
    return Digests(
        hashlib.sha256(data, usedforsecurity=False).hexdigest(),
        hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        hashlib.md5(data, usedforsecurity=False).hexdigest(),
    )


def _read_error(error: OSError | MemoryError) -> PictureError:
    if isinstance(error, MemoryError):
        return PictureError("read", "MemoryError", "not enough memory for the file's bytes")
    # strerror and not str(error), which names the path.
    return PictureError("read", type(error).__name__, error.strerror or type(error).__name__)
