"""Measure search from 10,000 to 10,000,000 pictures, against its goals, against libraries and other programs' ways.

    python scripts/bench_search.py --work DIR --vectors REAL.npy [--pictures DIR] [--figures docs/figures] [--quick]

Vectors and databases are generated in DIR once and kept there: 25 GB in full, less than 1 GB with --quick. Real vectors
come from REAL.npy, which is made of the pictures below --pictures if it does not exist; a million of them are copies
with jitter. Libraries that are compared with (faiss-cpu, usearch, sqlite-vec and apsw) are taken if they are installed,
also from a folder given by --anchors. Markdown on stdout, where it is on stderr. Minutes with --quick, an hour in full.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import machine, seconds_of, table
from search_asking import (
    FLOOR,
    FULL,
    QUICK,
    Bench,
    K,
    asker,
    command,
    in_turns,
    ms,
    numbers_for,
    opened,
    query_command,
    rank,
    ranker,
    say,
    shas,
)
from search_data import Work, read_real
from search_growth import growth
from synthetic_database import sha256_of

KINDS = ("clustered", "real")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="keeps vectors and databases; else a new folder")
    parser.add_argument(
        "--vectors", type=Path, help="real vectors, float16 (n, dim); made if missing"
    )
    parser.add_argument("--pictures", type=Path, help="what to make them of")
    parser.add_argument("-m", "--model", default="builtin", help="what to make them with")
    parser.add_argument("--anchors", type=Path, help="a folder of further packages (pip --target)")
    parser.add_argument("--figures", type=Path, help="draw search_growth.png into this folder")
    parser.add_argument("--only", action="append", choices=list(SECTIONS), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="few vectors: a trial")
    return parser.parse_args()


def cold(bench: Bench) -> None:
    """Commands that begin with nothing in memory, in turns with a Python that only imports."""
    sizes, rows = bench.sizes, []
    for count, scene, most in (
        (sizes.small, "off", 2.0),
        (sizes.middle, "off", 3.0),
        (sizes.large, "scene-7", 3.0),
        (sizes.large, "off", None),
    ):
        database = bench.work.database("clustered", count)
        found = in_turns(
            sizes.processes,
            {
                "floor": command("-c", FLOOR),
                "query": query_command(database, count // 3, "--scene", scene),
            },
        )
        ratio = found["query"] / found["floor"]
        name = f"{count:,} pictures, cold command, " + (
            "no filter" if scene == "off" else "a scene filter"
        )
        rows.append([name, ms(found["query"]), ms(found["floor"]), f"{ratio:.2f}"])
        if most is not None:
            bench.goal(name, ratio, most, unit="times the floor", least=False)
    print(f"### Cold command\n\nThe floor is `python -c {FLOOR!r}`, in turns with the query.\n")
    print(table(["query by SHA-256", "time", "floor", "ratio"], rows))


def warm(bench: Bench) -> None:
    """An opened database against numpy, the same answers; the approximate search; many queries at once."""
    print("### Opened database\n")
    print(
        "Ranking: which pictures are nearest, and how near exactly. Whole answers add their paths and scenes.\n"
    )
    rows = []
    for kind in KINDS:
        rows += list(_warm_rows(bench, kind))
    head = ["way", "vectors", "ranking", "times faster than numpy", "whole answer", "right"]
    print(table(head, rows))


def _warm_rows(bench: Bench, kind: str) -> Iterator[list[str]]:
    sizes = bench.sizes
    count = sizes.large
    database, vectors = bench.work.database(kind, count), bench.work.vectors(kind, count)
    numbers = numbers_for(count, sizes.recall)
    many = [sha256_of(number) for number in numbers_for(count, sizes.batch, seed=6)]
    matrix = vectors.astype(np.float32)
    name = f"{count:,} {kind}"
    turn = itertools.cycle(numbers)

    def numpy_top() -> np.ndarray:
        similar = matrix @ matrix[next(turn)]
        near = np.argpartition(-similar, K)[:K]
        return near[np.argsort(-similar[near])]

    with opened(database) as exact, opened(database, approximate=True) as approximate:
        say(f"warm, {name}")
        works = {"numpy": numpy_top, "exact": ranker(exact, numbers)}
        works["approximate"] = ranker(approximate, numbers)
        works["exact, whole"] = asker(exact, numbers)
        works["approximate, whole"] = asker(approximate, numbers)
        found = in_turns(sizes.warm, works)
        say(f"many at once, {name}")
        queries = [exact.query_of_stored(sha256) for sha256 in many]
        together = seconds_of(lambda: rank(exact, queries)) / len(queries)
        whole = seconds_of(lambda: exact.answer_queries(queries)) / len(queries)
        say(f"recall, {name}")
        truth = [exact.answer_stored(sha256_of(number)) for number in numbers]
        tried = [approximate.answer_stored(sha256_of(number)) for number in numbers]
    checked = min(100, len(numbers))
    same = sum(agrees(truth[at], matrix, numbers[at]) for at in range(checked))
    met = sum(len(shas(one) & shas(other)) for one, other in zip(truth, tried, strict=True))
    recall = met / sum(len(shas(answer)) for answer in truth)
    ratio = {key: found["numpy"] / seconds for key, seconds in found.items()}
    unit = "times numpy"
    bench.goal(f"{name}, warm, exact", ratio["exact"], 2, unit=unit, least=True)
    case = f"{name}, warm, --approximate"
    bench.goal(case, ratio["approximate"], 12, unit=unit, least=True)
    bench.goal(f"{name}, --approximate, recall@10", recall, 0.999, unit="", least=True)
    case = f"{name}, {len(queries):,} queries at once, exact"
    bench.goal(case, found["exact"] / together, 5, unit="times one by one", least=True)
    yield ["numpy, float32 product and top-k", name, ms(found["numpy"]), "1.0", "", ""]
    for way, right in (
        ("exact", f"same answer: {same} of {checked}"),
        ("approximate", f"recall@10 {recall:.4f} ({len(truth)} queries)"),
    ):
        times, all_of_it = f"{ratio[way]:.1f}", ms(found[f"{way}, whole"])
        yield [f"ours, {way}", name, ms(found[way]), times, all_of_it, right]
    way, times = f"ours, exact, {len(queries):,} at once, each", f"{found['numpy'] / together:.1f}"
    yield [way, name, ms(together), times, ms(whole), ""]


def agrees(answer: Any, matrix: np.ndarray, number: int) -> bool:
    """Whether an answer's pictures lie as near as those that numpy finds nearest; ties may stand for each other."""
    similar = matrix @ matrix[number]
    # Some more than K: float32 may put two the wrong way round that lie close to each other.
    few = matrix[np.argpartition(-similar, 5 * K)[: 5 * K]].astype(np.float64)
    near = np.sort(np.linalg.norm(few - matrix[number], axis=1))[:K]
    return bool(np.allclose([hit.distance for hit in answer.hits], near, rtol=0, atol=1e-9))


