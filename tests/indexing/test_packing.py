"""Packs are kept up by every run: as ranges fill, after late rows, after an interruption, after a second model."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from image_similarity.case import Case
from image_similarity.events import Event, Progress
from image_similarity.indexing import packing
from image_similarity.store import packs
from image_similarity.store.catalog import Catalog
from tests.indexing.desk import Desk
from tests.store.packed import check
from tests.tiny_model import write_tiny_model

# The same on both engines.
pytestmark = pytest.mark.usefixtures("location")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of four contents."""
    monkeypatch.setattr(packs, "LARGEST_RANGE", 4)


def packed(desk: Desk, *, chain: bool = True) -> int:
    """Check all packs and give their number."""
    desk.check(chain=chain)
    catalog = Catalog.open(desk.database, read_only=True)
    try:
        return check(catalog)
    finally:
        catalog.close()


def test_a_run_packs_what_it_completed_and_the_next_one_goes_on(desk: Desk) -> None:
    desk.put_many(9)
    desk.index()
    assert packed(desk) == 4
    desk.put_many(3, start=9)
    desk.index()
    assert packed(desk) == 4
    desk.put_many(1, start=12)
    desk.index()
    assert packed(desk) == 6


def test_packs_are_made_in_the_transaction_of_the_batch_that_completes_them(desk: Desk) -> None:
    desk.put_many(12)
    seen: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, Progress):
            # Between two batches; the reader must find whole packs at each of them.
            seen.append(packed(desk))

    desk.index(on_event=watch)
    assert 2 in seen
    assert seen == sorted(seen)


def test_an_interrupted_run_leaves_right_packs_and_the_next_completes_them(desk: Desk) -> None:
    desk.put_many(21)

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and desk.count("image") >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.index(on_event=interrupt)
    assert 0 < packed(desk) < 10
    desk.index()
    assert packed(desk) == 10


def test_a_transaction_that_is_rolled_back_takes_its_packs_along(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(9)
    really_pack = packing.pack_some

    def pack_and_fail(connection: object) -> int:
        really_pack(connection)  # type: ignore[arg-type]
        raise sqlite3.OperationalError("the disk is full")

    monkeypatch.setattr(packing, "pack_some", pack_and_fail)
    with pytest.raises(sqlite3.OperationalError):
        desk.index()
    assert packed(desk) == 0
    monkeypatch.undo()
    monkeypatch.setattr(packs, "LARGEST_RANGE", 4)
    desk.index()
    assert packed(desk) == 4


def test_a_second_model_gets_packs_of_its_own(desk: Desk, tmp_path: Path) -> None:
    desk.put_many(9)
    desk.index()
    second = write_tiny_model(tmp_path / "second.safetensors", seed=5)
    desk.put_many(2, start=9)
    desk.index(models=(str(desk.model), str(second)))
    assert packed(desk) == 6


def test_a_picture_that_failed_before_is_taken_into_its_range_later(desk: Desk) -> None:
    desk.put_many(9)
    desk.index()
    desk.change("DELETE FROM embedding WHERE image_id = 2")
    desk.change("DELETE FROM image_scene WHERE image_id = 2")
    desk.change("DELETE FROM vector_pack")
    desk.change("DELETE FROM scene_pack")
    with Case.open(desk.database) as case:
        assert case.pack() == 4
    (name,) = [path for path, sha in desk.live().items() if sha == sha_of(desk, 2)]
    (desk.evidence / name).touch()
    desk.index()
    assert packed(desk, chain=False) == 4
    assert desk.rows("SELECT count(*) FROM embedding") == [(9,)]


def test_a_case_that_is_open_answers_as_a_fresh_one_after_every_kind_of_run(
    desk: Desk, tmp_path: Path
) -> None:
    paths = desk.put_many(11)
    desk.options = replace(desk.options, scenes=None)
    desk.index()
    query = sha_of(desk, 2)

    def answers(case: Case) -> list[object]:
        name = case.models()[0].fingerprint
        choices: list[dict[str, Any]] = [
            {},
            {"scene": "off", "include_gone": True},
            {"scene": "off", "under": "deep"},
            {"scene": "off", "sources": ["evidence"], "include_partial": False},
        ]
        return [case.search(sha256=query, model=name, k=20, **choice) for choice in choices]

    with Case.open(desk.database, read_only=True) as kept:

        def same() -> None:
            with Case.open(desk.database, read_only=True) as fresh:
                expected = answers(fresh)
            # Twice: what the first one finds changed, the second finds in memory.
            assert [answers(kept), answers(kept)] == [expected, expected]

        same()
        paths[5].unlink()
        paths[9].unlink()
        desk.index()
        same()
        desk.put("deep/back.png", seed=5)
        desk.put("deep/late.png", seed=90)
        desk.index()
        same()
        second = write_tiny_model(tmp_path / "second.safetensors", seed=7)
        desk.options = replace(desk.options, scenes=str(desk.model))
        desk.index()
        same()
        desk.options = replace(desk.options, models=(str(desk.model), str(second)))
        desk.index()
        same()


def sha_of(desk: Desk, image_id: int) -> str:
    return str(desk.rows("SELECT sha256 FROM image WHERE id = ?", image_id)[0][0])


def test_a_damaged_pack_is_told_by_verify_and_a_deleted_one_is_not(desk: Desk) -> None:
    desk.put_many(9)
    desk.index()
    ((size,),) = desk.rows("SELECT length(codes) FROM vector_pack WHERE number = 1")
    desk.change("UPDATE vector_pack SET codes = ? WHERE number = 1", bytes(size))
    desk.change("UPDATE scene_pack SET labels = ? WHERE number = 0", bytes(3))
    with Case.open(desk.database, read_only=True) as case:
        messages = [finding.message for finding in case.verify().findings]
    vectors, labels = messages
    assert vectors.startswith("pack 1 of the vectors of")
    assert "further from the vectors" in vectors
    assert labels.startswith("pack 0 of the scenes of")
    desk.change("DELETE FROM vector_pack WHERE number = 1")
    desk.change("DELETE FROM scene_pack")
    assert packed(desk) == 1
    with Case.open(desk.database) as case:
        assert case.pack() == 3


def test_what_lies_nowhere_is_told_by_verify(desk: Desk) -> None:
    desk.put_many(1)
    desk.index()
    desk.change("DELETE FROM file")
    with Case.open(desk.database, read_only=True) as case:
        (finding,) = case.verify().findings
    assert "found nowhere" in finding.message
