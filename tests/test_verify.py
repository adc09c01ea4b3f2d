"""A verification names everything that is not as it was recorded, and finds nothing where nothing is wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_similarity.case import Case
from image_similarity.cli import verification
from image_similarity.errors import DatabaseDamaged
from image_similarity.events import Progress
from image_similarity.values import Finding, VerifyReport
from tests.indexing.desk import Desk, digest_of, watching


@pytest.fixture
def desk(tmp_path: Path, tiny_model: Path) -> Desk:
    """Five pictures of which two are equal, a failure and a document, indexed."""
    desk = Desk(tmp_path, tiny_model)
    desk.put_many(4)
    desk.settle(Path(shutil.copy2(desk.evidence / "picture-000.png", desk.evidence / "copy.png")))
    desk.corrupt("broken.jpg")
    desk.write("notes.txt", b"text")
    desk.index()
    return desk


def verify(desk: Desk, **asked: Any) -> VerifyReport:
    with Case.open(desk.database, read_only=True) as case:
        return case.verify(**asked)


def the_finding(report: VerifyReport) -> Finding:
    (finding,) = report.findings
    assert not report.clean
    return finding


def test_a_clean_database_is_clean(desk: Desk) -> None:
    assert verify(desk) == VerifyReport(False, 4, 4, 0, 0, 0, 0, 0, ())
    ((began,),) = desk.rows("SELECT started_at FROM run")
    since = (began, began)
    assert verify(desk, rehash=True) == VerifyReport(True, 4, 4, 5, 5, 0, 0, 0, (), since)


def test_every_finding_says_since_which_run_and_the_report_since_which_runs(desk: Desk) -> None:
    desk.change("UPDATE run SET started_at = '2020-01-01T00:00:00Z'")
    desk.put("later.png", seed=8)
    desk.index()
    desk.change("UPDATE run SET started_at = '2021-01-01T00:00:00Z' WHERE id = 2")
    (desk.evidence / "copy.png").unlink()
    desk.put("later.png", seed=9)
    (desk.evidence / "picture-000.png").write_bytes(b"")
    report = verify(desk, rehash=True)
    assert [each.message for each in report.findings] == [
        "missing since first indexed at 2020-01-01T00:00:00Z: No such file or directory",
        "changed since first indexed at 2021-01-01T00:00:00Z",
        "changed since first indexed at 2020-01-01T00:00:00Z: it is empty now",
    ]
    assert report.since == ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")


def test_a_changed_file_is_named_with_both_hashes_even_if_size_and_time_are_the_same(
    desk: Desk,
) -> None:
    picture = desk.evidence / "picture-001.png"
    before, data = picture.stat(), bytearray(picture.read_bytes())
    expected = digest_of(picture)
    data[-20] ^= 1
    picture.write_bytes(data)
    os.utime(picture, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert verify(desk).clean
    report = verify(desk, rehash=True)
    finding = the_finding(report)
    assert (finding.kind, finding.source, finding.path) == (
        "changed",
        "evidence",
        "picture-001.png",
    )
    assert (finding.expected, finding.found) == (expected, digest_of(picture))
    assert (report.files, report.unchanged, report.changed) == (5, 4, 1)


def test_a_missing_file_is_named(desk: Desk) -> None:
    (desk.evidence / "copy.png").unlink()
    report = verify(desk, rehash=True)
    assert (the_finding(report).kind, the_finding(report).path) == ("missing", "copy.png")
    assert (report.unchanged, report.missing) == (4, 1)


def test_a_missing_folder_is_named_file_by_file(desk: Desk) -> None:
    desk.put("deep/er/one.png", seed=9)
    desk.index()
    shutil.rmtree(desk.evidence / "deep")
    desk.write("deep", b"a file in the place of the folder")
    assert the_finding(verify(desk, rehash=True)).path == "deep/er/one.png"
    assert the_finding(verify(desk, rehash=True)).kind == "missing"


def test_an_unreadable_file_is_named_and_not_called_missing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = desk.evidence / "picture-002.png"
    really_open = os.open

    def refuse(path: Any, *rest: Any, **named: Any) -> int:
        if os.fsdecode(path) == str(locked):
            raise PermissionError(13, "Permission denied", path)
        return really_open(path, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    report = verify(desk, rehash=True)
    assert (the_finding(report).kind, the_finding(report).path) == ("unreadable", locked.name)
    assert report.unreadable == 1


def test_a_fifo_in_the_place_of_a_file_does_not_hold_the_verification(desk: Desk) -> None:
    (desk.evidence / "copy.png").unlink()
    os.mkfifo(desk.evidence / "copy.png")
    assert the_finding(verify(desk, rehash=True)).kind == "unreadable"


@pytest.mark.parametrize(
    "content", [b"", b"%PDF-1.7 in its place", b"\xff\xd8\xff\xe0 half a JPEG"]
)
def test_a_picture_replaced_by_something_else_is_changed(desk: Desk, content: bytes) -> None:
    desk.put("photo", seed=9, format="PNG")
    desk.index()
    desk.write("photo", content)
    finding = the_finding(verify(desk, rehash=True))
    assert (finding.kind, finding.path) == ("changed", "photo")


def unit(dim: int = 16) -> np.ndarray:
    vector = np.zeros(dim, "<f2")
    vector[0] = 1
    return vector


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        (b"", "0 bytes instead of 32"),
        (unit(15).tobytes(), "30 bytes instead of 32"),
        ((unit() * np.float16(np.nan)).tobytes(), "NaN"),
        ((unit() * np.float16(0.5)).tobytes(), "length 0.5000 instead of 1"),
        (bytes(32), "length 0.0000 instead of 1"),
        ("text in place of numbers", "str instead of bytes"),
        (17, "int instead of bytes"),
    ],
)
def test_a_damaged_vector_is_found_and_its_picture_named(
    desk: Desk, vector: Any, said: str
) -> None:
    picture = desk.evidence / "picture-003.png"
    image = "(SELECT id FROM image WHERE sha256 = ?)"
    changed = desk.change(
        f"UPDATE embedding SET vector = ? WHERE image_id = {image}", vector, digest_of(picture)
    )
    assert changed == 1
    finding = the_finding(verify(desk))
    assert (finding.kind, finding.path) == ("record", digest_of(picture))
    assert said in finding.message


def test_a_content_without_any_vector_is_found(desk: Desk) -> None:
    """No search would ever show it."""
    picture = desk.evidence / "picture-003.png"
    desk.change(
        "DELETE FROM embedding WHERE image_id = (SELECT id FROM image WHERE sha256 = ?)",
        digest_of(picture),
    )
    finding = the_finding(verify(desk))
    assert (finding.kind, finding.path) == ("record", digest_of(picture))


def test_a_broken_reference_is_found(desk: Desk) -> None:
    desk.change("UPDATE file SET source_id = 99 WHERE path = 'copy.png'")
    finding = the_finding(verify(desk))
    assert (finding.kind, "missing row of source" in finding.message) == ("record", True)


def test_a_damaged_index_is_found(desk: Desk) -> None:
    with closing(sqlite3.connect(desk.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'IS NULL', 'IS NOT NULL') "
            "WHERE name = 'uq_file_live'"
        )
    assert any(finding.kind == "record" for finding in verify(desk).findings)


def test_every_difference_is_named_in_one_verification(desk: Desk) -> None:
    desk.put("picture-000.png", seed=50)
    (desk.evidence / "picture-001.png").unlink()
    desk.change("UPDATE embedding SET vector = x'00' WHERE id = 1")
    report = verify(desk, rehash=True)
    assert [finding.kind for finding in report.findings] == ["record", "changed", "missing"]
    assert (report.files, report.unchanged) == (5, 3)


def test_what_is_gone_or_failed_on_record_is_no_difference(desk: Desk) -> None:
    (desk.evidence / "picture-001.png").unlink()
    (desk.evidence / "broken.jpg").unlink()
    desk.index()
    assert verify(desk, rehash=True).clean


def test_verification_changes_neither_the_database_nor_the_evidence(desk: Desk) -> None:
    database, evidence = desk.database.read_bytes(), desk.snapshot()
    with watching(desk.evidence) as events:
        verify(desk, rehash=True)
    assert {event for event, _, _ in events} == {"open"}
    assert (desk.database.read_bytes(), desk.snapshot()) == (database, evidence)


def test_progress_counts_every_file_and_every_finding(desk: Desk) -> None:
    (desk.evidence / "copy.png").unlink()
    events: list[Any] = []
    verify(desk, rehash=True, on_event=events.append)
    assert events == [Progress(5, 5, 0, 1)]


def test_a_database_can_be_verified_while_a_run_waits_to_write(desk: Desk) -> None:
    with Case.open(desk.database) as case, case._catalog.writing():
        assert verify(desk).clean


@pytest.mark.parametrize("value", ["NULL", "'[]'", "'{'", "x'00ff'", "5"])
@pytest.mark.parametrize(
    ("table", "column"), [("run", "options"), ("run", "account"), ("image", "exif")]
)
def test_a_record_that_is_no_json_object_is_named_and_never_taken_for_one(
    desk: Desk, table: str, column: str, value: str
) -> None:
    with closing(sqlite3.connect(desk.database)) as connection, connection:
        # As in a file that was cut off: what was never empty may be.
        (sql,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
        loose = sql.replace(f"{column} JSON NOT NULL", f"{column} JSON")
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (loose, table))
    desk.change(f"UPDATE {table} SET {column} = {value} WHERE id = 1")
    assert f"{column} of row 1 of {table} is no JSON object" in [
        each.message for each in verify(desk).findings
    ]
    with Case.open(desk.database, read_only=True) as case, pytest.raises(DatabaseDamaged):
        if table == "run":
            case.runs()
            case.search(desk.evidence / "picture-000.png")
        else:
            case.image(case.search(desk.evidence / "picture-001.png").hits[0].image.sha256)


def test_what_is_in_an_object_store_is_not_checked_and_not_called_missing(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.change("UPDATE source SET root_path = 's3://bucket/rooms'")
    report = verify(desk, rehash=True)
    assert (report.files, report.missing, report.not_checked) == (0, 0, 5)
    assert report.clean and report.since is None
    verification.show(report, None, "table")
    assert "5 files not checked: in an object store" in capsys.readouterr().out
