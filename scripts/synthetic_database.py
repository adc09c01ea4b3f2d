"""Write a large database of generated pictures in minutes, packs included: for benchmarks of search.

    python scripts/synthetic_database.py case.db --count 1000000 [--dim 256] [--scenes 100]

In the place of a file may stand an empty database on a server: postgresql+psycopg://user@host/name.

The rows are those that indexing would write: contents with places, vectors and twelve labels each, under
one model; only EXIF is empty. They go past `write_batch`, which takes ten times as long. Any picture can
be asked for by its SHA-256, see `sha256_of`. Prints how long it took and the bytes a picture takes.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmark import seconds_of
from sqlalchemy import Table

from image_similarity.case import Case
from image_similarity.indexing import packing
from image_similarity.store import catalog, models, runs
from image_similarity.store.schema import (
    embedding_table,
    file_table,
    image_scene_table,
    image_table,
)
from image_similarity.values import Location, ModelInfo, Preprocess, location

BLOCK = 8192
PICTURES_PER_CLUSTER = 20
# Indexes are filled in random order: they must fit.
CACHE_KIB = 500_000
# Probabilities of a picture's scenes, most probable first: twelve, as the built-in model gives.
PROBABILITIES = (0.3, 0.15, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02, 0.01, 0.01)


@dataclass(frozen=True, slots=True)
class Block:
    """Some pictures: `vectors` (n, dim), of length 1; `labels` (n, K), positions of scenes, all of a row distinct."""

    vectors: np.ndarray
    labels: np.ndarray


def model_info(dim: int = 256, scenes: int = 100, name: str = "synthetic") -> ModelInfo:
    """Describe a model that does not exist: queries must be stored pictures, named by SHA-256."""
    return ModelInfo(
        name=name,
        fingerprint=hashlib.sha256(f"{name} {dim} {scenes}".encode()).hexdigest(),
        architecture="none",
        weights_sha256="0" * 64,
        preprocess=Preprocess(size=224),
        dim=dim,
        scenes=tuple(f"scene-{number}" for number in range(scenes)),
    )


def clustered(
    count: int, dim: int, scenes: int, seed: int = 1, spread: float = 0.8
) -> Iterator[Block]:
    """Give `count` pictures in clusters; those of a cluster lie around its centre and have its scene first."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(2, count // PICTURES_PER_CLUSTER), dim), dtype=np.float32)
    steps = random.permuted(np.tile(np.arange(1, scenes), (4096, 1)), axis=1)
    steps = steps[:, : len(PROBABILITIES) - 1]
    for start in range(0, count, BLOCK):
        clusters = random.integers(len(centres), size=min(BLOCK, count - start))
        vectors = spread * random.standard_normal((len(clusters), dim), dtype=np.float32)
        vectors += centres[clusters]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        others = steps[random.integers(len(steps), size=len(clusters))]
        labels = (
            clusters[:, None] + np.hstack([np.zeros((len(clusters), 1), int), others])
        ) % scenes
        yield Block(vectors, labels)


def sha256_of(number: int) -> str:
    """Give the SHA-256 of a generated picture, counted from 0."""
    return hashlib.sha256(b"picture %d" % number).hexdigest()


def write(
    database: Location,
    info: ModelInfo,
    blocks: Iterable[Block],
    *,
    model: str = "builtin",
    packed: bool = True,
    on_block: Callable[[int], object] = lambda done: None,
) -> int:
    """Write blocks of pictures into a new database, as one finished run; gives their number.

    `model` is the name that the run records; `packed` False leaves all vectors and labels loose.
    """
    case = catalog.Catalog.open(database, read_only=False)
    with case.writing() as connection:
        source = catalog.add_source(connection, "generated", "/evidence/generated")
        options = {"models": [model], "scenes": model, "weights": None}
        run = runs.begin(connection, runs.RunStart("index", source, options, {}))
        model_id = models.register(connection, info)
        scenes = np.array(list(models.scene_ids(connection, model_id).values()))
    done = 0
    with _writer(case) as put:
        for block in blocks:
            for table, columns, rows in _rows(block, done, run, source, model_id, scenes):
                put(table, columns, rows)
            done += len(block.vectors)
            on_block(done)
    if packed:
        packing.pack(case)
    with case.writing() as connection:
        runs.save_account(connection, run, {"seen": done, "new": done, "embedded": done}, "done")
    case.close()
    return done


