"""What the tests of the page share: a case, its server on loopback, a client, and a browser that is signed in."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from image_similarity.cli import main
from image_similarity.web import server
from image_similarity.web.desk import Desk
from image_similarity.web.options import ServeOptions
from image_similarity.web.sessions import Sessions
from tests.cli.conftest import Made, index_arguments
from tests.conftest import draw_picture

# Names and EXIF texts that would be markup, if anything took them for it.
SCRIPT = "<img src=x onerror=alert(1)>.png"
PICTURES = 30
# Milliseconds for what should take a moment: the machine may be slow, and busy with other tests.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)
# Root has no sandbox, containers little shared memory, no test needs a GPU.
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


@dataclass
class Served:
    """A case that is served: its parts, and how to reach it."""

    made: Made
    options: ServeOptions
    sessions: Sessions
    desk: Desk
    url: str = field(init=False)
    link: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.options.port}"
        self.link = server.link(self.options, self.sessions.key)

    def client(self) -> httpx.Client:
        """A program that has the key."""
        headers = {"Authorization": f"Bearer {self.sessions.key}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=60)

    def hashes(self) -> list[str]:
        """The SHA-256 of all contents, in the order of their ids."""
        with self.desk.case._catalog.reading() as connection:
            rows = connection.exec_driver_sql("SELECT sha256 FROM image ORDER BY id")
            return [row[0] for row in rows]


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Made:
    """An indexed folder of 30 pictures, one of them at two places, some with EXIF, one with markup for a name.

    Beside them a broken picture and a document. No test may write to the database; `serve` copies it.
    """
    base = tmp_path_factory.mktemp("gallery")
    folder = base / "evidence"
    (folder / "rooms").mkdir(parents=True)
    for number in range(PICTURES - 1):
        picture = draw_picture(number, (160, 120))
        exif = Image.Exif()
        if number % 3 == 0:
            exif[271] = "<script>alert(1)</script>"
            exif.get_ifd(0x8769)[36867] = f"2024:{1 + number % 12:02d}:03 10:00:00"
        picture.save(folder / f"picture-{number:02d}.jpg", exif=exif)
    draw_picture(PICTURES - 1, (160, 120)).save(folder / SCRIPT)
    shutil.copyfile(folder / "picture-00.jpg", folder / "rooms" / "copy.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (folder / "letter.txt").write_text("Dear Sir")
    for path in folder.rglob("*"):
        # A file younger than 2 s is read again by the next run.
        os.utime(path, (1_600_000_000, 1_600_000_000))
    database = base / "case.db"
    code = main.run(main.cli, index_arguments(folder, database, tiny_model), "image-similarity")
    assert code == 3
    return Made(folder, database, tiny_model)


@contextmanager
def running(options: ServeOptions, made: Made) -> Iterator[Served]:
    """Serve in a thread until the block ends."""
    taken = server.listen(options)
    options = replace(options, port=taken.getsockname()[1])
    with taken, Desk(options) as desk:
        sessions = Sessions(options.password, desk.case.facts().examiner)
        loop = server.loop(desk, sessions)
        thread = threading.Thread(target=loop.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        while not loop.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        try:
            yield Served(made, options, sessions, desk)
        finally:
            loop.should_exit = True
            thread.join(30)


@pytest.fixture(scope="session", autouse=True)
def one_set_of_certificates() -> Iterator[None]:
    """Each client of httpx reads all certificates of the machine, also for plain HTTP: 40 ms, hundreds of times."""
    from httpx._transports import default

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(default, "create_ssl_context", cache(default.create_ssl_context))
        yield


Serve = Callable[..., Served]


@pytest.fixture
def serve(gallery: Made, tmp_path: Path) -> Iterator[Serve]:
    """A function that serves a copy of the gallery's database, with the settings given."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(**settings: Any) -> Served:
            database = Path(shutil.copy(gallery.database, tmp_path / "case.db"))
            settings = {"cache": tmp_path / "cache", "port": 0, **settings}
            made = Made(gallery.folder, database, gallery.model)
            return stack.enter_context(running(ServeOptions(database, **settings), made))

        yield start


