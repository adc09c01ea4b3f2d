"""Every copy and derived picture that was written of a case is listed, with what became of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from image_similarity.case import Case
from image_similarity.store import engine, gallery, thumbnails
from image_similarity.store.schema import APPLICATION_ID
from tests.records.searches import case, rows

OLD = Path(__file__).parents[1] / "data" / "db"


def test_backups_and_reports_are_listed_with_what_lies_there_now(tmp_path: Path) -> None:
    database = case(tmp_path / "case.db", 5)
    with Case.open(database) as opened:
        for name in ("kept", "changed", "gone"):
            opened.backup(tmp_path / name)
        (tmp_path / "report.html").write_text("<html>")
        opened.record_export("report", tmp_path / "report.html")
        with (tmp_path / "changed").open("ab") as file:
            file.write(b"more")
        (tmp_path / "gone").unlink()
        report = opened.traces()
    assert [(trace.kind, trace.state) for trace in report.files] == [
        ("backup", "as written"),
        ("backup", "changed"),
        ("backup", "gone"),
        ("report", "as written"),
    ]
    assert report.files[0].path == str(tmp_path / "kept")
    assert report.files[3].size == 6 and len(report.files[3].sha256) == 64


def test_what_the_program_replaced_itself_is_told_from_what_others_changed(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    with Case.open(case(tmp_path / "case.db", 5)) as opened:
        for text in ("<html>", "<html> again"):
            report.write_text(text)
            opened.record_export("report", report)
        assert [trace.state for trace in opened.traces().files] == ["replaced", "as written"]
        report.write_text("by another hand")
        assert [trace.state for trace in opened.traces().files] == ["changed", "changed"]


def test_a_backup_through_a_case_that_was_opened_for_reading_is_recorded_too(
    tmp_path: Path,
) -> None:
    with Case.open(case(tmp_path / "case.db", 5), read_only=True) as opened:
        opened.backup(tmp_path / "copy.db")
        assert [trace.kind for trace in opened.traces().files] == ["backup"]


def test_the_copy_before_an_upgrade_is_listed(tmp_path: Path) -> None:
    database = tmp_path / "old.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript((OLD / "0001.sql").read_text())
    with Case.open(database) as opened:
        (trace,) = opened.traces().files
    assert trace.kind == "copy before an upgrade"
    assert trace.state == "as written" and Path(trace.path).exists()


def test_thumbnails_are_counted(tmp_path: Path) -> None:
    with Case.open(case(tmp_path / "case.db", 5)) as opened:
        assert (opened.traces().thumbnails, opened.traces().thumbnail_bytes) == (0, 0)
        with opened._catalog.writing() as connection:
            first = gallery.id_of(connection, rows(1)[0].sha256)
            assert first is not None
            thumbnails.write(connection, 1, {first: b"12345"})
        assert (opened.traces().thumbnails, opened.traces().thumbnail_bytes) == (1, 5)


def test_an_entry_that_was_tampered_with_is_left_to_audit_verify(tmp_path: Path) -> None:
    database = case(tmp_path / "case.db", 5)
    with Case.open(database) as opened:
        opened.backup(tmp_path / "copy.db")
    for detail in ("[]", "no json", '{"path": 5, "sha256": "x", "size": 1}', "{}"):
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("DROP TRIGGER IF EXISTS audit_no_update")
            connection.execute("UPDATE audit SET detail = ? WHERE action = 'export'", (detail,))
        with Case.open(database, read_only=True) as opened:
            assert opened.traces().files == ()


def test_folders_of_thumbnails_are_listed_once_with_what_is_ours_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / f"{'a' * 64}-256.jpg").write_bytes(b"12345")
    (folder / "holiday.jpg").write_bytes(b"not ours")
    (folder / f"{'b' * 64}-256.jpg").symlink_to(folder / "holiday.jpg")
    with Case.open(case(tmp_path / "case.db", 5)) as opened:
        assert opened.traces().folders == ()
        for _ in range(2):
            assert opened.record_cache(folder) is None
        (found,) = opened.traces().folders
        assert (found.path, found.files, found.bytes, found.merge) == (str(folder), 1, 5, None)
        assert opened.purge_cached() == 1
        assert (folder / "holiday.jpg").exists()
        assert opened.traces().folders[0].files == 0


def test_a_folder_that_cannot_be_looked_up_while_another_holds_the_database_is_not_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 0)
    database = case(tmp_path / "case.db", 5)
    with Case.open(database) as opened:
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert "locked" in (opened.record_cache(tmp_path / "kept") or "")
        assert opened.record_cache(tmp_path / "kept") is None
