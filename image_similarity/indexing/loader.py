"""Files to prepared pictures, read and decoded ahead of the network by threads, in bounded memory.

Pillow and hashlib release the interpreter's lock while they work, so threads use all cores. At any time memory holds,
for each worker, one file's bytes and its decoded frames, and behind them at most `depth` prepared pictures (the small
arrays that the models want, 3 * size * size bytes each): it does not grow with the number or the size of the files
beyond the largest picture allowed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from image_similarity.indexing.taskset import THUMBNAIL_PREPROCESS
from image_similarity.matching import pdq
from image_similarity.matching.pdq import PdqHash
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Contents, Left, is_settled, read_file
from image_similarity.pictures.walk import FileEntry
from image_similarity.store.batch import NewContent, SeenFile
from image_similarity.values import Failure, Preprocess, Skipped, Stage

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read: its place and content, and its pixels for each preprocessing that is wanted.

    `content` is None when nothing had to be decoded, because the database knows the content completely. `pdq` is its
    PDQ hash, if that is wanted, and `thumbnail` a JPEG file, if that is.
    """

    file: SeenFile
    content: NewContent | None = None
    pixels: Mapping[Preprocess, Pixels] = field(default_factory=dict)
    pdq: PdqHash | None = None
    thumbnail: bytes | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that was read and holds nothing that can be taken; `sha256` is what it holds."""

    failure: Failure
    sha256: str


Outcome = Loaded | Skipped | Failure | Refused

# What the database's integers hold. NTFS counts from 1601 and ext4 to 2446, which in nanoseconds is beyond that.
EARLIEST_NS, LATEST_NS = -(2**63), 2**63 - 1
NO_BYTES = hashlib.sha256(b"", usedforsecurity=False).hexdigest()

# Says, by SHA-256, which preprocessings of a content are still wanted; asked from the worker threads.
Wanted = Callable[[str], Collection[Preprocess]]


# Gives a file's contents with its access and change times as they were before it was opened, where these are known.
Reading = Callable[[FileEntry], tuple[Contents | Left, int | None, int | None]]


@dataclass(frozen=True, slots=True)
class InHand:
    """A picture file that was read and hashed, and is not decoded yet; `stamp` as a failure would record its time."""

    entry: FileEntry
    file: SeenFile
    contents: Contents
    stamp: int | None


def load(entry: FileEntry, wanted: Wanted, *, max_pixels: int, careful: bool = False) -> Outcome:
    """Read one file once, hash it, and decode it if anything of it is wanted; see `decode_for` for `careful`."""
    found = take(entry)
    if not isinstance(found, InHand):
        return found
    return decode(found, wanted(found.file.sha256), max_pixels=max_pixels, careful=careful)


def from_disk(entry: FileEntry) -> tuple[Contents | Left, int | None, int | None]:
    """Read a file of this machine's."""
    times = os.stat(entry.os_path)  # noqa: PTH116 - before the file is opened, so that its access time is as found
    return read_file(entry.os_path), times.st_atime_ns, times.st_ctime_ns


def take(entry: FileEntry, read: Reading = from_disk) -> InHand | Skipped | Failure | Refused:
    """Read one file once and hash it."""
    stamp = _lasting(entry.mtime_ns)
    try:
        contents, atime_ns, ctime_ns = read(entry)
    except (PictureError, OSError, MemoryError) as error:
        return _not_taken(entry, error, stamp, "")
    if isinstance(contents, Left):
        kind = contents.kind
        lasting = _lasting(contents.mtime_ns)
        return Skipped(entry.path, kind.rule, kind.kind, contents.size, lasting)
    file = SeenFile(
        path=entry.path,
        sha256=contents.digests.sha256,
        size=contents.size,
        mtime_ns=_storable(contents.mtime_ns),
        atime_ns=None if atime_ns is None else _storable(atime_ns),
        ctime_ns=None if ctime_ns is None else _storable(ctime_ns),
        settled=contents.settled,
    )
    return InHand(entry, file, contents, stamp)


def decode(
    found: InHand, preprocessings: Collection[Preprocess], *, max_pixels: int, careful: bool = False
) -> Outcome:
    """Decode what was read, if anything of it is wanted."""
    if not preprocessings:
        return Loaded(found.file)
    contents = found.contents
    try:
        facts, pixels = decode_for(
            contents.data, preprocessings, max_pixels=max_pixels, careful=careful
        )
        # Here: the hash is a thousandth of the pixels that it is taken from, and they need not wait for the network.
        hashed = pdq.hash_pixels(pixels.pop(pdq.PREPROCESS)) if pdq.PREPROCESS in pixels else None
        small = _thumbnail(pixels.pop(THUMBNAIL_PREPROCESS, None))
    except (PictureError, OSError, MemoryError) as error:
        return _not_taken(found.entry, error, found.stamp, contents.digests.sha256)
    content = NewContent(contents.digests, contents.size, facts)
    return Loaded(found.file, content, pixels, hashed, small)


def _not_taken(
    entry: FileEntry,
    error: PictureError | OSError | MemoryError,
    stamp: int | None,
    sha256: str,
) -> Failure | Refused:
    """What is recorded of a file that could not be read or decoded; `sha256` is empty if its bytes are not known."""
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        return _failure(entry, "stat", type(error).__name__, reason, stamp)
    if isinstance(error, MemoryError):
        message = "not enough memory for it"
        failure = _failure(entry, "decode", "MemoryError", message, stamp, sha256)
    else:
        if error.error == "Empty":
            sha256 = NO_BYTES
        elif error.error == "Changed":
            # Its size and time may be as the walk found them once it has come to rest.
            stamp = None
        failure = _failure(entry, error.stage, error.error, error.message, stamp, sha256)
    return Refused(failure, sha256) if sha256 else failure


def _thumbnail(pixels: Pixels | None) -> bytes | None:
    if pixels is None:
        return None
    from image_similarity.pictures.thumbnail import of_pixels

    return of_pixels(pixels)


def _failure(
    entry: FileEntry, stage: Stage, error: str, message: str, stamp: int | None, sha256: str = ""
) -> Failure:
    return Failure(
        entry.path, stage, error, message, size=entry.size, mtime_ns=stamp, sha256=sha256 or None
    )


def _storable(time_ns: int) -> int:
    return max(EARLIEST_NS, min(LATEST_NS, time_ns))


def _lasting(mtime_ns: int) -> int | None:
    """The time by which a later run recognises a file that was not taken; None if it may still be being written."""
    return mtime_ns if mtime_ns >= EARLIEST_NS and is_settled(mtime_ns, time.time_ns()) else None


def read_ahead(
    entries: Iterable[FileEntry],
    load_one: Callable[[FileEntry], Outcome],
    *,
    workers: int,
    depth: int,
) -> Generator[Outcome, None, None]:
    """Give the outcome of each entry in order, at most `depth` of them read ahead."""
    waiting: deque[Future[Outcome]] = deque()
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="loader")
    try:
        for entry in entries:
            waiting.append(pool.submit(load_one, entry))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
