"""What all tests share: small pictures, folders of them, a tiny model, and an isolated environment."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from image_similarity.values import Location, ServerUrl

PictureFactory = Callable[..., Path]
FolderFactory = Callable[..., Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_configure() -> None:
    # Where the tests run on all processors, each of them and each process that it starts has one for itself.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # With torch loaded, to look through all objects for cycles takes a fifth of a second.
    gc.set_threshold(50_000, 20, 100)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of the person who runs the tests reaches them, and no test reaches a home folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("IMAGE_SIMILARITY_")]:
            patch.delenv(name)
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        patch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def new_databases_are_made_quickly() -> Iterator[None]:
    """See tests/migrated.py."""
    from image_similarity.store import upgrade
    from tests.migrated import SayingAgain

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upgrade, "_migrate", SayingAgain())
        yield


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt of this process to look up a name or to connect fails the test."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"a socket was used: {args!r}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture
def pdq_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store a hash of the pixels in the place of PDQ: pdqhash needs a compiler, so it may be missing."""
    from image_similarity.matching import pdq

    def hash_pixels(pixels: Any) -> pdq.PdqHash:
        return pdq.PdqHash(hashlib.sha256(pixels.tobytes()).digest(), pixels.shape[0] // 8)

    monkeypatch.setattr(pdq, "require", lambda: None)
    monkeypatch.setattr(pdq, "hash_pixels", hash_pixels)


def draw_picture(seed: int, size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Return a deterministic picture: a gradient, three shapes, some noise; no two seeds look alike."""
    draw = random.Random(f"picture {seed}")
    width, height = size

    def colour() -> tuple[int, int, int]:
        return (draw.randrange(256), draw.randrange(256), draw.randrange(256))

    mask = Image.linear_gradient("L").resize(size).rotate(draw.randrange(360))
    picture = Image.composite(
        Image.new("RGB", size, colour()), Image.new("RGB", size, colour()), mask
    )
    pen = ImageDraw.Draw(picture)
    for shape in draw.sample([pen.ellipse, pen.rectangle, pen.line, pen.ellipse, pen.rectangle], 3):
        left, top = draw.randrange(width * 2 // 3), draw.randrange(height * 2 // 3)
        box = (left, top, left + max(2, width // 3), top + max(2, height // 3))
        if shape == pen.line:
            pen.line(box, fill=colour(), width=max(1, width // 12))
        else:
            shape(box, fill=colour())
    grain = Image.frombytes("L", size, draw.randbytes(width * height))
    picture = Image.blend(picture, grain.convert("RGB"), 0.08)
    return picture.convert(mode)


@pytest.fixture(scope="session")
def picture_factory() -> PictureFactory:
    """A function `make(path, seed=0, size=(96, 72), mode="RGB", **save)` that writes a picture.

    The format follows the suffix unless `format=` says otherwise; missing folders are made; the
    path comes back. The same arguments give the same bytes.
    """

    def make(
        path: str | Path,
        seed: int = 0,
        size: tuple[int, int] = (96, 72),
        mode: str = "RGB",
        **save: Any,
    ) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(seed, size, mode).save(path, **save)
        return path

    return make


@pytest.fixture
def make_folder(tmp_path: Path, picture_factory: PictureFactory) -> FolderFactory:
    """A function `make(name="evidence", n=6, duplicates=1, nested=True, seed=0)` that makes a folder.

    It holds `n` distinct pictures in several formats, `duplicates` byte-for-byte copies of the first
    ones (under `copies/`), and, when nested, every third picture lies in `rooms/deep/`.
    """
    suffixes = (".jpg", ".png", ".webp")

    def make(
        name: str | Path = "evidence",
        n: int = 6,
        duplicates: int = 1,
        nested: bool = True,
        seed: int = 0,
    ) -> Path:
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        made = []
        for number in range(n):
            below = Path("rooms/deep") if nested and number % 3 == 2 else Path()
            file_name = f"picture-{number:03d}{suffixes[number % 3]}"
            made.append(picture_factory(root / below / file_name, seed=seed * 1000 + number))
        for number, original in enumerate(made[:duplicates]):
            copy = root / "copies" / f"copy-{number:03d}{original.suffix}"
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(original, copy)
        return root

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of 16 dimensions and three scenes: deterministic, milliseconds to run."""
    from tests.tiny_model import write_tiny_model

    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    write_tiny_model(path)
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A running PostgreSQL server; see tests/postgres.py."""
    from tests import postgres

    with postgres.server() as url:
        yield url


@pytest.fixture
def postgres(postgres_server: str) -> ServerUrl:
    """An empty database of its own on that server."""
    from tests.postgres import fresh_database

    return fresh_database(postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Where a test may make its database: in a file, and once more on a server."""
    return _location(request, tmp_path)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_location(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Location:
    """As `location`, for a database that the tests of a module share, or copy."""
    return _location(request, tmp_path_factory.mktemp("shared"))


def _location(request: pytest.FixtureRequest, folder: Path) -> Location:
    if request.param == "sqlite":
        return folder / "case.db"
    from tests.postgres import fresh_case

    return fresh_case(request.getfixturevalue("postgres_server"))
