"""Other ways to search in the same vectors, for bench_search.py: libraries, and what other programs do.

Each way is a context that is given float16 vectors (N, dim) and a new folder. It gives a function from one query (dim,)
to the numbers of the k nearest, nearest first, and the bytes that it keeps. A library that is not installed raises
`ImportError`, and its row says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

K = 10
# Near neighbours that an index at 8 bits mixes up are put right by float32 among so many candidates.
CANDIDATES = 40
Made = tuple[Callable[[np.ndarray], Any], int]


def top(similarities: np.ndarray) -> np.ndarray:
    """Give the numbers of the K greatest, greatest first."""
    found = np.argpartition(-similarities, K)[:K]
    return found[np.argsort(-similarities[found])]


@contextmanager
def by_numpy(vectors: np.ndarray, folder: Path) -> Iterator[Made]:
    """One float32 product with all vectors in memory, then the greatest K."""
    matrix = vectors.astype(np.float32)
    yield lambda query: top(matrix @ query.astype(np.float32)), matrix.nbytes


@contextmanager
def by_faiss(vectors: np.ndarray, kind: str, parameters: dict[str, int]) -> Iterator[Made]:
    """An index of faiss by its factory's name; what is not flat finds candidates that float32 puts in order."""
    import faiss

    matrix = vectors.astype(np.float32)
    index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    if hasattr(index, "hnsw"):
        index.hnsw.efConstruction = 100
    index.train(matrix)
    index.add(matrix)
    settings = faiss.ParameterSpace()
    for name, value in parameters.items():
        settings.set_index_parameter(index, name, value)

    def ask(query: np.ndarray) -> np.ndarray:
        wanted = query[None].astype(np.float32)
        if kind == "Flat":
            return index.search(wanted, K)[1][0]
        found = index.search(wanted, CANDIDATES)[1][0]
        found = found[found >= 0]
        return found[top(matrix[found] @ wanted[0])]

    yield ask, faiss.serialize_index(index).nbytes


def by_faiss_flat(vectors: np.ndarray, folder: Path) -> Any:
    """Give faiss's exact search."""
    return by_faiss(vectors, "Flat", {})


def by_faiss_hnsw(vectors: np.ndarray, folder: Path) -> Any:
    """Give faiss's graph over float32."""
    return by_faiss(vectors, "HNSW32,Flat", {"efSearch": 128})


def by_faiss_hnsw_8(vectors: np.ndarray, folder: Path) -> Any:
    """Give faiss's graph over 8 bits: what `analyse ann` builds."""
    return by_faiss(vectors, "HNSW16,SQ8", {"efSearch": 128})


def by_faiss_ivf_8(vectors: np.ndarray, folder: Path) -> Any:
    """Give faiss's inverted file at 8 bits, of which a query looks into 32 cells."""
    cells = max(1, min(int(4 * len(vectors) ** 0.5), len(vectors) // 40))
    return by_faiss(vectors, f"IVF{cells},SQ8", {"nprobe": min(32, cells)})


@contextmanager
def by_usearch(vectors: np.ndarray, folder: Path) -> Iterator[Made]:
    """The graph of usearch over 8 bits; candidates are put in order by float32."""
    from usearch.index import Index

    matrix = vectors.astype(np.float32)
    options = {"metric": "ip", "dtype": "i8", "connectivity": 16, "expansion_add": 128}
    index = Index(ndim=vectors.shape[1], **options)
    index.add(np.arange(len(vectors)), matrix)
    index.expansion_search = 128

    def ask(query: np.ndarray) -> np.ndarray:
        wanted = query.astype(np.float32)
        found = np.asarray(index.search(wanted, CANDIDATES).keys).astype(np.int64)
        return found[top(matrix[found] @ wanted)]

    yield ask, index.serialized_length


@contextmanager
def by_sqlite_vec(vectors: np.ndarray, folder: Path) -> Iterator[Made]:
    """sqlite-vec in a SQLite that loads extensions (apsw), float32, exact."""
    import apsw
    import sqlite_vec

    path = folder / "sqlite-vec.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        kind = f"float[{vectors.shape[1]}] distance_metric=cosine"
        connection.execute(f"CREATE VIRTUAL TABLE v USING vec0(vector {kind})")
        rows = ((n, vector.astype(np.float32).tobytes()) for n, vector in enumerate(vectors))
        with connection:
            connection.executemany("INSERT INTO v(rowid, vector) VALUES (?, ?)", rows)

        def ask(query: np.ndarray) -> np.ndarray:
            statement = "SELECT rowid FROM v WHERE vector MATCH ? AND k = ? ORDER BY distance"
            values = (query.astype(np.float32).tobytes(), K)
            return np.array([row[0] for row in connection.execute(statement, values)])

        yield ask, path.stat().st_size


@contextmanager
def by_rows(vectors: np.ndarray, folder: Path) -> Iterator[Made]:
    """The closest peer's way (rclip): each query reads all float32 vectors from rows of SQLite, then one product."""
    path = folder / "rows.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE images (id INTEGER PRIMARY KEY, vector BLOB)")
        rows = ((n, vector.astype(np.float32).tobytes()) for n, vector in enumerate(vectors))
        connection.executemany("INSERT INTO images VALUES (?, ?)", rows)
        connection.commit()

        def ask(query: np.ndarray) -> np.ndarray:
            rows = connection.execute("SELECT id, vector FROM images").fetchall()
            stored = np.stack([np.frombuffer(blob, np.float32) for _, blob in rows])
            return top(stored @ query.astype(np.float32))

        yield ask, path.stat().st_size


WAYS = {
    "numpy, float32 product and top-k": by_numpy,
    "faiss flat": by_faiss_flat,
    "faiss HNSW, float32, 32 links": by_faiss_hnsw,
    "faiss HNSW, 8 bits, 16 links (as `analyse ann`)": by_faiss_hnsw_8,
    "faiss IVF, 8 bits, 32 cells a query": by_faiss_ivf_8,
    "usearch HNSW, 8 bits, 16 links": by_usearch,
    "sqlite-vec": by_sqlite_vec,
    "rows read from SQLite, one product (rclip's way)": by_rows,
}
