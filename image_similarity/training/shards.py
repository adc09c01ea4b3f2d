"""Labelled pictures straight from tar files: nothing is unpacked to disk but decoded pixels."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from image_similarity.encoding.training_hashes import HASH_BYTES
from image_similarity.training.data import Listing, Progress, read_picture

# Files sent to a decoding process at a time: about half a megabyte.
_CHUNK = 200

Decoded = tuple[list[str], NDArray[np.uint8], bytes]


def open_shard_cache(
    shards: Sequence[Path],
    listing: Listing,
    folder: Path,
    *,
    size: int,
    workers: int = 2,
    progress: Progress | None = None,
) -> tuple[Listing, NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the listed pictures that the shards hold, decoding them once.

    Given are the part of the listing, in its order; the pictures as a read-only uint8 memory map
    (N, size, size, 3); and the first 8 bytes of the SHA-256 of each file, uint8 (N, 8). Pictures and
    hashes are kept in `folder` under a name that belongs to these pictures at this size. Members
    that are not listed are passed over.

    Raises:
        ValueError: the shards hold none of the listed pictures.
    """
    held = {name for shard in shards for name in _names(shard)}
    rows = np.array([row for row, name in enumerate(listing.names) if name in held], dtype=np.int64)
    if len(rows) == 0:
        raise ValueError("the shards hold none of the listed pictures")
    part = Listing(tuple(listing.names[row] for row in rows), listing.labels[rows])
    mark = hashlib.sha256("\n".join(part.names).encode()).hexdigest()[:12]
    pictures_file = folder / f"shards-{mark}-{size}.npy"
    hashes_file = folder / f"shards-{mark}-sha256.npy"
    if not (pictures_file.exists() and hashes_file.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        hashes = _decode_into(
            pictures_file.with_suffix(".partial"), shards, part, size, workers, progress
        )
        np.save(hashes_file, hashes)
        # Renamed last: an interrupted run must not leave a cache of black pictures.
        pictures_file.with_suffix(".partial").replace(pictures_file)
    return part, np.load(pictures_file, mmap_mode="r"), np.load(hashes_file)


def _decode_into(
    path: Path,
    shards: Sequence[Path],
    part: Listing,
    size: int,
    workers: int,
    progress: Progress | None,
) -> NDArray[np.uint8]:
    """Write the decoded pictures in the listing's order; return the hashes of their files."""
    row_of = {name: row for row, name in enumerate(part.names)}
    pictures = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(len(part), size, size, 3)
    )
    hashes = np.zeros((len(part), HASH_BYTES), np.uint8)
    files = (file for shard in shards for file in _files(shard, row_of))
    done = 0
    for names, block, digests in _decoded(files, size=size, workers=workers):
        rows = [row_of[name] for name in names]
        pictures[rows] = block
        hashes[rows] = np.frombuffer(digests, np.uint8).reshape(-1, HASH_BYTES)
        done += len(names)
        if progress is not None:
            progress(f"decoded {done} of {len(part)} pictures")
    pictures.flush()
    return hashes


def _decoded(files: Iterator[tuple[str, bytes]], *, size: int, workers: int) -> Iterator[Decoded]:
    """Give the files' names, pictures and hashes in blocks."""
    chunks = iter(lambda: tuple(islice(files, _CHUNK)), ())
    if workers <= 1:
        yield from (_decode_chunk(chunk, size) for chunk in chunks)
        return
    waiting: deque[Future[Decoded]] = deque()
    with ProcessPoolExecutor(workers) as pool:
        for chunk in chunks:
            waiting.append(pool.submit(_decode_chunk, chunk, size))
            # No more in flight than keeps all processes busy: the shards must not pile up in memory.
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode_chunk(chunk: Sequence[tuple[str, bytes]], size: int) -> Decoded:
    pictures = [read_picture(io.BytesIO(data), size=size) for _, data in chunk]
    digests = b"".join(hashlib.sha256(data).digest()[:HASH_BYTES] for _, data in chunk)
    return [name for name, _ in chunk], np.stack(pictures), digests


def _names(shard: Path) -> list[str]:
    """Return the names of the regular files in a tar file."""
    with tarfile.open(shard, "r:") as archive:
        return [member.name for member in archive if member.isreg()]


def _files(shard: Path, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Give name and bytes of the wanted files in a tar file, in its order."""
    with tarfile.open(shard, "r:") as archive:
        for member in archive:
            if member.isreg() and member.name in wanted:
                file = archive.extractfile(member)
                assert file is not None  # noqa: S101 - it is a regular file
                yield member.name, file.read()