@pytest.fixture
def served(serve: Serve) -> Served:
    """The gallery, served as by `serve -dp case.db`."""
    return serve()


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """A program that has the key of `served`."""
    with served.client() as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window; BROWSER_TESTS=required fails where there is none."""
    path = shutil.which("chromium")
    if path is None:
        assert os.environ.get("BROWSER_TESTS") != "required", "apt-get install chromium"
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        # And see `profile`.
        flags = [*FLAGS, "--process-per-site"]
        found = playwright.chromium.launch(executable_path=path, args=flags)
        yield found
        found.close()


@pytest.fixture
def several_windows(browser: Browser, served: Served) -> Iterator[BrowserContext]:
    """A browser of its own, signed in, whose windows are drawn by a process each, as a user's are.

    In one process for all, what one window stores did not always reach the others.
    """
    path = shutil.which("chromium")
    with (
        browser.browser_type.launch(executable_path=path, args=FLAGS) as found,
        found.new_context(viewport={"width": 1280, "height": 900}) as context,
    ):
        context.set_default_timeout(PATIENCE)
        context.request.get(served.link, timeout=PATIENCE)
        yield context


@pytest.fixture(scope="session")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """What all tests use of the browser, one after the other; see `forgetting`.

    One page stays open, and with it the process that draws the pages of this machine: to start one for each test takes
    a second or two.
    """
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(PATIENCE)
        kept = context.new_page()
        kept.route("**", lambda route: route.fulfill(body="", content_type="text/html"))
        kept.goto("http://127.0.0.1/")
        kept.unroute_all()
        yield context


@contextmanager
def forgetting(profile: BrowserContext, served: Served) -> Iterator[BrowserContext]:
    """A browser that remembers nothing of what was before, and afterwards nothing of the server."""
    kept = profile.pages[0]
    try:
        yield profile
    finally:
        for page in profile.pages[1:]:
            page.close()
        profile.clear_cookies()
        asked = profile.new_cdp_session(kept)
        asked.send("Storage.clearDataForOrigin", {"origin": served.url, "storageTypes": "all"})
        asked.send("Network.clearBrowserCache")
        asked.detach()


@contextmanager
def signed_in(profile: BrowserContext, served: Served) -> Iterator[BrowserContext]:
    """A browser that has followed the link, but not loaded the library to which that leads."""
    with forgetting(profile, served) as context:
        context.request.get(served.link, timeout=PATIENCE)
        yield context


@pytest.fixture
def context(profile: BrowserContext, served: Served) -> Iterator[BrowserContext]:
    """A browser that is signed in and remembers nothing."""
    with signed_in(profile, served) as found:
        yield found


@dataclass
class Window:
    """A browser's page that is signed in, and what went wrong in it."""

    page: Page
    served: Served
    errors: list[str]

    def go(self, address: str) -> Page:
        """Open an address of the server and wait until it has loaded what it wants."""
        self.page.goto(f"{self.served.url}{address}", wait_until="networkidle")
        return self.page


@pytest.fixture
def window(context: BrowserContext, served: Served) -> Iterator[Window]:
    """A window of the browser; the test fails where a script raised, or the policy refused something."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
    yield Window(page, served, errors)
    page.close()
    assert not errors, errors


# --- one server and one browser for a module none of whose tests leaves a trace; it names them `served` and `context`


@pytest.fixture(scope="module")
def shared_served(gallery: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The gallery, served for all tests of a module."""
    folder = tmp_path_factory.mktemp("shared")
    database = Path(shutil.copy(gallery.database, folder / "case.db"))
    made = Made(gallery.folder, database, gallery.model)
    with running(ServeOptions(database, port=0, cache=folder / "cache"), made) as served:
        yield served


@pytest.fixture(scope="module")
def shared_context(profile: BrowserContext, shared_served: Served) -> Iterator[BrowserContext]:
    """A browser for all tests of a module; each opens a window of its own."""
    with signed_in(profile, shared_served) as found:
        yield found
