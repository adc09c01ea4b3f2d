"""What the tests of the command line share: a way to run commands, and a database to run them on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from image_similarity.cli import main
from tests.conftest import draw_picture

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects of stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function `run("query", path, "-dp", db)` that runs a command in this process, as `main` does."""

    def call(
        *arguments: object, command: Any = main.cli, name: str = "image-similarity"
    ) -> Outcome:
        capsys.readouterr()
        code = main.run(command, [str(each) for each in arguments], name)
        written = capsys.readouterr()
        return Outcome(code, written.out, written.err)

    return call


def start(*arguments: object, **settings: Any) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "image_similarity", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


@dataclass(frozen=True)
class Made:
    """An indexed folder: 5 pictures, a copy of the first, a broken picture and a document."""

    folder: Path
    database: Path
    model: Path

    @property
    def first(self) -> Path:
        """A picture that is indexed at two places."""
        return self.folder / "picture-0.png"


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Made:
    """A database that no test may write to."""
    base = tmp_path_factory.mktemp("indexed")
    folder = base / "evidence"
    (folder / "rooms").mkdir(parents=True)
    for number in range(5):
        draw_picture(number, (64, 48)).save(folder / f"picture-{number}.png")
    shutil.copyfile(folder / "picture-0.png", folder / "rooms" / "copy.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (folder / "letter.txt").write_text("Dear Sir")
    database = base / "case.db"
    code = main.run(main.cli, index_arguments(folder, database, tiny_model), "image-similarity")
    assert code == 3
    return Made(folder, database, tiny_model)


@pytest.fixture(autouse=True)
def nobody_writes_to_it(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the very test that wrote to the database that all share."""
    if "indexed" not in request.fixturenames:
        yield
        return
    database = request.getfixturevalue("indexed").database
    before = database.read_bytes()
    yield
    changed = database.read_bytes() != before
    if changed:
        database.write_bytes(before)
    assert not changed, "take the fixture `copied` or `case`"


@pytest.fixture
def copied(indexed: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The indexed folder, and a copy of its database that may be written to."""
    database = Path(shutil.copy(indexed.database, tmp_path_factory.mktemp("copied") / "case.db"))
    return Made(indexed.folder, database, indexed.model)


@pytest.fixture(scope="session")
def pristine(indexed: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What `case` is made of; the database was made when the folder lay beside it, as `case/evidence`."""
    base = tmp_path_factory.mktemp("pristine", numbered=False)
    folder = base / "case" / "evidence"
    shutil.copytree(indexed.folder, folder)
    for path in folder.rglob("*"):
        # A file younger than 2 s is read again by the next run.
        os.utime(path, (1_600_000_000, 1_600_000_000))
    database = base / "case.db"
    main.run(main.cli, index_arguments(folder, database, indexed.model), "image-similarity")
    shutil.copytree(folder, base / "evidence")
    return Made(base / "evidence", database, indexed.model)


@pytest.fixture
def case(pristine: Made, tmp_path: Path) -> Made:
    """A copy of the indexed folder and of its database, for a test that writes.

    The folder lies where it was indexed, and is made anew for each test.
    """
    base = pristine.folder.parent / "case"
    shutil.rmtree(base, ignore_errors=True)
    folder = Path(shutil.copytree(pristine.folder, base / "evidence"))
    database = Path(shutil.copy(pristine.database, tmp_path / "case.db"))
    return Made(folder, database, pristine.model)


def index_arguments(folder: Path, database: Path, model: Path) -> list[str]:
    """The arguments of an index run with the tiny model."""
    return list(map(str, ["index", "-m", model, "--scenes", model, "-ip", folder, "-dp", database]))
