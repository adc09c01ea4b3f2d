"""Measure queries over a large database, warm and from the command line, and against the earlier system.

    python scripts/bench_search.py [-m builtin] [--count 36500] [--quick]

The vectors are generated: unit vectors in clusters, each cluster with a scene. Ours have the
model's dimension and scenes, those of the earlier system (earlier_system.py) 4096 dimensions and
365 scenes, as it stored them. At the end both are asked the same queries over the same vectors, and
must give the same order. Markdown on stdout. Needs 4 GB of disk at 36,500 pictures, in TMPDIR.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import earlier_system
import numpy as np
from benchmark import ROOT, DirectWriter, machine, median_of, seconds_of, table
from PIL import Image

from image_similarity import Case
from image_similarity.encoding import registry
from image_similarity.search import Searcher, SearchRequest
from image_similarity.store.batch import BatchRows, NewContent, SeenFile
from image_similarity.store.catalog import Catalog
from image_similarity.values import Digests, ModelInfo, PictureFacts

BLOCK = 500
PICTURES_PER_CLUSTER = 20
# Probabilities of a picture's scenes, most probable first: a confident classifier's.
PROBABILITIES = (0.6, 0.2, 0.1, 0.05, 0.03)
QUERIES = 20
K = 10
FLOOR = "import numpy, sqlalchemy, click"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--model", default="builtin")
    parser.add_argument("--count", type=int, default=36_500)
    parser.add_argument("--repeats", type=int, default=7, help="of each command")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few vectors, once: a trial")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.count, arguments.repeats = 600, 1
    return arguments


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


def show_speed(arguments: argparse.Namespace, info: ModelInfo, work: Path) -> None:
    """Measure both systems over as many pictures and print the table."""
    assert info.dim is not None  # noqa: S101 - an embedding model was asked for
    pictures = make_pictures(work / "pictures", arguments.count, arguments.seed)
    ours, theirs = work / "case.db", work / "earlier.db"
    blocks = vectors_in_blocks(pictures.clusters, info.dim, arguments.seed)
    write_ours(ours, pictures, info, arguments.model, blocks)
    blocks = vectors_in_blocks(pictures.clusters, earlier_system.DIMENSIONS, arguments.seed)
    write_earlier(theirs, pictures, earlier_system.SCENES, blocks)
    print(f"Size: ours {size_of(ours)}, the earlier system's {size_of(theirs)}.\n")

    loop, searched = time_earlier(theirs, pictures)
    weights = earlier_system.write_weights(earlier_system.new_scene_network(), work / "scenes.pth")
    scene = median_of(
        arguments.repeats, lambda: earlier_system.scene_of(pictures.queries[0], weights)
    )
    rows: list[tuple[str, str, float, float | None]] = [
        ("earlier system: loop over the JSON rows of one scene", f"{searched:,}", loop, loop),
        ("earlier system: the same with its scene network", f"{searched:,}", loop + scene, None),
    ]
    for mode in ("auto", "hard", "off"):
        warm, count = time_warm(ours, pictures, mode)
        rows.append((f"ours, warm, `scene={mode!r}`", f"{count:,}", warm, loop))
    again = time_opening(ours, pictures)
    rows.append(("ours, `Case.search`: vectors read anew each time", "", again, loop))
    cold = time_command(arguments.repeats, *query_command(pictures.queries[0], ours))
    rows.append(("ours, command `query`, picture known", "", cold, loop + scene))
    unknown = work / "unknown.jpg"
    write_noise(unknown, np.random.default_rng(arguments.seed + 1))
    new = time_command(arguments.repeats, *query_command(unknown, ours))
    rows.append(("ours, command `query`, picture new: loads the network", "", new, None))
    floor = time_command(arguments.repeats, "-c", FLOOR)
    rows.append((f"floor of any command: `python -c {FLOOR!r}`", "", floor, None))
    print(
        table(
            ["query", "pictures compared", "time", "earlier / ours"],
            [
                [name, count, milliseconds(time), f"{base / time:,.1f}" if base else ""]
                for name, count, time, base in rows
            ],
        )
    )


def size_of(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:,.0f} MB"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


def time_earlier(database: Path, pictures: Pictures) -> tuple[float, int]:
    """Return the median time of a query in the earlier system and how many pictures it compared, in the median."""
    scenes = pictures.clusters % earlier_system.SCENES
    times, counts = [], []
    for path, scene in zip(pictures.queries, scenes, strict=False):
        ask = partial(earlier_system.search, database, str(path), f"scene-{scene}", K)
        times.append(seconds_of(ask))
        counts.append(int((scenes == scene).sum()) - 1)
    return statistics.median(times), int(statistics.median(counts))


def time_warm(database: Path, pictures: Pictures, mode: str) -> tuple[float, int]:
    """Return the median time of a query to an opened database and how many pictures it compared, in the median."""
    catalog = Catalog.open(database, read_only=True)
    counts = []
    searcher = Searcher([catalog], SearchRequest(k=K, scene=(mode,)))
    searcher.answer_picture(pictures.queries[-1])
    queries = cycle(pictures.queries)

    def ask() -> None:
        counts.append(searcher.answer_picture(next(queries)).filter.searched)

    time = median_of(len(pictures.queries) * 2, ask)
    catalog.close()
    return time, int(statistics.median(counts))


def time_opening(database: Path, pictures: Pictures) -> float:
    """Return the median time of a query through `Case.search`, which keeps nothing between two queries."""
    with Case.open(database, read_only=True) as case:
        return median_of(7, lambda: case.search(pictures.queries[0], k=K))


def query_command(picture: Path, database: Path) -> list[str]:
    """Return the arguments of Python for our command."""
    options = ["-dp", database, "-k", K, "--format", "json"]
    return ["-m", "image_similarity", "query", *map(str, [picture, *options])]


def time_command(repeats: int, *arguments: str) -> float:
    """Return the median time of a Python process; of several, one more comes first and fills the caches."""

    def call() -> None:
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True)
        if done.returncode:
            raise SystemExit(done.stderr.decode())

    if repeats > 1:
        call()
    return median_of(repeats, call)


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


def main() -> None:
    arguments = parse_arguments()
    info = registry.info(registry.get(arguments.model))
    print(f"{machine()}; model {Path(arguments.model).stem}, {info.dim} dimensions")
    print(f"{arguments.count:,} pictures; medians of {QUERIES} queries, k = {K}\n")
    with tempfile.TemporaryDirectory() as work:
        show_speed(arguments, info, Path(work))
    with tempfile.TemporaryDirectory() as work:
        same, asked = count_same_orders(info, arguments.model, arguments.seed, Path(work))
    print(f"Same order on the same vectors: {same} of {asked} queries.")


if __name__ == "__main__":
    main()
