"""Measure the analyst's page: its answers against the ranking alone, its weight, its grids, thumbnails, many clients.

    python scripts/bench_page.py --pictures DIR [--work DIR] [--only search] [--quick]

The page is served as by `image-similarity serve`, in a process of its own, and asked over loopback. Databases of 36,500
and 200,000 generated pictures are those of bench_search.py, kept in --work; grids and thumbnails show a thousand copies
of the pictures below --pictures, indexed with `builtin`. Needs Chromium. Markdown on stdout, where it is on stderr.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from benchmark import ROOT, copy_pictures, machine, seconds_of, table
from search_asking import in_turns, ms, numbers_for, opened, ranker, say
from search_data import Work
from synthetic_database import sha256_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

K = 100
TIMES = 3.0
KILOBYTES = 200
# Of Chromium's frames while a grid is scrolled, in pixels a step: a turn of a wheel.
STEP = 120
# What is asked again and again in the page: the time between two frames.
FRAMES = """() => {
  window.frames = []; let last = performance.now();
  const tick = (now) => { window.frames.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
}"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    searched: tuple[int, ...] = (36_500, 200_000)
    pictures: int = 1_000
    warm: int = 40
    clients: tuple[int, ...] = (1, 4, 16)
    requests: int = 20


QUICK = Sizes(searched=(2_000, 10_000), pictures=150, warm=8, clients=(1, 4), requests=5)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every section needs; `goals` collects the rows of the first table."""

    sizes: Sizes
    work: Work
    pictures: Path
    goals: list[tuple[str, str, str, str]]

    def goal(self, case: str, found: float, most: float, unit: str) -> None:
        """Add a row that compares a figure with the most that it may be."""
        reached = "yes" if found <= most else "no"
        self.goals.append((case, f"{found:,.3g} {unit}", f"at most {most:g}", reached))


@contextmanager
def served(database: Path) -> Iterator[str]:
    """Serve a database for as long as the block takes; gives the link."""
    line = [
        sys.executable, "-m", "image_similarity", "serve", "-dp", database, "--port", "0",
        "--cache", database.with_suffix(".cache"),
    ]  # fmt: skip
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            yield server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.terminate()


def client_of(link: str) -> httpx.Client:
    """A program that has the key."""
    address, _, key = link.partition("/sign-in?token=")
    return httpx.Client(
        base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=300
    )


def asked(client: httpx.Client, sha256: str) -> Any:
    """The answer of the page to a picture of the case, with all its hits."""
    body = {"queries": [{"sha256": sha256}], "k": K, "scene": ["off"]}
    return client.post("/searches", json=body).raise_for_status().json()


def search(bench: Bench) -> None:
    """A known picture's results: the page, the class in this process, and the ranking alone, in turns."""
    from image_similarity import Case

    rows = []
    for count in bench.sizes.searched:
        say(f"search, {count:,}")
        database = bench.work.database("clustered", count)
        numbers = numbers_for(count, bench.sizes.warm + 1)
        with (
            served(database) as link,
            client_of(link) as client,
            Case.open(database, read_only=True) as case,
            opened(database, k=K) as searcher,
        ):
            works = _ways(case, client, ranker(searcher, numbers), numbers)
            for work in works.values():
                # The codes are read at the second search.
                work()
            same = [hit["sha256"] for hit in asked(client, sha256_of(7))["hits"]["items"]] == [
                hit.image.sha256 for hit in case.search(sha256=sha256_of(7), k=K, scene="off").hits
            ]
            found = in_turns(bench.sizes.warm, works)
        name = f"{count:,} pictures, k = {K}, warm"
        bench.goal(name, found["page"] / found["case"], TIMES, "times `Case.search`")
        rows.append(
            [f"{count:,}", *(ms(found[key]) for key in ("rank", "case", "page")),
             f"{found['page'] / found['case']:.2f}", "yes" if same else "NO"]
        )  # fmt: skip
    print("### A known picture's results\n")
    head = ["pictures", "ranking alone", "`Case.search`", "page", "page to `Case.search`", "same"]
    print(table(head, rows))


def _ways(
    case: Any, client: httpx.Client, rank: Callable[[], object], numbers: Sequence[int]
) -> dict[str, Callable[[], object]]:
    turn = itertools.cycle(map(sha256_of, numbers))
    return {
        "rank": rank,
        "case": lambda: case.search(sha256=next(turn), k=K, scene="off"),
        "page": lambda: asked(client, next(turn)),
    }


@contextmanager
def pictured(bench: Bench) -> Iterator[tuple[str, list[str]]]:
    """Serve a case of real pictures; gives the link and the SHA-256s of all."""
    from image_similarity import Case

    with tempfile.TemporaryDirectory(dir=bench.work.folder) as fresh:
        folder, database = Path(fresh) / "pictures", Path(fresh) / "case.db"
        say(f"indexing {bench.sizes.pictures:,} pictures")
        copy_pictures(bench.pictures, bench.sizes.pictures, folder)
        with Case.open(database) as case:
            case.index(folder, source="pictures")
        with served(database) as link:
            yield link, _hashes(link)


def _hashes(link: str) -> list[str]:
    found, cursor = [], ""
    with client_of(link) as client:
        while cursor is not None:
            page = client.get("/pictures", params={"limit": 500, "cursor": cursor}).json()
            found += [each["sha256"] for each in page["items"]]
            cursor = page["next"]
    return found


@contextmanager
def browser(link: str) -> Iterator[Page]:
    """A browser that is signed in."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.goto(link)
        yield page
        chromium.close()


def browser_of(window: Page) -> Any:
    """The browser of a page, for another context: what a page has loaded is cached."""
    return window.context.browser


def page(bench: Bench) -> None:
    """What is sent for each page without pictures and answers; then grids, thumbnails and clients."""
    with pictured(bench) as (link, hashes):
        with browser(link) as window:
            weight(bench, window, hashes)
            grid(bench, window, hashes)
        thumbnails(bench, link, hashes)
        clients(bench, link, hashes)


def weight(bench: Bench, window: Page, hashes: list[str]) -> None:
    """Bytes of HTML, CSS, scripts and texts, from an empty cache."""
    say("weight")
    address = window.url.rstrip("/")
    rows = []
    for name in ("/", f"/search?sha256={hashes[0]}", "/map", "/stacks", "/overview", "/selection"):
        context = browser_of(window).new_context(storage_state=window.context.storage_state())
        fresh = context.new_page()
        answers: list[Any] = []
        fresh.on("response", answers.append)
        fresh.goto(address + name)
        fresh.wait_for_load_state("networkidle")
        sent = [len(each.body()) for each in answers if "/api/v1/" not in each.url and each.ok]
        context.close()
        kilobytes = sum(sent) / 1000
        rows.append([f"`{name.partition('?')[0]}`", str(len(sent)), f"{kilobytes:,.0f} KB"])
        if name == "/":
            bench.goal("first page, without pictures", kilobytes, KILOBYTES, "KB")
    print("### Weight of the pages\n\nHTML, CSS, scripts and texts, nothing cached.\n")
    print(table(["page", "files", "sent"], rows))


def grid(bench: Bench, window: Page, hashes: list[str]) -> None:
    """A grid of all hits: until it can be used, and how even it scrolls."""
    say("grid")
    address = window.url.split("/", 3)
    began = time.perf_counter()
    window.goto("/".join(address[:3]) + f"/search?sha256={hashes[0]}&scene=off&k=1000")
    window.locator(".tile").first.wait_for()
    usable = time.perf_counter() - began
    window.mouse.move(900, 600)
    window.evaluate(FRAMES)
    seen = 0
    while True:
        for _ in range(10):
            window.mouse.wheel(0, STEP)
            window.wait_for_timeout(16)
        height = window.evaluate("document.documentElement.scrollHeight - innerHeight - scrollY")
        seen += 1
        if height < 1 or seen > 400:
            break
    frames = np.array(window.evaluate("window.frames"))
    tiles = window.locator(".tile").count()
    rows = [
        ["tiles at the end", f"{tiles:,}"],
        ["first hits to be seen and used after", f"{usable:.2f} s"],
        ["frames, median", f"{np.median(frames):.1f} ms"],
        ["frames, 95 of 100 within", f"{np.percentile(frames, 95):.1f} ms"],
        ["frames, the longest", f"{frames.max():.0f} ms"],
        ["frames longer than 50 ms", f"{(frames > 50).mean():.2%}"],
    ]
    print("### A grid of hits\n\nChromium without a graphics card, scrolled to its end.\n")
    print(table(["", "measured"], rows))


def thumbnails(bench: Bench, link: str, hashes: list[str]) -> None:
    """Made, then taken from the cache; of a side that no page asked for yet."""
    say("thumbnails")
    few = hashes[:200]
    with client_of(link) as client:

        def get(sha256: str) -> float:
            address = f"/pictures/{sha256}/thumbnail"
            return seconds_of(
                lambda: client.get(address, params={"side": 320}).raise_for_status().read()
            )

        made = statistics.median(map(get, few))
        cached = statistics.median(map(get, few))
    print("### Thumbnails\n")
    rows = [["made", ms(made), ""], ["from the cache", ms(cached), f"{made / cached:.1f}"]]
    print(table(["320 pixels", "each", "times faster"], rows))


def clients(bench: Bench, link: str, hashes: list[str]) -> None:
    """Several programs at once: searches, which take turns, and records, which do not."""
    say("clients")
    rows = []
    for count in bench.sizes.clients:
        for name, act in (("searches", asked), ("records", _record)):
            with ThreadPoolExecutor(count) as pool:
                began = time.perf_counter()
                parts = [
                    pool.submit(_busy, link, act, hashes, number, bench.sizes.requests)
                    for number in range(count)
                ]
                times = [each for part in parts for each in part.result()]
                seconds = time.perf_counter() - began
            rate = f"{len(times) / seconds:,.0f}"
            rows.append([str(count), name, rate, ms(statistics.median(times)), ms(max(times))])
    print(f"### Clients at once, {len(hashes):,} pictures\n")
    print(table(["clients", "ask for", "a second, together", "median", "longest"], rows))


def _record(client: httpx.Client, sha256: str) -> Any:
    return client.get(f"/pictures/{sha256}").raise_for_status().json()


def _busy(
    link: str, act: Callable[[httpx.Client, str], Any], hashes: list[str], first: int, times: int
) -> list[float]:
    with client_of(link) as client:
        chosen = [hashes[(first * times + number) % len(hashes)] for number in range(times)]
        return [seconds_of(lambda each=each: act(client, each)) for each in chosen]


SECTIONS: dict[str, Callable[[Bench], None]] = {"search": search, "page": page}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True, help="real ones, for the grids")
    parser.add_argument("--work", type=Path, help="keeps the databases; else a new folder")
    parser.add_argument("--only", action="append", choices=list(SECTIONS), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="few pictures: a trial")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as fresh:
        folder = arguments.work or Path(fresh)
        folder.mkdir(parents=True, exist_ok=True)
        sizes = QUICK if arguments.quick else Sizes()
        bench = Bench(sizes, Work(folder, np.empty((0, 0))), arguments.pictures, [])
        print(f"{machine()}.\n")
        for name in arguments.only or SECTIONS:
            SECTIONS[name](bench)
        print("### Goals\n")
        print(table(["case", "measured", "goal", "reached"], bench.goals))


if __name__ == "__main__":
    main()
