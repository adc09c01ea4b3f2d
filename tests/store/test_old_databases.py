"""Databases that earlier versions wrote are upgraded, keep every row, and answer as they did.

tests/data/db holds one of each schema as SQL, written by the version that had it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from image_similarity import Case
from image_similarity.errors import SchemaTooOld
from image_similarity.store import packs
from image_similarity.store.schema import APPLICATION_ID, PAGE_SIZE
from image_similarity.values import SearchResult
from tests.store.packed import check

DUMPS = Path(__file__).resolve().parents[1] / "data" / "db"
QUERY = "3946ca64"
# What version 0001 answered: the scene, how many were searched and hidden, how many of these are nearer, the hits.
ANSWERS = [
    ("off", 10, 0, 0, [("a/p2.png", 0), ("a/p3.png", 0.500573), ("b/p3.png", 0.500573), ("a/p1.png", 0.500809)]),
    ("auto", 8, 2, 0, [("a/p2.png", 0), ("a/p3.png", 0.500573), ("b/p3.png", 0.500573), ("a/p1.png", 0.500809)]),
    ("hard", 4, 6, 3, [("a/p2.png", 0), ("a/p5.png", 1.376746), ("a/p6.png", 1.696103), ("b/p6.png", 1.696103)]),
    ("street", 6, 4, 2, [("a/p2.png", 0), ("a/p1.png", 0.500809), ("a/p5.png", 1.376746), ("a/p6.png", 1.696103)]),
]  # fmt: skip


@pytest.fixture(params=["0001", "0002", "0003"])
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A database of an earlier schema: eleven pictures, one of them gone, one partial, one without labels."""
    path = tmp_path / "case.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript((DUMPS / f"{request.param}.sql").read_text(encoding="utf-8"))
    return path


def rows(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        tables = ["image", "file", "embedding", "image_scene", "run", "source", "model", "scene"]
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in tables
        }


def told(result: SearchResult) -> tuple[int, int, int, list[tuple[str, float]]]:
    hits = [(hit.place.path, round(hit.distance, 6)) for hit in result.hits]
    return result.filter.searched, result.filter.hidden, result.filter.hidden_nearer, hits


def answers_are_the_same(path: Path) -> None:
    with Case.open(path, read_only=True) as case:
        for scene, *expected in ANSWERS:
            assert told(case.search(sha256=QUERY, k=4, scene=scene)) == (*expected,)


def test_a_reader_refuses_it_and_leaves_it_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    with pytest.raises(SchemaTooOld):
        Case.open(old, read_only=True)
    assert old.read_bytes() == before


def test_an_upgraded_database_keeps_its_rows_and_answers_without_packs(old: Path) -> None:
    before = rows(old)
    with Case.open(old):
        pass
    assert rows(old) == before
    answers_are_the_same(old)
    with Case.open(old) as case:
        assert case.verify().clean
        assert check(case._catalog) == 0


def test_its_packs_are_made_afterwards_and_change_no_answer(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "LARGEST_RANGE", 4)
    with Case.open(old) as case:
        assert case.pack() == 4
        assert case.pack() == 0
        assert check(case._catalog) == 4
        assert case.verify().clean
    answers_are_the_same(old)