def index(bench: Bench) -> None:
    """The index of `analyse ann`: what it takes, and what it finds."""
    from image_similarity import Case

    count, rows = bench.sizes.large, []
    for kind in KINDS:
        database = bench.work.database(kind, count)
        path = database.with_suffix(".ann")
        say(f"index, {count:,} {kind}")
        with Case.open(database, read_only=True) as case:
            began = time.perf_counter()
            info = case.build_ann(path)
            seconds = time.perf_counter() - began
        numbers = numbers_for(count, bench.sizes.recall)
        with opened(database) as exact, opened(database, approximate=True, index=path) as indexed:
            works = {"exact": ranker(exact, numbers), "index": ranker(indexed, numbers)}
            found = in_turns(bench.sizes.warm, works)
        rows.append(
            [
                f"{count:,} {kind}",
                f"{seconds:,.0f} s",
                f"{info.size_bytes / count:,.0f}",
                ms(found["index"]),
                f"{found['exact'] / found['index']:.1f}",
                f"{info.recall:.4f} ({info.queries} queries)",
            ]
        )
    print("### Index of `analyse ann`\n")
    head = ["vectors", "build", "bytes a picture", "query", "times faster than exact"]
    print(table([*head, "measured recall@10"], rows))


def size(bench: Bench) -> None:
    """What a picture takes on disk, all included but EXIF."""
    count = bench.sizes.large
    each = bench.work.database("clustered", count).stat().st_size / count
    name = f"bytes on disk a picture, {count:,}, float16, 256 dimensions"
    bench.goal(name, each, 1500, unit="bytes", least=False)


def anchors(bench: Bench) -> None:
    """Other ways to search in the same vectors, and the earlier system's loop."""
    import search_anchors

    count = bench.sizes.anchors
    rows = []
    for kind in KINDS:
        vectors = np.array(bench.work.vectors(kind, count))
        numbers = numbers_for(count, 200)
        with opened(bench.work.database(kind, count)) as exact:
            ask = ranker(exact, numbers)
            for name, way in search_anchors.WAYS.items():
                say(f"{name}, {count:,} {kind}")
                rows.append(_anchor_row(bench, name, way, ask, vectors, numbers, kind))
    print(f"### Other ways, {count:,} pictures\n\nOurs: exact, in turns with each.\n")
    head = [
        "way",
        "vectors",
        "made in",
        "bytes a picture",
        "time",
        "ours",
        "times ours",
        "recall@10",
    ]
    print(table(head, rows))
    _earlier(bench)