Put = Callable[[Table, tuple[str, ...], list[tuple[object, ...]]], None]


@contextmanager
def _writer(case: catalog.Catalog) -> Iterator[Put]:
    """What writes rows in great numbers: into a file past SQLAlchemy, on a server by COPY; all in one transaction."""
    if not isinstance(case.path, Path):
        from image_similarity.store import postgres

        with case.writing() as connection:
            yield lambda table, columns, rows: postgres.copy_in(connection, table, columns, rows)
            postgres.restart_ids(connection, image_table)
        with case.writing() as connection:
            connection.exec_driver_sql("ANALYZE")
        return
    with closing(sqlite3.connect(case.path)) as raw, raw:
        # No journal and no waiting for the disk: a database that was not finished is thrown away.
        raw.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE_KIB}"
        )

        def put(table: Table, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
            names, places = ", ".join(columns), ", ".join("?" * len(columns))
            raw.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({places})", rows)  # noqa: S608

        yield put


def _rows(
    block: Block, first: int, run: int, source: int, model_id: int, scenes: np.ndarray
) -> Iterator[tuple[Table, tuple[str, ...], list[tuple[object, ...]]]]:
    numbers = range(first, first + len(block.vectors))
    fixed = (100_000, 500, 375, "JPEG", "image/jpeg", False, "{}")
    yield (
        image_table,
        (
            "id",
            "sha256",
            "sha1",
            "md5",
            "size",
            "width",
            "height",
            "format",
            "mime",
            "partial",
            "exif",
            "first_run_id",
        ),
        [(n + 1, sha := sha256_of(n), sha[:40], sha[32:], *fixed, run) for n in numbers],
    )
    yield (
        file_table,
        (
            "source_id",
            "path",
            "image_id",
            "size",
            "mtime_ns",
            "atime_ns",
            "ctime_ns",
            "settled",
            "first_run_id",
        ),
        [
            (
                source,
                f"{n // 1000:05d}/{n:08d}.jpg",
                n + 1,
                100_000,
                *3 * (1_700_000_000_000_000_000 + n,),
                True,
                run,
            )
            for n in numbers
        ],
    )
    yield (
        embedding_table,
        ("model_id", "image_id", "run_id", "vector"),
        [
            (model_id, n + 1, run, vector.tobytes())
            for n, vector in zip(numbers, block.vectors.astype("<f2"), strict=True)
        ],
    )
    ids = scenes[block.labels].tolist()
    yield (
        image_scene_table,
        ("image_id", "scene_id", "probability", "rank"),
        [
            (n + 1, scene, PROBABILITIES[rank], rank + 1)
            for n, row in zip(numbers, ids, strict=True)
            for rank, scene in enumerate(row)
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", type=location)
    parser.add_argument("--count", type=int, default=36_500)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loose", action="store_true", help="make no packs")
    arguments = parser.parse_args()
    count = arguments.count
    blocks = clustered(count, arguments.dim, arguments.scenes, arguments.seed)
    info = model_info(arguments.dim, arguments.scenes)

    def work() -> None:
        write(arguments.database, info, blocks, packed=not arguments.loose)

    print(f"{count:,} pictures in {seconds_of(work):.1f} s")
    with Case.open(arguments.database, read_only=True) as case:
        size = case.status().size
    print(f"{size / 1e6:,.1f} MB, {size / count:,.0f} bytes a picture")


if __name__ == "__main__":
    main()
