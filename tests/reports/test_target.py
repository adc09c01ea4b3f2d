"""The file of a report."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from image_similarity.errors import UsageError
from image_similarity.reports import target

MARK = "of this program"


def test_only_the_owner_can_read_a_report_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    with target.writing(path) as stream:
        stream.write("a\nb\n")
    assert path.read_bytes() == b"a\nb\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(MemoryError), target.writing(tmp_path / "report.csv") as stream:
        stream.write("half")
        raise MemoryError
    assert list(tmp_path.iterdir()) == []


def test_no_file_of_a_similar_name_is_touched_meanwhile(tmp_path: Path) -> None:
    path, mine = tmp_path / "sheet.png", tmp_path / "sheet.png.partial"
    mine.write_text("mine")
    with target.writing_bytes(path) as stream:
        stream.write(b"whole")
        assert not path.exists()
    assert (path.read_bytes(), mine.read_text()) == (b"whole", "mine")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_of_a_full_disk_the_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, target.writing(tmp_path / "report.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "report.csv")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_on_demand_and_only_if_it_is_a_report(
    tmp_path: Path,
) -> None:
    report, other, link = (tmp_path / name for name in ("report", "other", "link"))
    report.write_text(f"written {MARK}\n")
    other.write_text("mine")
    link.symlink_to(report)
    with pytest.raises(UsageError, match="exists already"):
        target.refuse_existing(report, mark=MARK, overwrite=False)
    for path in (other, link, tmp_path):
        with pytest.raises(UsageError, match="not written by this program"):
            target.refuse_existing(path, mark=MARK, overwrite=True)
    target.refuse_existing(report, mark=MARK, overwrite=True)
    target.refuse_existing(tmp_path / "new", mark=MARK, overwrite=False)


def test_a_missing_folder_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        target.refuse_existing(tmp_path / "none" / "report", mark=MARK, overwrite=False)
