"""The vectors that bench_search.py searches in, and the databases that hold them; kept in a folder for the next time.

Clustered: 1,000 Gaussian clusters of 48 intrinsic dimensions, turned into 256, with a little noise in all of these.
Real: what a model says of pictures, or a file of such vectors; enlarged with jitter where there are too few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import synthetic_database
from benchmark import pictures_below
from synthetic_database import Block

DIM = 256
CLUSTERS = 1_000
INTRINSIC = 48
# Within a cluster, and in the dimensions that carry nothing.
SPREAD = 0.5
NOISE = 0.02
# How far a copy of a real vector lies from it, as a share of its length: as two photographs of one burst.
JITTER = 0.2
SCENES = 100
LABELS = len(synthetic_database.PROBABILITIES)
BLOCK = 8192


def clustered(count: int, seed: int = 1) -> Iterator[np.ndarray]:
    """Give float16 unit vectors (n, 256) in blocks, in all `count`; a smaller count is the beginning of a larger."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.standard_normal((DIM, INTRINSIC)))[0].astype(np.float32)
    centres = random.standard_normal((CLUSTERS, INTRINSIC), dtype=np.float32)
    for start in range(0, count, BLOCK):
        inner = SPREAD * random.standard_normal((BLOCK, INTRINSIC), dtype=np.float32)
        inner += centres[random.integers(CLUSTERS, size=BLOCK)]
        vectors = inner @ turn.T
        vectors += NOISE * random.standard_normal((BLOCK, DIM), dtype=np.float32)
        yield _unit(vectors)[: count - start]


def enlarged(real: np.ndarray, count: int, seed: int = 1) -> Iterator[np.ndarray]:
    """Give float16 unit vectors in blocks: the real ones in random order, then copies of them with jitter."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(real))
    for start in range(0, count, BLOCK):
        numbers = np.arange(start, min(start + BLOCK, count))
        vectors = real[order[numbers % len(real)]].astype(np.float32)
        noise = random.standard_normal(vectors.shape, dtype=np.float32)
        noise *= JITTER / np.sqrt(vectors.shape[1])
        noise[numbers < len(real)] = 0
        yield _unit(vectors + noise)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


def labelled(blocks: Iterator[np.ndarray], seed: int = 2) -> Iterator[Block]:
    """Give each picture LABELS scenes; the first is that of the direction in which its vector lies."""
    random = np.random.default_rng(seed)
    directions = None
    for vectors in blocks:
        if directions is None:
            directions = random.standard_normal((vectors.shape[1], SCENES), dtype=np.float32)
        likely = vectors.astype(np.float32) @ directions
        top = np.argpartition(-likely, LABELS, axis=1)[:, :LABELS]
        order = np.argsort(-np.take_along_axis(likely, top, axis=1), axis=1)
        yield Block(vectors, np.take_along_axis(top, order, axis=1))


@dataclass(frozen=True, slots=True)
class Work:
    """The folder that keeps vectors and databases, and the real vectors to make them of, float16 (n, dim)."""

    folder: Path
    real: np.ndarray

    def blocks(self, kind: str, count: int) -> Iterator[np.ndarray]:
        """Give the vectors of a kind, "clustered" or "real"."""
        return clustered(count) if kind == "clustered" else enlarged(self.real, count)

    def vectors(self, kind: str, count: int) -> np.ndarray:
        """Give them in one array that is mapped from a file."""
        path = self.folder / f"{kind}-{count}.npy"
        if not path.exists():
            partial = path.with_suffix(".partial")
            dim = DIM if kind == "clustered" else self.real.shape[1]
            array = np.lib.format.open_memmap(
                partial, mode="w+", dtype=np.float16, shape=(count, dim)
            )
            at = 0
            for block in self.blocks(kind, count):
                array[at : at + len(block)] = block
                at += len(block)
            array.flush()
            partial.rename(path)
        return np.load(path, mmap_mode="r")

    def database(self, kind: str, count: int) -> Path:
        """Give a database of ours with them, all packed; picture n has the SHA-256 `sha256_of(n)`."""
        path = self.folder / f"{kind}-{count}.db"
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            dim = DIM if kind == "clustered" else self.real.shape[1]
            info = synthetic_database.model_info(dim, SCENES)
            synthetic_database.write(partial, info, labelled(self.blocks(kind, count)))
            partial.rename(path)
        return path


def read_real(file: Path | None, pictures: Path | None, model: str, limit: int) -> np.ndarray:
    """Give real vectors, float16 (n, dim), without exact repetitions.

    From `file` if it exists; else `limit` of the pictures below a folder are embedded, and `file` is written.
    """
    if file is not None and file.is_file():
        found = np.load(file)
    elif pictures is not None:
        found = embedded(pictures, model, limit)
        if file is not None:
            np.save(file, found)
    else:
        raise SystemExit("give real vectors: --vectors FILE.npy, or --pictures DIR to make them of")
    return np.unique(found[np.isfinite(found).all(axis=1)], axis=0)


def embedded(folder: Path, model: str, limit: int) -> np.ndarray:
    """Embed pictures below a folder, drawn at random if there are more than `limit`."""
    from image_similarity.encoding import registry
    from image_similarity.encoding.encoder import Encoder
    from image_similarity.pictures.picture_error import PictureError
    from image_similarity.pictures.prepared import decode_for
    from image_similarity.settings import MAX_MEGAPIXELS

    paths = pictures_below(folder)
    if len(paths) > limit:
        paths = np.random.default_rng(1).choice(np.array(paths), limit, replace=False).tolist()
    spec = registry.get(model)
    wanted = registry.info(spec).preprocess
    encoder = Encoder.load(spec, device="cpu")
    found, batch = [], []
    for number, path in enumerate(paths, start=1):
        try:
            most = int(MAX_MEGAPIXELS * 1e6)
            batch.append(decode_for(path.read_bytes(), {wanted}, max_pixels=most)[1][wanted])
        except PictureError:
            continue
        finally:
            if batch and (len(batch) == 64 or number == len(paths)):
                found.append(encoder.encode(np.stack(batch)).vectors.astype(np.float16))
                batch = []
    return np.concatenate(found)
