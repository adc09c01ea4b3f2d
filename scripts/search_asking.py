"""What the sections of bench_search.py share: how much is measured, taking turns, and asking a database of ours."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import ROOT, seconds_of
from search_data import Work
from synthetic_database import sha256_of

K = 10
FLOOR = "import numpy, sqlalchemy, click"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: numbers of pictures, repetitions and queries."""

    small: int = 36_500
    middle: int = 200_000
    large: int = 1_000_000
    growth: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    anchors: int = 200_000
    earlier: int = 36_500
    processes: int = 15
    warm: int = 30
    recall: int = 500
    batch: int = 1_000
    real: int = 40_000


FULL = Sizes()
QUICK = Sizes(
    small=2_000, middle=5_000, large=30_000, growth=(2_000, 10_000, 30_000), anchors=5_000,
    earlier=600, processes=2, warm=5, recall=30, batch=100, real=300,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bench:
    """What every section needs; `goals` collects the rows of the first table."""

    sizes: Sizes
    work: Work
    model: str
    figures: Path | None
    goals: list[tuple[str, str, str, str]]

    def goal(self, case: str, found: float, goal: float, *, unit: str, least: bool) -> None:
        """Add a row that compares a figure with its goal, which is the least or the most that it may be."""
        word = "at least" if least else "at most"
        reached = found >= goal if least else found <= goal
        row = (case, f"{found:,.4g} {unit}", f"{word} {goal:g}", "yes" if reached else "no")
        self.goals.append(row)


def say(text: str) -> None:
    """Say where the benchmark is."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def in_turns(repeats: int, works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each; in turns, so that all share the weather, after a round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(repeats + 1):
        for name, work in works.items():
            seconds = seconds_of(work)
            if number or repeats == 1:
                times[name].append(seconds)
    return {name: statistics.median(found) for name, found in times.items()}


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


@contextmanager
def opened(database: Path, **request: Any) -> Iterator[Any]:
    """Give a searcher on a database, for K hits in all scenes unless the request says otherwise."""
    from image_similarity.search import Searcher, SearchRequest
    from image_similarity.store.catalog import Catalog

    catalog = Catalog.open(database, read_only=True)
    try:
        yield Searcher([catalog], SearchRequest(**{"k": K, "scene": ("off",), **request}))
    finally:
        catalog.close()


def numbers_for(count: int, queries: int, seed: int = 5) -> list[int]:
    """Return the pictures that are asked for."""
    return np.random.default_rng(seed).choice(count, min(queries, count), replace=False).tolist()


def asker(searcher: Any, numbers: Sequence[int]) -> Callable[[], Any]:
    """Return a function that asks for the next of some pictures at each call."""
    turn = itertools.cycle(numbers)
    return lambda: searcher.answer_stored(sha256_of(next(turn)))


def rank(searcher: Any, queries: Sequence[Any]) -> object:
    """Find which pictures are nearest to queries, and how near exactly: an answer without what is known of them.

    This is as far as a library for vectors goes. It takes a look inside of the searcher, which has no such half answer.
    """
    from image_similarity.search.excluded import verdicts
    from image_similarity.search.on_shelf import look

    filters: list[Any] = [("off", ())] * len(queries)
    with searcher._open() as databases:
        said = verdicts([each.connection for each in databases], queries)
        return [look(each, searcher._asked, queries, filters, said) for each in databases]


def ranker(searcher: Any, numbers: Sequence[int]) -> Callable[[], object]:
    """Return a function that ranks for the next of some pictures at each call."""
    queries = [searcher.query_of_stored(sha256_of(number)) for number in numbers]
    turn = itertools.cycle(queries)
    return lambda: rank(searcher, [next(turn)])


def shas(result: Any) -> set[str]:
    return {hit.image.sha256 for hit in result.hits}


def command(*arguments: object) -> Callable[[], object]:
    """Return a function that runs Python with these arguments."""

    def call() -> None:
        line = [sys.executable, *map(str, arguments)]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)

    return call


def query_command(database: Path, number: int, *more: str) -> Callable[[], object]:
    """Return a function that runs our command for a stored picture."""
    options = ["-dp", database, "-k", K, "--format", "json", *more]
    return command("-m", "image_similarity", "query", "--sha256", sha256_of(number), *options)
