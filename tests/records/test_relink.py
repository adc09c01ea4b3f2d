"""A source is moved to another folder only when its files prove to be the same there; evidence is only read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from image_similarity.case import Case
from image_similarity.errors import (
    DatabaseInsideEvidence,
    DatabaseLocked,
    FolderMissing,
    ImageSimilarityError,
    InvalidSetting,
    UnknownSource,
    UsageError,
)
from image_similarity.events import Event, Progress
from image_similarity.values import RelinkReport
from tests.indexing.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, tiny_model: Path) -> Desk:
    """Four pictures, one of them deep, indexed and then mounted elsewhere."""
    desk = Desk(tmp_path, tiny_model)
    desk.put_many(3)
    desk.put("deep/er/one.png", seed=9)
    desk.index()
    desk.evidence = desk.evidence.rename(tmp_path / "mounted anew")
    return desk


def relink(desk: Desk, source: str = "evidence", **asked: Any) -> RelinkReport:
    with Case.open(desk.database) as case:
        return case.relink(source, asked.pop("to", desk.evidence), **asked)


def root(desk: Desk, source: str = "evidence") -> str:
    ((found,),) = desk.rows("SELECT root_path FROM source WHERE name = ?", source)
    return str(found)


def test_a_source_whose_files_are_the_same_is_moved_and_refreshes_there(desk: Desk) -> None:
    before, old = desk.snapshot(), root(desk)
    report = relink(desk)
    assert (report.files, report.read, report.same) == (4, 4, 4)
    assert (report.proved, report.moved, report.findings) == (True, True, ())
    assert root(desk) == str(desk.evidence)
    assert desk.snapshot() == before
    (again,) = desk.refresh()
    assert (again.unchanged, again.new, again.gone) == (4, 0, 0)
    ((detail,),) = desk.rows("SELECT detail FROM audit WHERE action = 'relink'")
    said = json.loads(detail)
    assert (said["from"], said["to"], said["same"]) == (old, str(desk.evidence), 4)
    assert said["all_read"] is True


def test_a_changed_file_keeps_the_source_where_it_is(desk: Desk) -> None:
    old = root(desk)
    desk.put("picture-001.png", seed=77)
    (desk.evidence / "picture-002.png").write_bytes(b"")
    report = relink(desk, allow_missing=True)
    assert (report.same, report.changed, report.proved, report.moved) == (2, 2, False, False)
    assert [each.path for each in report.findings] == ["picture-001.png", "picture-002.png"]
    assert root(desk) == old
    assert desk.rows("SELECT 1 FROM audit WHERE action = 'relink'") == []


def test_missing_files_keep_it_too_unless_they_are_allowed(desk: Desk) -> None:
    shutil.rmtree(desk.evidence / "deep")
    report = relink(desk)
    assert (report.missing, report.moved) == (1, False)
    assert relink(desk, allow_missing=True).moved


def test_a_folder_without_any_of_the_files_proves_nothing(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    report = relink(desk, to=tmp_path / "empty", allow_missing=True)
    assert (report.missing, report.proved, report.moved) == (4, False, False)


def test_a_sample_reads_as_many_files_and_the_same_each_time(desk: Desk) -> None:
    report = relink(desk, sample=2, dry_run=True)
    assert (report.read, report.same, report.proved, report.moved) == (2, 2, True, False)
    assert relink(desk, sample=2, dry_run=True) == report
    assert relink(desk, sample=99).read == 4
    with pytest.raises(InvalidSetting):
        relink(desk, sample=0)


def test_a_dry_run_writes_nothing_even_into_a_database_opened_for_reading(desk: Desk) -> None:
    before = desk.tables()
    with Case.open(desk.database, read_only=True) as case:
        assert case.relink("evidence", desk.evidence, dry_run=True).proved
    assert desk.tables() == before


def test_progress_is_told(desk: Desk) -> None:
    events: list[Event] = []
    relink(desk, on_event=events.append)
    assert [event for event in events if isinstance(event, Progress)] == [Progress(4, 4, 0, 0)]


@pytest.mark.parametrize(
    ("source", "to", "error"),
    [
        ("none", "mounted anew", UnknownSource),
        ("evidence", "nowhere", FolderMissing),
        ("evidence", "case.db", FolderMissing),
        ("evidence", ".", DatabaseInsideEvidence),
        ("evidence", "second", UsageError),
    ],
)
def test_what_cannot_be_moved_there_is_refused(
    desk: Desk, tmp_path: Path, source: str, to: str, error: type[ImageSimilarityError]
) -> None:
    (tmp_path / "second").mkdir()
    shutil.copy2(desk.evidence / "picture-000.png", tmp_path / "second")
    desk.index(tmp_path / "second")
    before = desk.tables()
    with pytest.raises(error):
        relink(desk, source, to=tmp_path / to)
    assert desk.tables() == before


def test_a_source_that_is_there_already_or_holds_nothing_is_refused(desk: Desk) -> None:
    relink(desk)
    with pytest.raises(UsageError, match="already"):
        relink(desk)
    desk.change("UPDATE file SET gone_run_id = 1")
    desk.change("UPDATE source SET root_path = '/elsewhere'")
    with pytest.raises(UsageError, match="no file of this source is recorded"):
        relink(desk)


def test_no_source_is_moved_while_a_run_writes(desk: Desk) -> None:
    desk.change("UPDATE run SET status = 'running', host = 'another'")
    with pytest.raises(DatabaseLocked):
        relink(desk)
