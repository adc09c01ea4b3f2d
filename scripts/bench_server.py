"""Measure a database in a file against one on a PostgreSQL server: filling, index, and queries under filters.

    python scripts/bench_server.py [--vectors 100000 --vectors 1000000] [--url postgresql+psycopg://user@host/{}]

Vectors lie in clusters, and scenes follow the clusters, as tests/search/clustered.py makes them. The server is the one
of the tests, started for this alone, unless a URL is given, with {} in the place of a new database's name. Queries go
through the library with an opened database, which has answered one before; in brackets stands the part of the server's
own statement that finds the nearest. Markdown on stdout, where it is on stderr.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from benchmark import machine, seconds_of, table

from image_similarity.case import Case
from image_similarity.search import Searcher, SearchRequest, in_server, seen
from image_similarity.store import pgvector
from image_similarity.values import Location, SearchResult, ServerIndex, ServerUrl

K = 10
READ_HERE = "PostgreSQL, codes read here"
# From more than so many the index is asked where it is to be measured; for the query itself alone it is no use.
FEW = 20
# Of so many pictures each: a filter by a scene that this share of them has.
SHARES = {"none": None, "20 %": 0.2, "1 %": 0.01, "0.1 %": 0.001}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, action="append", help="may be repeated")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--url", help="of a server, with {} for the name of a new database")
    parser.add_argument("--memory", default="3GB", help="for building the index")
    parser.add_argument("--work", type=Path, help="where the file is made; else a new folder")
    parser.add_argument("--quick", action="store_true", help="2,000 short vectors, three queries")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.vectors, arguments.dim, arguments.queries = [2_000], 16, 3
    return arguments


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextmanager
def server(url: str | None) -> Iterator[str]:
    from tests import postgres

    if url is not None:
        yield url
        return
    with postgres.server() as started:
        yield started


def write_file(path: Path, made: Any, info: Any) -> None:
    """Write the same rows as `clustered.write_on_server` into a file, with its packs."""
    from synthetic_database import BLOCK, Block, write

    def blocks() -> Iterator[Block]:
        for start in range(0, len(made.vectors), BLOCK):
            part = slice(start, start + BLOCK)
            yield Block(made.vectors[part].astype(np.float32), made.scenes[part, None])

    write(path, info, blocks(), model="toy")


class Clock:
    """Adds up the time that the server takes to find the nearest of a query."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*given)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


@contextmanager
def by_index_from(rows: int | None, *, read_here: bool = False) -> Iterator[Clock]:
    """Let the index be asked from so many pictures on (None: as the product does), with a clock.

    The server compares, unless its codes are to be read here.
    """
    clock = Clock()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(seen, "READ_HERE", 2**62 if read_here else 0))
        if rows is not None:
            for name in ("EXACT_ROWS", "COUNTED_ROWS"):
                stack.enter_context(mock.patch.object(in_server, name, rows))
        for name in ("nearest", "nearest_by_index"):
            timed = clock.around(getattr(pgvector, name))
            stack.enter_context(mock.patch.object(pgvector, name, timed))
        yield clock


def ask(
    place: Location, sha256s: Sequence[str], clock: Clock, **request: Any
) -> tuple[list[SearchResult], list[float], list[float]]:
    """Answer queries one by one; gives the answers, their seconds, and those in the clock."""
    answers, taken, inside = [], [], []
    with Case.open(place, read_only=True) as case:
        searcher = Searcher([case._catalog], SearchRequest(k=K, **request))
        queries = [searcher.query_of_stored(sha256) for sha256 in sha256s]
        for _ in range(2):
            searcher.answer_queries(queries[-1:])
        for query in queries:
            clock.seconds, began = 0.0, time.perf_counter()
            answers += searcher.answer_queries([query])
            taken.append(time.perf_counter() - began)
            inside.append(clock.seconds)
    return answers, taken, inside


def recall(answers: Sequence[SearchResult], truth: Sequence[SearchResult]) -> float:
    found = sum(
        sum(hit.distance <= exact.hits[-1].distance for hit in answer.hits)
        for answer, exact in zip(answers, truth, strict=True)
    )
    return found / sum(len(exact.hits) for exact in truth)


