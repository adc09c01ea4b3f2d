"""Measure how smoothly the page's map of 50,000 generated pictures moves and zooms, in a browser without a GPU.

    python scripts/bench_map_page.py [--count 50000] [--frames 240] [--browser /usr/bin/chromium]

Positions are generated, no t-SNE runs; thumbnails are generated as well. The page is moved by pointer and wheel
events, one a frame, from afar (dots) and near by (thumbnails). Told are the time between frames, what the page's own
scripts took of it, and what the browser took of the processors; as a measure, the same of an empty canvas of the same
size that is filled, with a rectangle that moves, in the same run.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import synthetic_database
from benchmark import seconds_of
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from image_similarity.case import Case
from image_similarity.reports.map_layout import COLUMNS
from image_similarity.web import server
from image_similarity.web.desk import Desk
from image_similarity.web.options import ServeOptions
from image_similarity.web.sessions import Sessions
from image_similarity.web.thumbnails import Thumbnails, folder_of

SCENES = 100
# Groups that the positions are drawn around.
GROUPS = 120
WINDOW = {"width": 1280, "height": 900}

# Gives the milliseconds between frames, and those that scripts took in each; `act` is called once a frame.
FRAMES = """
  window.framesOf = async (count, act) => {
    const between = [], busy = [];
    const own = window.requestAnimationFrame.bind(window);
    let taken = 0;
    window.requestAnimationFrame = (draw) => own((now) => {
      const start = performance.now();
      draw(now);
      taken += performance.now() - start;
    });
    const next = () => new Promise((done) => own(done));
    let before = await next();
    for (let frame = 0; frame < count; frame++) {
      const start = performance.now();
      act(frame);
      taken += performance.now() - start;
      const now = await next();
      between.push(now - before);
      busy.push(taken);
      [before, taken] = [now, 0];
    }
    window.requestAnimationFrame = own;
    return { between, busy };
  };
"""
EMPTY = """(count) => {
  const map = document.getElementById("map");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [map.width, map.height];
  Object.assign(canvas.style, { position: "fixed", left: 0, top: 0, zIndex: 9 });
  document.body.append(canvas);
  const pen = canvas.getContext("2d", { alpha: false });
  const draw = (frame) => {
    pen.fillStyle = "white";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = "black";
    pen.fillRect(frame % canvas.width, 100, 50, 50);
  };
  return window.framesOf(count, (frame) => requestAnimationFrame(() => draw(frame))).finally(() => canvas.remove());
}"""
PAN = """(count) => {
  const map = document.getElementById("map");
  const box = map.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const send = (kind, dx, dy) => map.dispatchEvent(new PointerEvent(kind, {
    pointerId: 1, isPrimary: true, button: 0, bubbles: true, clientX: x + dx, clientY: y + dy }));
  map.setPointerCapture = () => {};
  send("pointerdown", 0, 0);
  return window.framesOf(count, (frame) => send("pointermove", 150 * Math.sin(frame / 15), 110 * Math.sin(frame / 11)))
    .finally(() => send("pointerup", 0, 0));
}"""
ZOOM = """(count) => {
  const map = document.getElementById("map");
  const box = map.getBoundingClientRect();
  return window.framesOf(count, (frame) => map.dispatchEvent(new WheelEvent("wheel", {
    deltaY: 40 * (frame % 120 < 60 ? -1 : 1), bubbles: true, cancelable: true,
    clientX: box.left + box.width / 3, clientY: box.top + box.height / 2 })));
}"""


@dataclass(frozen=True)
class Measured:
    """What frames took, in milliseconds: from one to the next, of that the page's scripts, and of the processors."""

    between: list[float]
    busy: list[float]
    processors: float

    def __str__(self) -> str:
        return f"{_told(self.between)}   scripts {_told(self.busy)}   processors {self.processors:5.1f} ms"


def _told(values: list[float]) -> str:
    return f"median {statistics.median(values):6.1f} ms, 95 % below {np.percentile(values, 95):6.1f} ms"


def write_layout(path: Path, count: int, fingerprint: str) -> None:
    """Write positions in groups, as t-SNE gives them."""
    random = np.random.default_rng(1)
    middles = random.normal(size=(GROUPS, 2)) * 40
    xy = middles[random.integers(GROUPS, size=count)] + random.normal(size=(count, 2)) * 3
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(COLUMNS)
        for number, (x, y) in enumerate(xy.tolist()):
            sha256 = synthetic_database.sha256_of(number)
            rows.writerow([x, y, sha256, "", "", "", "true", "synthetic", fingerprint, 30.0, 1])


