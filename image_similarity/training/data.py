"""Labelled pictures for training: listings, the held-out split and the decoded cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from image_similarity.encoding.training_hashes import HASH_BYTES
from image_similarity.evaluation.sources import read_class_names

Progress = Callable[[str], None]

# Pictures per task sent to a decoding process: large enough to hide the cost of sending.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Listing:
    """Names of pictures, relative to a data folder, with the class number of each."""

    names: tuple[str, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


def read_listing(path: Path) -> Listing:
    """Return the pictures of a MiniPlaces list: one `name class-number` per line."""
    rows = [line.rsplit(" ", 1) for line in path.read_text(encoding="utf-8").splitlines() if line]
    labels = np.array([int(label) for _, label in rows], dtype=np.int64)
    return Listing(tuple(name for name, _ in rows), labels)


def read_scene_names(path: Path) -> tuple[str, ...]:
    """Return plain scene names in class order from a MiniPlaces categories file.

    `/b/bakery/shop 10` becomes `bakery shop` and `/a/art_gallery 6` becomes `art gallery`.
    """
    names = {int(number): name for number, name in read_class_names(path).items()}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"the class numbers in {path.name} are not 0 to {len(names) - 1}")
    return tuple(names[number] for number in range(len(names)))


def choose_heldout(listing: Listing, *, per_scene: int, seed: int) -> tuple[str, ...]:
    """Return `per_scene` names of every class, drawn with `seed`, in sorted order."""
    generator = np.random.default_rng(seed)
    chosen: list[str] = []
    for label in np.unique(listing.labels):
        rows = np.flatnonzero(listing.labels == label)
        chosen += [listing.names[row] for row in generator.permutation(rows)[:per_scene]]
    return tuple(sorted(chosen))


def split_heldout(
    listing: Listing, heldout: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row numbers to train on and the row numbers held out, both ascending.

    Raises:
        ValueError: a held-out name is not in the listing, so the split would leak.
    """
    unknown = set(heldout) - set(listing.names)
    if unknown:
        raise ValueError(f"{len(unknown)} held-out names are not in the listing")
    names = set(heldout)
    is_heldout = np.array([name in names for name in listing.names], dtype=bool)
    return np.flatnonzero(~is_heldout), np.flatnonzero(is_heldout)


def read_picture(path: Path | BinaryIO, *, size: int) -> NDArray[np.uint8]:
    """Return one picture as uint8 RGB (size, size, 3): upright, whole frame squashed, bicubic.

    `path` is a file's, or an open one. This is the preprocessing of the built-in model; inference must do the same.
    """
    with Image.open(path) as image:
        picture = ImageOps.exif_transpose(image).convert("RGB")
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.uint8)


def open_picture_cache(
    root: Path,
    names: Sequence[str],
    cache: Path,
    *,
    size: int,
    workers: int = 2,
    progress: Progress | None = None,
) -> NDArray[np.uint8]:
    """Return pictures as a read-only uint8 memory map (N, size, size, 3), decoding them once.

    The map is written to `cache` the first time. It is trusted as long as its shape fits, so
    give every listing a cache file of its own.
    """
    shape = (len(names), size, size, 3)
    if not (cache.exists() and np.load(cache, mmap_mode="r").shape == shape):
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial")
        pictures = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        start = 0
        for block in _decode_blocks(root, names, size=size, workers=workers):
            pictures[start : start + len(block)] = block
            start += len(block)
            if progress is not None:
                progress(f"decoded {start} of {len(names)} pictures")
        pictures.flush()
        # Renamed only when complete: an interrupted run must not leave a cache of black pictures.
        partial.replace(cache)
    result: NDArray[np.uint8] = np.load(cache, mmap_mode="r")
    return result


def open_hash_cache(root: Path, names: Sequence[str], cache: Path) -> NDArray[np.uint8]:
    """Return the first 8 bytes of the SHA-256 of each file, uint8 (N, 8), calculating them once.

    As with pictures, a cache is trusted as long as its shape fits.
    """
    shape = (len(names), HASH_BYTES)
    if not (cache.exists() and np.load(cache, mmap_mode="r").shape == shape):
        cache.parent.mkdir(parents=True, exist_ok=True)
        digests = (hashlib.sha256((root / name).read_bytes()).digest() for name in names)
        joined = b"".join(digest[:HASH_BYTES] for digest in digests)
        np.save(cache, np.frombuffer(joined, np.uint8).reshape(shape))
    hashes: NDArray[np.uint8] = np.load(cache)
    return hashes


def _decode_blocks(
    root: Path, names: Sequence[str], *, size: int, workers: int
) -> Iterator[NDArray[np.uint8]]:
    """Give the decoded pictures in order, in blocks."""
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    tasks = [(root, tuple(chunk), size) for chunk in chunks]
    if workers <= 1:
        yield from map(_decode_block, tasks)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_decode_block, tasks)


def _decode_block(task: tuple[Path, tuple[str, ...], int]) -> NDArray[np.uint8]:
    root, names, size = task
    return np.stack([read_picture(root / name, size=size) for name in names])
