"""The earlier system beside ours on the same generated pictures: is its order ours, and how long does it take?

The vectors are generated: unit vectors in clusters, each cluster with a scene. The earlier system's (earlier_system.py)
have 4096 dimensions and 365 scenes, as it stored them.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import earlier_system
import numpy as np
from benchmark import DirectWriter, seconds_of
from PIL import Image

from image_similarity import Case
from image_similarity.store.batch import BatchRows, NewContent, SeenFile
from image_similarity.values import Digests, ModelInfo, PictureFacts

BLOCK = 500
PICTURES_PER_CLUSTER = 20
# Probabilities of a picture's scenes, most probable first: a confident classifier's.
PROBABILITIES = (0.6, 0.2, 0.1, 0.05, 0.03)
QUERIES = 20
K = 10


@dataclass(frozen=True, slots=True)
class Pictures:
    """Generated pictures: their paths below one folder and the cluster of each; the first few exist as files."""

    root: Path
    paths: list[Path]
    clusters: np.ndarray
    queries: list[Path]


def make_pictures(root: Path, count: int, seed: int) -> Pictures:
    """Name the pictures and write those that will be the queries, spread over the clusters."""
    random = np.random.default_rng(seed)
    clusters = random.integers(max(2, count // PICTURES_PER_CLUSTER), size=count)
    paths = [root / f"{number // 1000:03d}" / f"{number:06d}.jpg" for number in range(count)]
    queries = paths[: min(QUERIES, count)]
    for path in queries:
        write_noise(path, random)
    return Pictures(root, paths, clusters, queries)


def write_noise(path: Path, random: np.random.Generator) -> None:
    """Write a picture of 500 x 375 pixels that is not empty and not like the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(random.integers(256, size=(15, 20, 3), dtype=np.uint8))
    small.resize((500, 375)).save(path, quality=90)


def vectors_in_blocks(clusters: np.ndarray, dim: int, seed: int) -> Iterator[np.ndarray]:
    """Give float32 unit vectors, block by block; those of a cluster lie around its centre."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((clusters.max() + 1, dim)).astype(np.float32)
    for start in range(0, len(clusters), BLOCK):
        block = centres[clusters[start : start + BLOCK]]
        block = block + 0.8 * random.standard_normal(block.shape).astype(np.float32)
        yield block / np.linalg.norm(block, axis=1, keepdims=True)


def digests_of(path: Path) -> Digests:
    """Return the hashes of a file's bytes, or of its name if there is no such file."""
    data = path.read_bytes() if path.is_file() else str(path).encode()
    return Digests(*(hashlib.new(name, data).hexdigest() for name in ("sha256", "sha1", "md5")))


def write_ours(
    database: Path, pictures: Pictures, info: ModelInfo, model: str, blocks: Iterator[np.ndarray]
) -> None:
    """Write the pictures into a database of ours; the cluster decides the scenes, its number the first of them."""
    writer = DirectWriter(database, pictures.root, info, model)
    facts = PictureFacts(500, 375, "JPEG", "image/jpeg")
    random = np.random.default_rng(0)
    start = 0
    for block in blocks:
        rows = BatchRows()
        for path, cluster, vector in zip(
            pictures.paths[start:], pictures.clusters[start:], block, strict=False
        ):
            digests = digests_of(path)
            relative = str(path.relative_to(pictures.root))
            rows.contents.append(NewContent(digests, 100_000, facts))
            rows.files.append(SeenFile(relative, digests.sha256, 100_000, 0, None, None, True))
            rows.vectors.append((writer.model_id, digests.sha256, vector.astype("<f2").tobytes()))
            labels = scenes_of(cluster, len(info.scenes), info.scene_top_k, random)
            chosen = [writer.scene_ids[position] for position in labels]
            rows.scenes.append(
                (writer.model_id, digests.sha256, list(zip(chosen, PROBABILITIES, strict=False)))
            )
        writer.write(rows)
        start += len(block)
    writer.close()


def scenes_of(cluster: int, count: int, top_k: int, random: np.random.Generator) -> list[int]:
    """Return a picture's scenes: that of its cluster, then others at random."""
    others = random.permutation(count - 1)[: min(top_k, len(PROBABILITIES)) - 1]
    return [cluster % count, *((cluster + 1 + others) % count).tolist()]


def write_earlier(
    database: Path, pictures: Pictures, scenes: int, blocks: Iterator[np.ndarray]
) -> None:
    """Write the pictures into a database of the earlier system."""
    vectors = (vector for block in blocks for vector in block.tolist())
    names = (f"scene-{cluster % scenes}" for cluster in pictures.clusters)
    paths = map(str, pictures.paths)
    earlier_system.write(database, zip(paths, vectors, names, strict=True))


def time_earlier(database: Path, pictures: Pictures) -> tuple[float, int]:
    """Return the median time of a query in the earlier system and how many pictures it compared, in the median."""
    scenes = pictures.clusters % earlier_system.SCENES
    times, counts = [], []
    for path, scene in zip(pictures.queries, scenes, strict=False):
        ask = partial(earlier_system.search, database, str(path), f"scene-{scene}", K)
        times.append(seconds_of(ask))
        counts.append(int((scenes == scene).sum()) - 1)
    return statistics.median(times), int(statistics.median(counts))


def count_same_orders(info: ModelInfo, model: str, seed: int, work: Path) -> tuple[int, int]:
    """Ask both systems the same queries over the same vectors; return how many answers agree, of how many.

    The vectors are those that we store, and the filter is the one scene of each picture.
    """
    assert info.dim is not None  # noqa: S101 - an embedding model was asked for
    pictures = make_pictures(work / "pictures", 600, seed)
    blocks = [
        block.astype(np.float16).astype(np.float64)
        for block in vectors_in_blocks(pictures.clusters, info.dim, seed)
    ]
    ours, theirs = work / "case.db", work / "earlier.db"
    write_ours(ours, pictures, info, model, iter(blocks))
    write_earlier(theirs, pictures, len(info.scenes), iter(blocks))
    same = 0
    with Case.open(ours, read_only=True) as case:
        for path, cluster in zip(pictures.queries, pictures.clusters, strict=False):
            scene = f"scene-{cluster % len(info.scenes)}"
            expected = earlier_system.search(theirs, str(path), scene, K)
            result = case.search(path, k=K, scene="hard")
            found = [
                (hit.distance, str(Path(hit.place.root, hit.place.path))) for hit in result.hits
            ]
            same += agree(found, expected)
    return same, len(pictures.queries)


def agree(found: Sequence[tuple[float, str]], expected: Sequence[tuple[float, str]]) -> bool:
    """Whether two rankings have the same pictures in the same order, at the same distances."""
    if [path for _, path in found] != [path for _, path in expected]:
        return False
    return bool(np.allclose([d for d, _ in found], [d for d, _ in expected], rtol=0, atol=1e-12))
