"""Files to prepared pictures, read and decoded ahead of the network by threads, in bounded memory.

Pillow and hashlib release the interpreter's lock while they work, so threads use all cores. At any time memory holds,
for each worker, one file's bytes and its decoded frames, and behind them at most `depth` prepared pictures (the small
arrays that the models want, 3 * size * size bytes each): it does not grow with the number or the size of the files
beyond the largest picture allowed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Left, read_file
from image_similarity.pictures.walk import FileEntry
from image_similarity.store.batch import NewContent, SeenFile
from image_similarity.values import Failure, Preprocess, Skipped

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read: its place and content, and its pixels for each preprocessing that is wanted.

    `content` is None when nothing had to be decoded, because the database knows the content completely.
    """

    file: SeenFile
    content: NewContent | None = None
    pixels: Mapping[Preprocess, Pixels] = field(default_factory=dict)


Outcome = Loaded | Skipped | Failure

# Says, by SHA-256, which preprocessings of a content are still wanted; asked from the worker threads.
Wanted = Callable[[str], Collection[Preprocess]]


def load(entry: FileEntry, wanted: Wanted, *, max_pixels: int) -> Outcome:
    """Read one file once, hash it, and decode it if anything of it is wanted."""
    try:
        times = os.stat(entry.os_path)  # noqa: PTH116 - before the file is opened, so that its access time is as found
        contents = read_file(entry.os_path)
        if isinstance(contents, Left):
            return Skipped(
                entry.path, contents.kind.rule, contents.kind.kind, contents.size, contents.mtime_ns
            )
        digests = contents.digests
        file = SeenFile(
            path=entry.path,
            sha256=digests.sha256,
            size=contents.size,
            mtime_ns=contents.mtime_ns,
            atime_ns=times.st_atime_ns,
            ctime_ns=times.st_ctime_ns,
            settled=contents.settled,
        )
        preprocessings = wanted(digests.sha256)
        if not preprocessings:
            return Loaded(file)
        facts, pixels = decode_for(contents.data, preprocessings, max_pixels=max_pixels)
    except PictureError as error:
        return Failure(
            entry.path,
            error.stage,
            error.error,
            error.message,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Failure(
            entry.path,
            "stat",
            type(error).__name__,
            reason,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
        )
    return Loaded(file, NewContent(digests, contents.size, facts), pixels)


def read_ahead(
    entries: Iterable[FileEntry],
    load_one: Callable[[FileEntry], Outcome],
    *,
    workers: int,
    depth: int,
) -> Iterator[Outcome]:
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
