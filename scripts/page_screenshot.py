"""Draws the README's picture of the analyst's page: a search among photographs that anyone may show.

    python scripts/page_screenshot.py docs/figures/page.png [--address /search] [--dark]

The case is made of the photographs of scripts/demo.py and their edits, in a folder that is gone afterwards. They are
harmless, so they are shown uncovered; the page covers pictures until someone chooses otherwise. Needs Chromium.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import demo
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUERY = "rocket.jpg"
SIZE = {"width": 1280, "height": 800}
# A palette halves the file; photographs on a page show no difference at this size.
COLOURS = 256


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path)
    parser.add_argument("--address", help="another page than the search")
    parser.add_argument("--dark", action="store_true")
    return parser.parse_args()


def made_case(folder: Path) -> tuple[Path, str]:
    """Make and index the photographs and their edits; give the database and the SHA-256 of the query."""
    # The others want their authors named beside them.
    free = [each for each in demo.PHOTOGRAPHS if each[0] == "skimage"]
    gallery, edits = demo.make_pictures(folder, free)
    database = folder / "demo.db"
    for source in (gallery, edits):
        demo.run("generate_embeddings", "-m", "builtin", "-ip", source, "-dp", database)
    return database, hashlib.sha256((gallery / QUERY).read_bytes()).hexdigest()


@contextmanager
def served(database: Path) -> Iterator[str]:
    """Serve a case for as long as the block takes; gives the link."""
    line = [
        demo.BIN / "image-similarity", "serve", "-dp", database, "--port", "0",
        "--cache", database.parent / "cache",
    ]  # fmt: skip
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.terminate()


@contextmanager
def opened(link: str, *, dark: bool) -> Iterator[Page]:
    """A browser that is signed in and shows pictures."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE, color_scheme="dark" if dark else "light")
        page.goto(link)
        page.evaluate("localStorage.setItem('image_similarity.care', 'show')")
        yield page
        browser.close()


def main() -> int:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as fresh:
        database, sha256 = made_case(Path(fresh))
        with served(database) as link, opened(link, dark=arguments.dark) as page:
            address = arguments.address or f"/search?sha256={sha256}"
            page.goto(link.partition("/sign-in")[0] + address)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=arguments.target)
    with Image.open(arguments.target) as shot:
        shot.convert("RGB").quantize(COLOURS).save(arguments.target, optimize=True)
    print(f"{arguments.target}: {arguments.target.stat().st_size / 1000:.0f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
