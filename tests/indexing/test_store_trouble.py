"""Trouble with our own database ends the run with an error that says what to do; nothing is half written."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_similarity.errors import (
    DatabaseDamaged,
    DatabaseError,
    DatabaseInsideEvidence,
    DatabaseLocked,
    DatabaseNotWritable,
    NotOurDatabase,
)
from image_similarity.store import engine
from tests.indexing.desk import Desk


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the database grow by so many pages and no further."""
    really_connect = engine._connect

    def install(desk: Desk, pages: int) -> None:
        (size,) = desk.rows("PRAGMA page_count")[0]

        def connect(path: Path, mode: str) -> sqlite3.Connection:
            connection = really_connect(path, mode)
            connection.execute(f"PRAGMA max_page_count = {size + pages}")
            return connection

        monkeypatch.setattr(engine, "_connect", connect)

    return install


def long_names(desk: Desk, count: int, contents: int = 7) -> None:
    """Pictures whose records take some pages, because their paths are long."""
    for number in range(count):
        folders = "/".join(letter * 220 for letter in "abc")
        desk.put(f"{folders}/{number}.png", seed=number % contents, size=(16, 16))


def test_a_full_disk_ends_the_run_and_keeps_whole_batches(desk: Desk, full_disk: Any) -> None:
    desk.put_many(3)
    desk.index()
    long_names(desk, 60)
    full_disk(desk, pages=2)
    with pytest.raises(DatabaseNotWritable) as full:
        desk.index(batch_size=2)
    assert (full.value.exit_code, "full" in full.value.message) == (1, True)
    assert "space" in full.value.hint
    desk.check()


def test_no_thread_goes_on_reading_evidence_for_a_run_that_has_ended(
    desk: Desk, full_disk: Any
) -> None:
    desk.put_many(2)
    desk.index()
    long_names(desk, 90, contents=90)
    full_disk(desk, pages=0)
    with pytest.raises(DatabaseNotWritable) as full:
        desk.index(batch_size=8, workers=2)
    assert desk.runs()[0].seen < 90
    # The error holds the frames of the run, and with them whatever was not closed.
    assert full.value.__traceback__ is not None
    assert [each.name for each in threading.enumerate() if each.name.startswith("loader")] == []