def _anchor_row(
    bench: Bench,
    name: str,
    way: Any,
    ours: Callable[[], Any],
    vectors: np.ndarray,
    numbers: Sequence[int],
    kind: str,
) -> list[str]:
    try:
        with tempfile.TemporaryDirectory(dir=bench.work.folder) as folder, ExitStack() as stack:
            began = time.perf_counter()
            ask, kept = stack.enter_context(way(vectors, Path(folder)))
            made = time.perf_counter() - began
            turn = itertools.cycle(numbers)
            works = {"ours": ours, "theirs": lambda: ask(vectors[next(turn)])}
            found = in_turns(min(bench.sizes.warm, 15), works)
            met = 0
            for number in numbers[:50]:
                far = _distances(vectors, number)
                near = np.asarray(ask(vectors[number])).astype(np.int64)
                met += int((far[near] <= np.partition(far, K - 1)[K - 1] + 1e-5).sum())
    except ImportError as error:
        return [name, kind, f"not installed ({error.name})", *[""] * 5]
    times = f"{found['theirs'] / found['ours']:.2f}"
    size = f"{kept / len(vectors):,.0f}"
    costs = [f"{made:,.1f} s", size, ms(found["theirs"]), ms(found["ours"])]
    return [name, kind, *costs, times, f"{met / 500:.3f}"]


def _distances(vectors: np.ndarray, number: int) -> np.ndarray:
    difference = vectors.astype(np.float32) - vectors[number].astype(np.float32)
    squared: np.ndarray = np.einsum("nd,nd->n", difference, difference)
    return squared


def _earlier(bench: Bench) -> None:
    import earlier_system
    import search_earlier

    from image_similarity.encoding import registry

    count = bench.sizes.earlier
    say(f"the earlier system, {count:,}")
    with tempfile.TemporaryDirectory(dir=bench.work.folder) as folder:
        pictures = search_earlier.make_pictures(Path(folder) / "pictures", count, 1)
        blocks = search_earlier.vectors_in_blocks(pictures.clusters, earlier_system.DIMENSIONS, 1)
        database = Path(folder) / "earlier.db"
        search_earlier.write_earlier(database, pictures, earlier_system.SCENES, blocks)
        theirs, compared = search_earlier.time_earlier(database, pictures)
        bytes_each = database.stat().st_size / count
    with tempfile.TemporaryDirectory(dir=bench.work.folder) as folder:
        info = registry.info(registry.get(bench.model))
        same, asked = search_earlier.count_same_orders(info, bench.model, 1, Path(folder))
    with opened(bench.work.database("clustered", bench.sizes.small)) as searcher:
        ask = asker(searcher, numbers_for(bench.sizes.small, 100))
        ours = in_turns(bench.sizes.warm, {"ours": ask})["ours"]
    print(
        f"The earlier system's loop over {count:,} pictures: {ms(theirs)} a query in one scene"
        f" ({compared:,} pictures compared), {bytes_each / 1000:,.0f} KB a picture on disk; ours over all"
        f" {bench.sizes.small:,}: {ms(ours)}, {theirs / ours:,.0f} times faster. On the same vectors and scenes both"
        f" give the same pictures in the same order at the same distances in {same} of {asked} queries.\n"
    )


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "cold": cold,
    "warm": warm,
    "index": index,
    "size": size,
    "anchors": anchors,
    "growth": growth,
}


def main() -> None:
    arguments = parse_arguments()
    if arguments.anchors:
        # Behind our own: only what is not installed here comes from there.
        sys.path.append(str(arguments.anchors.resolve()))
    sizes = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory() as fresh:
        folder = arguments.work or Path(fresh)
        folder.mkdir(parents=True, exist_ok=True)
        real = read_real(arguments.vectors, arguments.pictures, arguments.model, sizes.real)
        work = Work(folder, real)
        bench = Bench(sizes, work, arguments.model, arguments.figures, [])
        print(f"{machine()}.")
        print(
            f"Real vectors: {len(real):,} of {real.shape[1]} numbers; beyond that copies with jitter.\n"
        )
        try:
            for name in arguments.only or SECTIONS:
                SECTIONS[name](bench)
        finally:
            # Also when a full disk ends it after half an hour.
            print("### Goals\n")
            print(table(["case", "measured", "goal", "reached"], bench.goals))


if __name__ == "__main__":
    main()
