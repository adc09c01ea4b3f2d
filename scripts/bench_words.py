"""Measure searches among bags of visual words against scikit-learn's ball tree on the same vectors.

    python scripts/bench_words.py case.db codebook.safetensors [--queries 100] [-k 10]

The database must hold its vectors. Stored pictures are the queries. Time is that of the processor, all threads added
up, so that a busy machine changes little. Ours is the whole of `Case.search`, with the names of the hits read from the
database; the others rank vectors in memory. Markdown on stdout.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import machine, table

from image_similarity.case import Case
from image_similarity.search import choice
from image_similarity.store import gallery
from image_similarity.store.catalog import Catalog

# Of distances in float32 and float64.
TIE = 1e-4
HEADER = ("way", "made in, s", "a query, ms", "recall@k")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", type=Path)
    parser.add_argument("codebook")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("-k", type=int, default=10)
    given = parser.parse_args()
    catalog = Catalog.open(given.database, read_only=True)
    with catalog.reading() as connection:
        chosen = choice.choose([catalog], [connection], given.codebook)
        model_id, dim = chosen.ids[0], chosen.info.dim
        stored = gallery.load(connection, model_id, dim, gallery.PlaceFilter())
        hashes = gallery.hashes_of(connection, stored.image_ids.tolist())
    vectors = stored.vectors.astype(np.float32)
    some = np.random.default_rng(1).choice(len(vectors), given.queries, replace=False)
    truth = nearest(vectors, some, given.k)
    reach = np.linalg.norm(vectors[some] - vectors[truth[:, -1]], axis=1)

    def product(_: None, row: int) -> np.ndarray:
        return nearest(vectors, np.array([row]), given.k)[0]

    rows = [
        ours(given.database, given.codebook, hashes, some, reach, given.k),
        timed("one product in numpy, float32", lambda: None, product, some, truth),
        ball_tree(vectors, some, truth, given.k),
    ]
    print(
        f"{len(vectors)} vectors of {dim} numbers, {given.queries} queries, k {given.k}; {machine()}\n"
    )
    print(table(HEADER, rows))


def ours(
    database: Path, codebook: str, hashes: list[str], some: np.ndarray, reach: np.ndarray, k: int
) -> tuple[str, ...]:
    """Search with stored pictures; a hit is right if it lies no further than the k-th true one, for ties."""

    def ask(sha256: str) -> Any:
        return case.search(sha256=sha256, model=codebook, k=k + 1, scene="off")

    with Case.open(database, read_only=True) as case:
        # The second search begins to keep the codes in memory.
        kinds = {ask(hashes[some[0]]).search for _ in "ab"}
        began = time.process_time()
        answers = [ask(hashes[row]) for row in some]
        seconds = time.process_time() - began
    right = [
        sum(hit.distance <= far + TIE for hit in answer.hits if hit.image.sha256 != hashes[row])
        for answer, row, far in zip(answers, some, reach, strict=True)
    ]
    recall = np.mean(np.minimum(right, k)) / k
    name = f"query, {', '.join(sorted(kinds))}"
    return name, "-", f"{1000 * seconds / len(some):.1f}", f"{recall:.3f}"


def nearest(vectors: np.ndarray, some: Any, k: int) -> np.ndarray:
    """The k nearest of each but itself."""
    scores = vectors[some] @ vectors.T
    scores[np.arange(len(scores)), some] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def ball_tree(vectors: np.ndarray, some: np.ndarray, truth: np.ndarray, k: int) -> tuple[str, ...]:
    from sklearn.neighbors import BallTree

    def ask(tree: Any, row: int) -> np.ndarray:
        found = tree.query(vectors[[row]], k + 1, return_distance=False)[0]
        return found[found != row][:k]

    return timed("scikit-learn's BallTree", lambda: BallTree(vectors), ask, some, truth)


def timed(
    name: str,
    make: Callable[[], Any],
    ask: Callable[[Any, int], np.ndarray],
    some: np.ndarray,
    truth: np.ndarray,
) -> tuple[str, ...]:
    began = time.process_time()
    made = make()
    built = time.process_time() - began
    began = time.process_time()
    found = [ask(made, int(row)) for row in some]
    seconds = time.process_time() - began
    hits = [len(set(one) & set(true)) / len(true) for one, true in zip(found, truth, strict=True)]
    return name, f"{built:.1f}", f"{1000 * seconds / len(some):.1f}", f"{np.mean(hits):.3f}"


if __name__ == "__main__":
    main()
