"""Measure `analyse neighbours` over 36,500 pictures against scikit-learn's ball tree and Annoy.

    python scripts/bench_neighbours.py [--count 36500] [-k 5] [--vectors FILE.npy] [--quick]

The vectors are those of bench_search.py, clustered, and with --vectors (float16 in an .npy file) real ones. Time is
the processor's, all threads added up, so that a busy machine changes little; it is given as a ratio to ours, which is
the whole of `Case.neighbours`: reading the database, computing, writing HDF5. The others get the vectors in memory.
What takes very long is timed with some of the queries, and said so. Recall is against the exact answer. Annoy is no
dependency of ours: without it its rows are left out. Markdown on stdout.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import machine, table
from search_data import Work, read_real

from image_similarity.case import Case

HEADER = ("way", "queries timed", "built in, times ours", "all queries, times ours", "recall@k")
# Trees, and nodes looked at for each neighbour and tree: Annoy's default is one.
ANNOY = ((10, 1), (50, 1), (50, 10))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=36_500)
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--vectors", type=Path, help="real vectors, float16 (n, dim)")
    parser.add_argument("--some", type=int, default=1_000, help="queries of what takes very long")
    parser.add_argument("--quick", action="store_true", help="few vectors: a trial")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.count, arguments.some = 1_200, 50
    return arguments


def cpu_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the processor, of all threads, and what the work gave."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def ours(database: Path, folder: Path, k: int, **asked: Any) -> tuple[float, np.ndarray]:
    """The time of the whole, and the neighbours in the order of the database."""
    import h5py
    from synthetic_database import sha256_of

    target = folder / "ours.h5"
    with Case.open(database, read_only=True) as case:
        seconds, report = cpu_of(lambda: case.neighbours(target, k=k, overwrite=True, **asked))
    print(f"<!-- {asked or 'exact'}: {report.search}, recall {report.recall} -->")
    if "under" in asked:
        return seconds, np.empty((0, k))
    with h5py.File(target, "r") as file:
        numbers, names = file["neighbours"][:], file["sha256"][:]
    number_of = {sha256_of(number).encode(): number for number in range(len(names))}
    own = np.array([number_of[name] for name in names])
    found = np.full(numbers.shape, -1)
    found[own] = np.where(numbers < 0, -1, own[numbers])
    return seconds, found


def recall(found: np.ndarray, exact: np.ndarray) -> str:
    """The share of the true neighbours that were found; rows of -1 count as none."""
    hits = (found[:, :, None] == exact[:, None, :]) & (exact[:, None, :] >= 0)
    return f"{hits.any(axis=1).sum() / np.count_nonzero(exact >= 0):.4f}"


def without_own(found: np.ndarray, k: int) -> np.ndarray:
    """The first k of k + 1 found for each of the first vectors, without itself."""
    rows = [[each for each in row if each != own][:k] for own, row in enumerate(found.tolist())]
    return np.array(rows)


def by_annoy(matrix: np.ndarray, k: int, trees: int, look: int) -> tuple[float, float, np.ndarray]:
    """Seconds to build, seconds for all queries, and what was found."""
    from annoy import AnnoyIndex

    index = AnnoyIndex(matrix.shape[1], "euclidean")
    index.set_seed(1)

    def build() -> None:
        for number, vector in enumerate(matrix):
            index.add_item(number, vector)
        index.build(trees, n_jobs=1)

    def ask() -> np.ndarray:
        near = (index.get_nns_by_item(each, k + 1, look) for each in range(len(matrix)))
        return without_own(np.array([(row + [-1] * k)[: k + 1] for row in near]), k)

    built, _ = cpu_of(build)
    return built, *cpu_of(ask)


def measure(database: Path, vectors: np.ndarray, k: int, some: int, folder: Path) -> None:
    from sklearn.neighbors import BallTree, NearestNeighbors

    count = len(vectors)
    matrix = vectors.astype(np.float32)
    # Once before, with few, so that no import is timed.
    ours(database, folder, k, under="00000")
    base, exact = ours(database, folder, k)
    rows: list[tuple[str, ...]] = [("ours, exact", f"{count:,}", "", "1", "1.0000")]

    def add(name: str, built: float | None, spent: float, found: np.ndarray) -> None:
        asked = len(found)
        made = "" if built is None else f"{built / base:.2f}"
        times = f"{spent * count / asked / base:.2f}"
        rows.append((name, f"{asked:,}", made, times, recall(found, exact[:asked])))

    seconds, found = ours(database, folder, k, same_scene=True)
    rows.append(("ours, exact, --same-scene", f"{count:,}", "", f"{seconds / base:.2f}", ""))
    with Case.open(database, read_only=True) as case:
        built, _ = cpu_of(lambda: case.build_ann(folder / "ours.ann"))
    seconds, found = ours(database, folder, k, index=folder / "ours.ann")
    add("ours, --approximate (`analyse ann`)", built, seconds, found)

    brute = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(matrix)
    seconds, found = cpu_of(lambda: brute.kneighbors(return_distance=False, n_neighbors=k))
    add("scikit-learn, brute force in float32", None, seconds, found)
    built, tree = cpu_of(lambda: BallTree(matrix))
    seconds, found = cpu_of(lambda: tree.query(matrix[:some], k + 1, return_distance=False))
    add("scikit-learn, BallTree", built, seconds, without_own(found, k))
    for trees, nodes in ANNOY:
        look = nodes * trees * (k + 1)
        try:
            built, spent, found = by_annoy(matrix, k, trees, look)
        except ImportError:
            continue
        add(f"Annoy, {trees} trees, {look:,} nodes a query", built, spent, found)
    print(table(HEADER, rows))


def main() -> None:
    arguments = parse_arguments()
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = None
        if arguments.vectors is not None:
            real = read_real(arguments.vectors, None, "", 0)
        work = Work(folder, real if real is not None else np.empty((0, 0), np.float16))
        for kind in ("clustered", *(("real",) if real is not None else ())):
            database = work.database(kind, arguments.count)
            vectors = np.concatenate(list(work.blocks(kind, arguments.count)))
            print(f"### {arguments.count:,} {kind} vectors of {vectors.shape[1]}\n")
            measure(database, vectors, arguments.k, arguments.some, folder)


if __name__ == "__main__":
    main()
