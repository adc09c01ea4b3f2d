"""`db import`."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Made, Run


@pytest.fixture
def old(indexed: Made, tmp_path: Path) -> Path:
    """An earlier database of three pictures of the folder, one of them twice, and of one that is not there."""
    path = tmp_path / "old.db"
    names = ["picture-0.png", "picture-1.png", "picture-2.png", "lost.png", "picture-0.png"]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE metadata (imageId INTEGER PRIMARY KEY AUTOINCREMENT,"
            " image_path TEXT, embedding TEXT, scene_type TEXT)"
        )
        connection.executemany(
            "INSERT INTO metadata (image_path, embedding, scene_type) VALUES (?, ?, ?)",
            [
                (f"photos/{name}", json.dumps([1.0, number, 0.0]), "attic")
                for number, name in enumerate(names)
            ],
        )
    return path


def test_an_earlier_database_is_taken_over_and_searched(
    run: Run, indexed: Made, old: Path, tmp_path: Path
) -> None:
    before, database = old.read_bytes(), tmp_path / "new.db"
    outcome = run("db", "import", old, "-ip", indexed.folder, "-dp", database)
    assert outcome.code == 3
    assert "4 seen = 3 new + 0 duplicate + 0 unchanged + 1 failed" in outcome.out
    assert "5, of them with a path that came before: 1" in outcome.out
    assert "lost.png" in outcome.out
    assert old.read_bytes() == before
    found = run("query", indexed.first, "-dp", database, "-m", "earlier", "--format", "paths")
    assert [Path(line).name for line in found.out.splitlines()] == [
        "picture-1.png",
        "picture-2.png",
    ]
    unknown = run("query", indexed.folder / "picture-4.png", "-dp", database)
    assert unknown.code == 13
    assert "the network that made them is not here" in unknown.err


def test_the_account_comes_as_json(run: Run, indexed: Made, old: Path, tmp_path: Path) -> None:
    given = ("-ip", indexed.folder, "-dp", tmp_path / "new.db", "--source", "photos")
    (report,) = run("db", "import", old, *given, "--format", "json").objects()
    assert (report["rows"], report["repeated"], report["run"]["new"]) == (5, 1, 3)
    assert report["run"]["source"] == "photos"


def test_what_is_no_earlier_database_exits_with_10_and_makes_none(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    new = tmp_path / "new.db"
    for other in (indexed.database, indexed.first, tmp_path / "none.db"):
        assert run("db", "import", other, "-ip", indexed.folder, "-dp", new).code == 10
    assert not new.exists()


def test_any_other_command_says_how_to_take_it_over(run: Run, old: Path) -> None:
    outcome = run("db", "status", "-dp", old)
    assert outcome.code == 10
    assert f"image-similarity db import {old}" in outcome.err