class Generated(Thumbnails):
    """Thumbnails of pictures that do not exist."""

    def jpeg(self, sha256: str, side: int) -> tuple[bytes, bool]:
        """Give a gradient in two colours of the picture's own."""
        ends = np.frombuffer(bytes.fromhex(sha256)[:6], np.uint8).reshape(2, 3).astype(float)
        share = np.linspace(0, 1, side)[:, None, None]
        pixels = np.broadcast_to(ends[0] * (1 - share) + ends[1] * share, (side, side, 3))
        target = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(target, "JPEG")
        return target.getvalue(), True


@contextmanager
def served(options: ServeOptions) -> Iterator[str]:
    """Serve a case with generated thumbnails; gives the link that opens it."""
    taken = server.listen(options)
    options = replace(options, port=taken.getsockname()[1])
    with taken, Desk(options) as desk:
        desk.maps._thumbnails = Generated(desk.case, options, desk.decoding)
        sessions = Sessions()
        loop = server.loop(desk, sessions)
        thread = threading.Thread(target=loop.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        while not loop.started:
            time.sleep(0.01)
        yield server.link(options, sessions.key)
        loop.should_exit = True
        thread.join(30)


def measure(page: Page, script: str, frames: int) -> Measured:
    """Let the page move for so many frames."""
    before = processor_seconds()
    found: dict[str, Any] = page.evaluate(script, frames)
    taken = processor_seconds() - before
    return Measured(found["between"], found["busy"], 1000 * taken / frames)


def processor_seconds() -> float:
    """What the processes that this one began have taken: on a busy machine a better measure than the clock."""
    about = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            about[int(path.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    ours = {os.getpid()}
    while more := {each for each, (parent, _) in about.items() if parent in ours} - ours:
        ours |= more
    taken = sum(about[each][1] for each in ours - {os.getpid()} if each in about)
    return taken / os.sysconf("SC_CLK_TCK")


def report(page: Page, count: int, frames: int, folder: Path | None) -> None:
    """Measure from afar and near by, and print it beside the empty canvas."""
    begun = time.perf_counter()
    page.get_by_text("laid out by").wait_for()
    page.locator("#map[aria-busy=false]").wait_for()
    print(f"{count:,} pictures; the map is there after {time.perf_counter() - begun:.1f} s")
    page.evaluate(FRAMES)
    empty = measure(page, EMPTY, frames)
    print(f"{'empty canvas':28} {empty}")

    def tell(name: str, script: str) -> None:
        found = measure(page, script, frames)
        ratio = statistics.median(found.between) / statistics.median(empty.between)
        late = np.percentile(found.between, 95) / np.percentile(empty.between, 95)
        print(f"{name:28} {found}   ratio {ratio:.2f}, {late:.2f}")
        if folder:
            page.screenshot(path=folder / f"{name.replace(' ', '-').replace(',', '')}.png")

    tell("dots, moving", PAN)
    tell("from dots to sheets and back", ZOOM)
    page.get_by_role("button", name="The whole map").click()
    while float(page.url.rpartition(",")[2] if "#" in page.url else 0) < 16:
        page.get_by_role("button", name="Closer").click()
        page.wait_for_timeout(300)
    page.locator("#map[aria-busy=false]").wait_for()
    tell("sheets, moving", PAN)
    tell("sheets, moving again", PAN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--screenshots", type=Path, help="a folder for what was to be seen")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        database, count = Path(base) / "case.db", arguments.count
        info = synthetic_database.model_info(8, SCENES)
        blocks = synthetic_database.clustered(count, 8, SCENES)
        synthetic_database.write(database, info, blocks, packed=False)
        options = ServeOptions(database, port=0, cache=Path(base) / "cache")
        folder = folder_of(options)
        assert folder is not None  # noqa: S101 - a cache was given
        layout = folder / f"map-{info.fingerprint[:16]}.csv"
        write_layout(layout, count, info.fingerprint)
        with Case.open(database, read_only=True) as case:
            # Cells are found when a map is laid out, and are kept.
            print(f"cells in {seconds_of(lambda: case.laid_out(layout)):.1f} s")
            print(f"read again in {seconds_of(lambda: case.laid_out(layout)):.1f} s")
        with served(options) as link, sync_playwright() as playwright:
            flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=arguments.browser, args=flags)
            page = browser.new_page(viewport=WINDOW)
            page.set_default_timeout(180_000)
            page.goto(link)
            site = link.partition("/sign-in")[0]
            page.goto(f"{site}/map")
            report(page, count, arguments.frames, arguments.screenshots)
            browser.close()


if __name__ == "__main__":
    main()
