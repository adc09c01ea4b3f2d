"""Measure the ways to read a model's vectors for a query that finds nothing in memory, and the size on disk.

    python scripts/bench_packs.py [--count 1000000] [--quick] [--database case.db]

All in one process, file in the page cache, each way several times in turn, the least time; the ratio is to
reading as many bytes as the packs' codes from a plain file. Markdown on stdout. A million pictures take
1.4 GB in TMPDIR.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import synthetic_database
from benchmark import machine, seconds_of, table
from sqlalchemy import Connection, select

from image_similarity.store import gallery, models, packs
from image_similarity.store.catalog import Catalog
from image_similarity.store.gallery import PlaceFilter
from image_similarity.store.schema import embedding_table, vector_pack_table

PACK_ROWS = "SELECT id, number, image_ids, scales, errors"
LARGEST_MAP = 2**31 - 1
# What the rows of every picture cost is known after so many.
MOST_ROWS = 200_000

Way = Callable[[Connection], object]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--database", type=Path, help="one that synthetic_database.py wrote")
    parser.add_argument("--quick", action="store_true", help="9,000 pictures, once: a trial")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.count, arguments.repeats = 9_000, 1
    return arguments


def touched(blob: bytes | np.ndarray) -> int:
    """Look at a number of each page of memory, as a reader would; gives their sum."""
    return int(np.frombuffer(blob, dtype=np.int8)[::4096].sum())


def packs_by_core(connection: Connection) -> None:
    columns = vector_pack_table.c
    statement = select(columns.scales, columns.errors, columns.image_ids, columns.codes)
    for row in connection.execution_options(yield_per=4).execute(statement):
        touched(row.codes)


def packs_by_select(connection: Connection) -> None:
    for row in connection.exec_driver_sql(f"{PACK_ROWS}, codes FROM vector_pack"):
        touched(row[-1])


def packs_kept(connection: Connection) -> None:
    kept = connection.exec_driver_sql(f"{PACK_ROWS}, codes FROM vector_pack").all()
    for row in kept:
        touched(row[-1])


def packs_by_blob(connection: Connection) -> None:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - no other database is written here
    for row in connection.exec_driver_sql(f"{PACK_ROWS} FROM vector_pack"):
        with raw.blobopen("vector_pack", "codes", row[0], readonly=True) as blob:
            touched(blob.read())


def ours(model_id: int, dim: int, **read: bool) -> Way:
    def way(connection: Connection) -> None:
        for pack in packs.vector_packs(connection, model_id, dim, **read):
            touched(pack.bits if read.get("bits_only") else pack.codes)

    return way


def rows_by_driver(connection: Connection) -> None:
    rows = connection.exec_driver_sql(
        "SELECT image_id, vector FROM embedding WHERE model_id = 1 ORDER BY image_id LIMIT ?",
        (MOST_ROWS,),
    )
    for part in rows.partitions(10_000):
        touched(b"".join(row[1] for row in part))


def rows_by_core(connection: Connection) -> None:
    columns = embedding_table.c
    statement = select(columns.image_id, columns.vector).where(columns.model_id == 1)
    statement = statement.order_by(columns.image_id).limit(MOST_ROWS)
    for part in connection.execute(statement).partitions(10_000):
        touched(b"".join(row.vector for row in part))


def measure(database: Path, model_id: int, dim: int, repeats: int) -> list[list[str]]:
    """Take all ways in turn, several times; gives the lines of the table."""
    with closing(sqlite3.connect(database)) as raw:
        (codes,) = raw.execute("SELECT sum(length(codes)) FROM vector_pack").fetchone()
        (packed,) = raw.execute("SELECT sum(length(image_ids)) / 2 FROM vector_pack").fetchone()
        (count,) = raw.execute("SELECT count(*) FROM embedding").fetchone()
    catalog = Catalog.open(database, read_only=True)

    def plain(connection: Connection) -> None:
        with database.open("rb", buffering=0) as stream:
            for _ in range(codes // 2**20):
                touched(stream.read(2**20))

    def load(connection: Connection) -> None:
        gallery.load(connection, model_id, dim, PlaceFilter())

    some = min(count, MOST_ROWS) / packed
    ways: list[tuple[str, Way, int, float]] = [
        ("bytes of a plain file, as many as the codes", plain, 0, 1),
        ("packs, `packs.vector_packs`, codes only", ours(model_id, dim, codes_only=True), 0, 1),
        ("the same, codes and bits", ours(model_id, dim), 0, 1),
        ("the same, bits only", ours(model_id, dim, bits_only=True), 0, 1),
        ("packs, `blobopen`", packs_by_blob, 0, 1),
        ("packs, `blobopen`, mapped", packs_by_blob, LARGEST_MAP, 1),
        ("packs, SELECT through the driver", packs_by_select, 0, 1),
        ("packs, SELECT through the driver, mapped", packs_by_select, LARGEST_MAP, 1),
        ("packs, SELECT through the driver, all kept", packs_kept, 0, 1),
        ("packs, SELECT through SQLAlchemy's types", packs_by_core, 0, 1),
        ("rows, SELECT through the driver", rows_by_driver, 0, some),
        ("rows, SELECT through SQLAlchemy's types", rows_by_core, 0, some),
    ]
    if count <= MOST_ROWS:
        ways.append(("rows, `gallery.load`", load, 0, some))
    times: list[list[float]] = [[] for _ in ways]
    with catalog.reading() as connection:
        for _ in range(repeats):
            for (_, way, mapped, share), taken in zip(ways, times, strict=True):
                connection.exec_driver_sql(f"PRAGMA mmap_size = {mapped}")
                taken.append(seconds_of(lambda way=way: way(connection)) / share)
    catalog.close()
    # The least, not the median: what else the machine does can only add.
    least = [min(taken) for taken in times]
    return [
        [name, f"{time * 1e6 / packed:.3f} µs", f"{time / least[0]:.1f}"]
        for (name, *_), time in zip(ways, least, strict=True)
    ]


def sizes(database: Path) -> list[list[str]]:
    """What takes the room: bytes a picture of each table and index, the largest first."""
    with closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM image").fetchone()
        found = connection.execute(
            "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 12"
        ).fetchall()
    whole = [["the whole file", f"{database.stat().st_size / count:,.0f}"]]
    return whole + [[f"`{name}`", f"{size / count:,.1f}"] for name, size in found]


def show(arguments: argparse.Namespace, work: Path) -> None:
    """Write the database if none was given, and print both tables."""
    database = arguments.database or work / "case.db"
    if arguments.database is None:
        scenes = 100
        info = synthetic_database.model_info(arguments.dim, scenes)
        blocks = synthetic_database.clustered(arguments.count, arguments.dim, scenes)
        took = seconds_of(lambda: synthetic_database.write(database, info, blocks))
        print(f"{arguments.count:,} pictures written in {took:,.0f} s\n")
    catalog = Catalog.open(database, read_only=True)
    with catalog.reading() as connection:
        ((model_id, info),) = models.stored(connection).items()
    catalog.close()
    assert info.dim is not None  # noqa: S101 - synthetic_database.py writes vectors
    lines = measure(database, model_id, info.dim, arguments.repeats)
    print(table(["a cold read of all vectors", "a picture", "ratio"], lines))
    print(table(["on disk", "bytes a picture"], sizes(database)))


def main() -> None:
    arguments = parse_arguments()
    print(machine())
    with tempfile.TemporaryDirectory() as work:
        show(arguments, Path(work))


if __name__ == "__main__":
    main()
