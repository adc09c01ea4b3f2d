"""Other ways to search in the same vectors, for bench_search.py: libraries, and what other programs do.

Each way is a context that is given float16 vectors (N, dim) and gives a function from one query (dim,) to the numbers
of the k nearest, nearest first. A library that is not installed raises `ImportError`, and its row says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

K = 10
Ask = Callable[[np.ndarray], Any]


def top(similarities: np.ndarray) -> np.ndarray:
    """Give the numbers of the K greatest, greatest first."""
    found = np.argpartition(-similarities, K)[:K]
    return found[np.argsort(-similarities[found])]


@contextmanager
def by_numpy(vectors: np.ndarray, work: Path) -> Iterator[Ask]:
    """One float32 product with all vectors in memory, then the greatest K."""
    matrix = vectors.astype(np.float32)
    yield lambda query: top(matrix @ query.astype(np.float32))


@contextmanager
def by_faiss_flat(vectors: np.ndarray, work: Path) -> Iterator[Ask]:
    """faiss, exact."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors.astype(np.float32))
    yield lambda query: index.search(query[None].astype(np.float32), K)[1][0]


@contextmanager
def by_faiss_hnsw(vectors: np.ndarray, work: Path) -> Iterator[Ask]:
    """faiss, HNSW with 32 links over float32, 128 candidates."""
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    path = work / f"faiss-hnsw-{len(vectors)}.index"
    if path.exists():
        index = faiss.read_index(str(path))
    else:
        index.add(vectors.astype(np.float32))
        faiss.write_index(index, str(path))
    index.hnsw.efSearch = 128
    yield lambda query: index.search(query[None].astype(np.float32), K)[1][0]


@contextmanager
def by_usearch(vectors: np.ndarray, work: Path) -> Iterator[Ask]:
    """usearch, HNSW with 16 links over 8-bit vectors, 128 candidates."""
    from usearch.index import Index

    options = {"metric": "ip", "dtype": "i8", "connectivity": 16, "expansion_add": 128}
    index = Index(ndim=vectors.shape[1], **options)
    path = work / f"usearch-{len(vectors)}.index"
    if path.exists():
        index.load(str(path))
    else:
        index.add(np.arange(len(vectors)), vectors.astype(np.float32))
        index.save(str(path))
    index.expansion_search = 128
    yield lambda query: np.asarray(index.search(query.astype(np.float32), K).keys)


@contextmanager
def by_sqlite_vec(vectors: np.ndarray, work: Path) -> Iterator[Ask]:
    """sqlite-vec in a SQLite that loads extensions (apsw), float32, exact."""
    import apsw
    import sqlite_vec

    path = work / f"sqlite-vec-{len(vectors)}.db"
    is_new = not path.exists()
    with closing(apsw.Connection(str(path))) as connection:
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        if is_new:
            kind = f"float[{vectors.shape[1]}] distance_metric=cosine"
            connection.execute(f"CREATE VIRTUAL TABLE v USING vec0(vector {kind})")
            with connection:
                connection.executemany(
                    "INSERT INTO v(rowid, vector) VALUES (?, ?)",
                    (
                        (number, vector.astype(np.float32).tobytes())
                        for number, vector in enumerate(vectors)
                    ),
                )

        def ask(query: np.ndarray) -> np.ndarray:
            statement = "SELECT rowid FROM v WHERE vector MATCH ? AND k = ? ORDER BY distance"
            values = (query.astype(np.float32).tobytes(), K)
            return np.array([row[0] for row in connection.execute(statement, values)])

        yield ask


@contextmanager
def by_rows(vectors: np.ndarray, work: Path) -> Iterator[Ask]:
    """The closest peer's way (rclip): each query reads all float32 vectors from rows of SQLite, then one product."""
    path = work / f"rows-{len(vectors)}.db"
    is_new = not path.exists()
    with closing(sqlite3.connect(path)) as connection:
        if is_new:
            connection.execute("CREATE TABLE images (id INTEGER PRIMARY KEY, vector BLOB)")
            connection.executemany(
                "INSERT INTO images VALUES (?, ?)",
                ((n, vector.astype(np.float32).tobytes()) for n, vector in enumerate(vectors)),
            )
            connection.commit()

        def ask(query: np.ndarray) -> np.ndarray:
            rows = connection.execute("SELECT id, vector FROM images").fetchall()
            stored = np.stack([np.frombuffer(blob, np.float32) for _, blob in rows])
            return top(stored @ query.astype(np.float32))

        yield ask


WAYS = {
    "numpy, float32 product and top-k": by_numpy,
    "faiss flat": by_faiss_flat,
    "faiss HNSW, 32 links": by_faiss_hnsw,
    "usearch HNSW, 8 bits": by_usearch,
    "sqlite-vec": by_sqlite_vec,
    "rows read from SQLite, one product (rclip's way)": by_rows,
}