def p(share: float, seconds: Sequence[float]) -> str:
    return f"{1000 * float(np.quantile(seconds, share)):.1f}"


def queries_table(places: dict[str, Location], made: Any, sha256s: Sequence[str]) -> str:
    from tests.search import clustered

    ways: dict[str, tuple[Location, int | None, dict[str, Any]]] = {
        "SQLite, exact": (places["SQLite"], None, {}),
        READ_HERE: (places["PostgreSQL"], None, {}),
        "PostgreSQL, exact": (places["PostgreSQL"], None, {"exact": True}),
        "PostgreSQL, index": (places["PostgreSQL"], FEW, {}),
        "PostgreSQL, as it chooses": (places["PostgreSQL"], None, {}),
    }
    rows = []
    for label, share in SHARES.items():
        scene = "off" if share is None else clustered.name(made.scene_of_share(share))
        truth: list[SearchResult] = []
        for way, (place, from_rows, request) in ways.items():
            say(f"{label}: {way}")
            with by_index_from(from_rows, read_here=way == READ_HERE) as clock:
                answers, taken, inside = ask(place, sha256s, clock, scene=(scene,), **request)
            truth = truth or answers
            bare = f" ({p(0.5, inside)})" if any(inside) else ""
            kinds = {"approximate" if a.search == "approximate" else "exact" for a in answers}
            rows.append(
                [
                    f"{label}, {answers[0].filter.searched:,} pictures",
                    way,
                    f"{p(0.5, taken)}{bare}",
                    p(0.95, taken),
                    f"{recall(answers, truth):.4f}",
                    " or ".join(sorted(kinds)),
                ]
            )
    header = ["filter", "way", "p50 ms", "p95 ms", f"recall@{K}", "says"]
    return table(header, rows)


def sizes(server_: ServerUrl, file: Path, index: ServerIndex) -> list[list[str]]:
    with Case.open(server_, read_only=True) as case, case._catalog.reading() as connection:

        def size(expression: str) -> int:
            return int(connection.exec_driver_sql(f"SELECT {expression}").scalar_one())

        found = {
            "SQLite: the file, with packs": file.stat().st_size,
            "PostgreSQL: the database": size("pg_database_size(current_database())"),
            "PostgreSQL: rows of vectors": size("pg_table_size('embedding')"),
            "PostgreSQL: index of vectors": index.size_bytes,
        }
    return [[name, f"{number / 1e6:,.0f} MB"] for name, number in found.items()]


def measure(url: str, work: Path, count: int, arguments: argparse.Namespace) -> None:
    from tests.postgres import fresh_database
    from tests.search import clustered

    say(f"{count:,} vectors")
    made = clustered.make(count, arguments.dim, clusters=max(2, count // 100), intrinsic=48)
    file, server_ = work / f"{count}.db", fresh_database(url)
    filled = seconds_of(lambda: write_file(file, made, clustered.info(arguments.dim)))
    copied = seconds_of(lambda: clustered.write_on_server(server_, made))
    with Case.open(server_) as case:
        packed = seconds_of(case.pack)
        say("building the index")
        index = case.index_vectors(memory=arguments.memory)
    print(f"### {count:,} vectors of {arguments.dim} dimensions\n")
    rows = [
        ["SQLite: filled, with packs", f"{filled:.1f} s"],
        ["PostgreSQL: filled by COPY", f"{copied:.1f} s"],
        ["PostgreSQL: packs made", f"{packed:.1f} s"],
        ["PostgreSQL: index built", f"{index.seconds:.1f} s"],
        [f"PostgreSQL: recall@{index.recall.at} measured then", f"{index.recall.share:.4f}"],
        *sizes(server_, file, index),
    ]
    print(table(["what", "figure"], rows))
    numbers = np.random.default_rng(5).choice(count, arguments.queries, replace=False).tolist()
    places: dict[str, Location] = {"SQLite": file, "PostgreSQL": server_}
    print(queries_table(places, made, [clustered.sha256_of(number) for number in numbers]))
    sys.stdout.flush()


def main() -> None:
    arguments = parse_arguments()
    print(f"{machine()}\n")
    with ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(server(arguments.url))
        for count in arguments.vectors or [100_000, 1_000_000]:
            measure(url, work, count, arguments)


if __name__ == "__main__":
    main()