def test_the_account_of_a_run_that_ended_on_a_full_disk_counts_what_was_stored(
    desk: Desk, full_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.indexing import run

    monkeypatch.setattr(run, "ROWS_PER_BATCH", 10)
    desk.put_many(2)
    desk.index()
    long_names(desk, 60)
    full_disk(desk, pages=2)
    with pytest.raises(DatabaseNotWritable):
        desk.index()
    run = desk.runs()[0]
    assert run.status == "failed"
    assert run.duplicate + run.new == len(desk.live()) - 2
    assert run.accounted


def test_after_a_full_disk_the_next_run_completes_the_database(
    desk: Desk, tmp_path: Path, tiny_model: Path, full_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = Desk(tmp_path / "calm", tiny_model)
    for each in (desk, calm):
        each.put_many(2)
        each.index()
        long_names(each, 60)
    full_disk(desk, pages=2)
    with pytest.raises(DatabaseNotWritable):
        desk.index()
    monkeypatch.undo()
    calm.index()
    desk.index()
    assert desk.essence() == calm.essence()


def test_a_database_deleted_in_the_middle_ends_the_run(desk: Desk) -> None:
    """On Linux an open file can be deleted: what is written then would be lost without a word."""
    desk.put_many(12)

    def delete(event: object) -> None:
        if getattr(event, "done", 0) >= 4:
            desk.database.unlink(missing_ok=True)

    with pytest.raises(DatabaseError) as lost:
        desk.index(on_event=delete, batch_size=2, workers=1)
    assert lost.value.exit_code in (1, 10)
    assert not desk.database.exists()


def test_a_database_replaced_in_the_middle_ends_the_run_and_the_other_one_is_not_touched(
    desk: Desk,
) -> None:
    desk.put_many(12)
    replacement = b"something of somebody else"

    def replace(event: object) -> None:
        if getattr(event, "done", 0) == 4:
            desk.database.unlink()
            desk.database.write_bytes(replacement)

    with pytest.raises(DatabaseError):
        desk.index(on_event=replace, batch_size=2, workers=1)
    assert desk.database.read_bytes() == replacement


def test_a_read_only_database_is_searched_but_not_indexed_into(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write protection is played by SQLite, because a test that runs as root may write anything."""
    first = desk.put_many(3)[0]
    desk.index()
    before = desk.database.read_bytes()
    really_connect = engine._connect
    monkeypatch.setattr(engine, "_connect", lambda path, mode: really_connect(path, "ro"))
    desk.put("new.png", seed=9)
    with pytest.raises(DatabaseNotWritable) as refused:
        desk.index()
    assert refused.value.exit_code == 1
    assert len(desk.find(first)) == 2
    assert desk.database.read_bytes() == before


def test_a_database_that_cannot_be_created_is_refused_with_its_path(desk: Desk) -> None:
    desk.put_many(1)
    desk.database = desk.folder / "no" / "such" / "folder" / "case.db"
    with pytest.raises(DatabaseNotWritable, match=r"case\.db"):
        desk.index()


def test_an_empty_file_that_was_laid_out_for_the_database_becomes_one(desk: Desk) -> None:
    """As mktemp makes it: it must still be recognised as ours the next time."""
    desk.database.touch()
    desk.put_many(2)
    desk.index()
    assert desk.index().unchanged == 2
    assert desk.rows("PRAGMA page_size") == [(32768,)]


def test_a_database_whose_making_was_interrupted_is_completed_by_the_next_run(desk: Desk) -> None:
    engine.create_file(desk.database)
    desk.put_many(2)
    assert desk.index().new == 2
    assert desk.index().unchanged == 2


@pytest.mark.parametrize(
    "content", [b"\xff\xd8\xff\xe0 a photograph", b"SQLite format 3\x00broken"]
)
def test_a_file_of_somebody_else_is_never_written_over(desk: Desk, content: bytes) -> None:
    desk.put_many(1)
    desk.database.write_bytes(content)
    with pytest.raises((NotOurDatabase, DatabaseDamaged)) as refused:
        desk.index()
    assert refused.value.exit_code == 10
    assert desk.database.read_bytes() == content


@pytest.mark.parametrize("below", ["case.db", "deep/case.db"])
def test_a_database_inside_the_evidence_is_refused_and_not_created(desk: Desk, below: str) -> None:
    desk.put("deep/one.png")
    before = desk.snapshot()
    from image_similarity.case import check_folder

    with pytest.raises(DatabaseInsideEvidence) as refused:
        check_folder(desk.evidence, desk.evidence / below)
    assert (refused.value.exit_code, desk.snapshot()) == (2, before)


def test_a_database_that_a_link_leads_into_the_evidence_is_refused(desk: Desk) -> None:
    desk.put_many(1)
    (desk.folder / "elsewhere").symlink_to(desk.evidence)
    from image_similarity.case import check_folder

    with pytest.raises(DatabaseInsideEvidence):
        check_folder(desk.evidence, desk.folder / "elsewhere" / "case.db")


def test_evidence_reached_through_a_link_is_the_same_source(desk: Desk) -> None:
    desk.put_many(2)
    desk.index()
    (desk.folder / "shortcut").symlink_to(desk.evidence)
    report = desk.index(desk.folder / "shortcut")
    assert (report.unchanged, desk.count("source")) == (2, 1)


def test_a_commit_that_a_reader_holds_up_too_long_is_an_error_and_rolled_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(2)
    desk.index()
    desk.put("new.png", seed=9)
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 50)
    with closing(sqlite3.connect(desk.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM image").fetchone()
        with pytest.raises(DatabaseLocked) as locked:
            desk.index()
    assert locked.value.exit_code == 11
    desk.check()
    assert desk.index().new == 1


def damage(desk: Desk, vectors: list[bytes]) -> None:
    for number, vector in enumerate(vectors, start=1):
        desk.change("UPDATE embedding SET vector = ? WHERE id = ?", vector, number)


def test_a_damaged_vector_ends_a_search_with_an_error_and_never_shifts_the_others(
    desk: Desk,
) -> None:
    """Two wrong lengths that add up to a right one would give every vector behind them to another picture."""
    last = desk.put_many(5)[4]
    desk.index()
    half = np.ones(15, "<f2").tobytes()
    damage(desk, [half, half + half[:4]])
    with pytest.raises(DatabaseDamaged) as damaged:
        desk.find(last)
    assert damaged.value.exit_code == 10
    assert "verify" in damaged.value.hint


def test_a_database_with_torn_pages_is_named_as_damaged(desk: Desk) -> None:
    first = desk.put_many(3)[0]
    desk.index()
    data = bytearray(desk.database.read_bytes())
    data[32768 * 2 : 32768 * 12] = b"\x07" * (32768 * 10)
    desk.database.write_bytes(data)
    with pytest.raises(DatabaseDamaged) as damaged:
        desk.find(first)
    assert damaged.value.exit_code == 10


def test_a_copy_of_the_database_goes_on_where_the_original_stood(desk: Desk) -> None:
    desk.put_many(3)
    desk.index()
    shutil.copy2(desk.database, desk.folder / "copy.db")
    desk.database = desk.folder / "copy.db"
    assert desk.index().unchanged == 3
