"""The evidence is opened once per file, for reading, and is afterwards what it was before."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from image_similarity.case import Case
from tests.indexing.desk import Desk, opens, watching

# What may be asked of a path below the evidence.
HARMLESS = {"open", "os.scandir", "os.listdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def fill(desk: Desk) -> int:
    """Give the number of regular files."""
    first = desk.put("one.jpg", seed=1, quality=90)
    desk.put("deep/er/two.png", seed=2)
    desk.settle(Path(shutil.copy2(first, desk.evidence / "deep" / "copy.jpg")))
    desk.corrupt("broken.jpg")
    desk.write("notes.txt", b"text")
    desk.write("empty.gif", b"")
    os.mkfifo(desk.evidence / "pipe")
    (desk.evidence / "loop").symlink_to(desk.evidence)
    return 6


def test_each_new_file_is_opened_exactly_once(desk: Desk) -> None:
    files = fill(desk)
    with watching(desk.evidence) as events:
        desk.index()
    assert len(opens(events)) == files
    assert set(opens(events).values()) == {1}


def test_an_unchanged_file_is_not_opened_at_all(desk: Desk) -> None:
    fill(desk)
    desk.index()
    with watching(desk.evidence) as events:
        report = desk.index()
    assert (opens(events), report.unchanged) == ({}, 3)


def test_files_are_opened_for_reading_only_and_nothing_else_is_done_to_them(desk: Desk) -> None:
    fill(desk)
    with watching(desk.evidence) as events:
        desk.index()
        desk.index(rehash=True)
        desk.find(desk.evidence / "one.jpg")
        with Case.open(desk.database, read_only=True) as case:
            case.verify(rehash=True)
    assert {event for event, _, _ in events} <= HARMLESS
    flags = [flags for event, _, flags in events if event == "open"]
    assert flags
    assert all(isinstance(each, int) and not each & WRITING for each in flags)


def test_no_byte_no_time_and_no_entry_of_the_evidence_changes(desk: Desk) -> None:
    fill(desk)
    before = desk.snapshot()
    folders = {path: path.stat().st_mtime_ns for path in [desk.evidence, desk.evidence / "deep"]}
    desk.index()
    desk.index(retry_failed=True)
    with Case.open(desk.database, read_only=True) as case:
        case.verify(rehash=True)
    assert desk.snapshot() == before
    assert {path: path.stat().st_mtime_ns for path in folders} == folders


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="the system cannot leave access times")
def test_access_times_stay_as_found_where_the_system_allows_it(desk: Desk) -> None:
    picture = desk.put("one.jpg", seed=1)
    before = picture.stat().st_atime_ns
    desk.index()
    assert picture.stat().st_atime_ns == before
    assert desk.rows("SELECT atime_ns FROM file") == [(before,)]


def test_the_whole_job_works_with_every_socket_blocked(desk: Desk, no_network: None) -> None:
    fill(desk)
    report = desk.index()
    assert report.new == 2
    with Case.open(desk.database) as case:
        assert case.search(desk.evidence / "one.jpg").hits
        assert case.refresh()[0].unchanged == 3
        assert case.verify(rehash=True).clean
