"""What evidence and crowds do to the page: markup in names and EXIF, files made to break a decoder, many at once."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext

from image_similarity.case import Case
from image_similarity.cli import main
from tests.cli.conftest import Made, index_arguments, start
from tests.conftest import draw_picture
from tests.web.conftest import SCRIPT, Serve, Served, Window

EXIF = "<script>alert(1)</script><img src=y onerror=alert(1)>"
# Each would run, or be seen as bold, if anything took it for markup.
TAG = "<b onclick=alert(1)>tag</b>"
NOTE = "<svg onload=alert(1)>{{ 7 * 7 }} javascript:alert(1)"
SOURCE = "<i>source</i>"
# The slash of an end tag can stand in a path only.
BROKEN = "<script>alert(1)</script>.jpg"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Made:
    """A small case in which everything that evidence can name is markup."""
    base = tmp_path_factory.mktemp("hostile")
    folder = base / "evidence"
    (folder / BROKEN).parent.mkdir(parents=True)
    exif = Image.Exif()
    exif[271] = exif[272] = EXIF
    for number in range(4):
        draw_picture(number, (160, 120)).save(folder / f"'\"&lt;{number}.jpg", exif=exif)
    draw_picture(9, (160, 120)).save(folder / SCRIPT, exif=exif)
    shutil.copyfile(folder / SCRIPT, folder / "copy of it.png")
    (folder / BROKEN).write_bytes(b"\xff\xd8\xff\xe0 no picture")
    for path in folder.rglob("*"):
        # A file younger than 2 s is read again by the next run.
        os.utime(path, (1_600_000_000, 1_600_000_000))
    database = base / "case.db"
    arguments = [*index_arguments(folder, database, tiny_model), "--source", SOURCE]
    assert main.run(main.cli, arguments, "image-similarity") == 3
    with Case.open(database) as case, case.acting_as("<u>examiner</u>"):
        picture = str(folder / SCRIPT)
        case.decide(picture, "tag", TAG)
        case.decide(picture, "note", NOTE)
    return Made(folder, database, tiny_model)


@pytest.fixture
def served(shared_served: Served) -> Served:
    """One server for all tests here but those that ask for one of their own."""
    return shared_served


@pytest.fixture
def context(shared_context: BrowserContext) -> BrowserContext:
    """One browser for all tests here."""
    return shared_context


# All that a page shows to people or tells a screen reader.
SHOWN = """() => [document.body.textContent, document.title].concat(
  ...Array.from(document.querySelectorAll("*"), (each) => Array.from(each.attributes, (one) => one.value))
).join("\\n")"""
MARKUP = "img[src='x'], img[src='y'], b, u, i, [onclick], [onload], [onerror], script:not([src])"


@pytest.mark.parametrize(
    ("address", "texts"),
    [
        ("/", [SCRIPT]),
        ("/?tag={tag}", [SCRIPT]),
        ("/search?sha256={sha256}", [SCRIPT]),
        ("/compare?query={other}&hit={sha256}", [SCRIPT, EXIF]),
        ("/overview", [SOURCE, BROKEN]),
        ("/stacks", []),
        ("/map", []),
        ("/selection", []),
        ("/search?sha256={script}", []),
        ("/?scene={script}&source={script}&tag={script}", []),
        ("/compare?query={script}&hit={script}", []),
        ("/sign-in?next={script}&token={script}", []),
    ],
)
def test_markup_in_names_and_exif_is_shown_as_text(
    window: Window, gallery: Made, address: str, texts: list[str]
) -> None:
    page, told = window.page, []
    page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
    sha256, other = hashes_of(gallery)
    values = {"tag": TAG, "sha256": sha256, "other": other, "script": f'">{EXIF}'}
    window.go(address.format(**{name: quoted(value) for name, value in values.items()}))
    for text in texts:
        page.wait_for_function(f"(text) => ({SHOWN})().includes(text)", arg=text)
    assert page.locator(MARKUP).count() == 0
    assert not told
    # Where the address made no sense, the server said so, and the browser notes it as an error.
    window.errors[:] = [each for each in window.errors if "status of 4" not in each]


def hashes_of(gallery: Made) -> tuple[str, str]:
    """The picture whose name is markup, and another one."""
    with Case.open(gallery.database, read_only=True) as case:
        found = [
            case.images_at(gallery.folder / name)[0].sha256 for name in (SCRIPT, "'\"&lt;0.jpg")
        ]
    return found[0], found[1]


def quoted(text: str) -> str:
    """A text as it stands in a query."""
    return str(httpx.QueryParams({"": text})).removeprefix("=")


def test_what_the_interface_tells_of_hostile_names_is_data(client: httpx.Client) -> None:
    answer = client.get("/pictures")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


# --- uploads ----------------------------------------------------------------------------------------


def png(width: int, height: int, body: bytes) -> bytes:
    """A PNG made by hand, of any size that it claims."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(form: str) -> bytes:
    buffer = io.BytesIO()
    draw_picture(3, (640, 480)).save(buffer, form)
    return buffer.getvalue()


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose head claims another size than its data has."""
    made = bytearray(encoded("JPEG"))
    at = made.index(b"\xff\xc0") + 5
    made[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(made)


HOSTILE = {
    "a bomb": png(50_000, 50_000, zlib.compress(bytes(10_000_000), 9)),
    "a bomb of 2 thousand million by one": png(2**31 - 1, 1, zlib.compress(b"")),
    "a picture without a pixel": png(0, 0, b""),
    "a picture whose data are missing": png(4_000, 4_000, zlib.compress(b"\0")),
    "a JPEG that claims 65,000 pixels each way": jpeg_of_size(65_000, 65_000),
    "a GIF that claims 65,535 pixels each way": b"GIF89a" + b"\xff\xff\xff\xff\x00\x00\x00;",
    "half a file": encoded("PNG")[:2000],
    "the first bytes of a file": encoded("JPEG")[:40],
    "a TIFF whose directory leads to itself": b"II*\x00\x08\x00\x00\x00"
    + b"\x00\x00"
    + b"\x08\0\0\0",
    "a drawing with a script": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "a page": b"<!DOCTYPE html><script>alert(1)</script>",
    "nothing": b"",
    "noise": random.Random(7).randbytes(50_000),
    "an archive": b"PK\x03\x04" + bytes(1000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_made_to_break_a_decoder_is_refused_in_words_and_the_page_goes_on(
    client: httpx.Client, name: str
) -> None:
    answer = client.post("/uploads", content=HOSTILE[name], params={"name": SCRIPT})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "image_unreadable")
    assert client.get("/case").status_code == 200


def test_a_picture_that_is_sent_in_pieces_is_taken_up_to_the_limit(serve: Serve) -> None:
    served = serve(most_uploaded=100_000)

    def pieces(count: int) -> Iterator[bytes]:
        yield encoded("PNG")[:50_000]
        for _ in range(count):
            yield bytes(10_000)

    with served.client() as client:
        assert client.post("/uploads", content=bytes(100_001)).status_code == 413
        assert client.post("/uploads", content=pieces(10)).status_code == 413
        assert client.post("/uploads", content=encoded("JPEG")).status_code == 200


def test_what_was_sent_comes_back_as_a_picture_and_never_as_it_was_sent(
    client: httpx.Client,
) -> None:
    sent = encoded("PNG") + b"<script>alert(1)</script>"
    sha256 = client.post("/uploads", content=sent, params={"name": SCRIPT}).json()["sha256"]
    answer = client.get(f"/uploads/{sha256}/picture")
    assert answer.headers["content-type"] == "image/jpeg"
    assert b"script" not in answer.content


# --- many at once -----------------------------------------------------------------------------------

CLIENTS, REQUESTS, NEW = 16, 12, 40


class Crowd:
    """Clients that ask and decide all at once, and what they were answered."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.hashes = served.hashes()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.decided: set[str] = set()
        self.without_pause: list[str] = []
        self._lock = threading.Lock()

    def run(self) -> None:
        """Let all of them ask, until all are answered."""
        threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
            assert not thread.is_alive()

    def _ask(self, number: int) -> None:
        chosen = random.Random(number)
        with self.served.client() as client:
            for count in range(REQUESTS):
                sha256 = chosen.choice(self.hashes)
                match chosen.choice(("picture", "list", "facets", "search", "decide", "decide")):
                    case "picture":
                        answer = client.get(f"/pictures/{sha256}/thumbnail")
                    case "list":
                        answer = client.get("/pictures", params={"limit": 50})
                    case "facets":
                        answer = client.get("/facets")
                    case "search":
                        asked = {"queries": [{"sha256": sha256}], "k": 5}
                        answer = client.post("/searches", json=asked)
                    case _:
                        value = f"tag-{number}-{count}"
                        said = {"kind": "tag", "sha256": sha256, "value": value}
                        answer = client.post("/decisions", json=said)
                        if answer.is_success:
                            self.decided.add(value)
                self._note(answer)

    def _note(self, answer: httpx.Response) -> None:
        with self._lock:
            name = answer.request.url.path.removeprefix("/api/v1/").partition("/")[0]
            self.statuses[name, answer.status_code] += 1
            if answer.status_code == 503 and "retry-after" not in answer.headers:
                self.without_pause.append(answer.text)


def test_many_clients_ask_and_decide_while_an_index_runs(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    evidence = tmp_path / "more"
    evidence.mkdir()
    for number in range(NEW):
        draw_picture(100 + number, (160, 120)).save(evidence / f"{number}.png")
    database = served.made.database
    arguments = index_arguments(evidence, database, served.made.model)
    indexing = start(*arguments, "--batch-size", 4, "--progress", "json")
    assert indexing.stderr is not None
    assert '"started"' in indexing.stderr.readline()
    crowd = Crowd(served)
    crowd.run()
    _, err = indexing.communicate(timeout=300)

    assert indexing.returncode == 0, err
    assert {status for _, status in crowd.statuses} <= {200, 201, 503}, crowd.statuses
    assert not crowd.without_pause
    assert crowd.decided
    with Case.open(database, read_only=True) as case:
        tags = {each.value for each in case.decisions() if each.kind == "tag"}
        assert tags - {TAG} == crowd.decided, "what was confirmed is there, and nothing else"
        assert case.verify_audit().consistent
        assert case.runs()[0].status == "done"
        assert case.status().images == len(crowd.hashes) + NEW
