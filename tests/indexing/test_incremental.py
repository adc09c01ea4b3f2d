"""A later run reads what is new or changed, and nothing that is missing is forgotten."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from image_similarity.case import Case
from image_similarity.indexing import job, loader
from tests.indexing.desk import LONG_AGO_NS, Desk, digest_of

# The same on both engines.
pytestmark = pytest.mark.usefixtures("location")


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    names: list[str] = []
    really_read = loader.read_file

    def read(path: str, **limits: Any) -> Any:
        names.append(Path(path).name)
        return really_read(path, **limits)

    monkeypatch.setattr(loader, "read_file", read)
    return names


def unlistable(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let this folder be one that cannot be listed; permissions do not stop a test that runs as root."""
    really_scan = os.scandir

    def scan(path: Any = ".") -> Any:
        if Path(os.fsdecode(path)) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return really_scan(path)

    monkeypatch.setattr(os, "scandir", scan)


def test_a_second_run_reads_no_file_and_writes_only_its_own_row_and_the_chain(
    desk: Desk, read_files: list[str]
) -> None:
    desk.put_many(5)
    desk.corrupt("broken.jpg")
    desk.write("notes.txt", b"text")
    (desk.evidence / "loop").symlink_to(desk.evidence)
    desk.index()
    before, read_files[:] = desk.tables(without=["run", "audit"]), []
    report = desk.index()
    assert read_files == []
    assert desk.tables(without=["run", "audit"]) == before
    assert desk.count("run") == 2
    assert (report.unchanged, report.failed, report.bytes_read) == (5, 1, 0)


@pytest.mark.usefixtures("an_hour_is_young")
def test_a_file_too_young_to_trust_its_time_is_read_once_more(
    desk: Desk, read_files: list[str]
) -> None:
    """A camera card keeps times to 2 s: a second write within them would leave the time as it was."""
    old, young = desk.put("old.png", seed=1), desk.put("young.png", seed=2)
    os.utime(young)
    desk.index()
    os.utime(young, ns=(LONG_AGO_NS, young.stat().st_mtime_ns))
    read_files.clear()
    desk.index()
    assert read_files == ["young.png"]
    assert old.exists()


@pytest.mark.usefixtures("an_hour_is_young")
@pytest.mark.parametrize("first", ["failure", "skipped"])
def test_a_young_file_that_was_not_taken_is_tried_again_by_the_next_run(
    desk: Desk, first: str
) -> None:
    """A picture that is still being copied into place is no picture yet, and its time may not change any more."""
    desk.put("other.png", seed=1)
    picture = desk.put("late.jpg" if first == "failure" else "late", seed=2, format="JPEG")
    data = picture.read_bytes()
    picture.write_bytes(bytes(len(data)))
    young = picture.stat().st_mtime_ns
    desk.index()
    assert "late" in "".join([*desk.failures(), *desk.skipped()])
    picture.write_bytes(data)
    os.utime(picture, ns=(young, young))
    report = desk.index()
    assert desk.live()[picture.name] == digest_of(picture)
    assert (report.failed, dict(report.skipped), desk.failures(), desk.skipped()) == (0, {}, {}, {})


def test_a_content_at_three_places_is_one_image_one_vector_and_three_files(desk: Desk) -> None:
    first = desk.put("one.jpg", seed=1)
    for name in ("two.jpg", "three.dat"):
        desk.settle(Path(shutil.copy2(first, desk.evidence / name)))
    report = desk.index()
    assert (report.new, report.duplicate, report.embedded) == (1, 2, 1)
    assert (desk.count("image"), desk.count("embedding"), desk.count("file")) == (1, 1, 3)
    assert {hit.place.path for hit in desk.find(first)} == {"two.jpg", "three.dat"}


def test_a_content_known_from_another_source_is_not_embedded_again(desk: Desk) -> None:
    first = desk.put("one.jpg", seed=1)
    desk.index()
    other = desk.folder / "second-disk"
    other.mkdir()
    desk.settle(Path(shutil.copy2(first, other / "again.jpg")))
    report = desk.index(other)
    assert (report.new, report.duplicate, report.embedded) == (0, 1, 0)
    assert {hit.place.path for hit in desk.find(first)} == {"again.jpg"}


def test_a_moved_file_is_recognised_and_not_embedded_again(desk: Desk) -> None:
    picture = desk.put("old/place.jpg", seed=1)
    desk.put("other.jpg", seed=2)
    desk.index()
    digest = digest_of(picture)
    (desk.evidence / "new").mkdir()
    picture.rename(desk.evidence / "new" / "name.jpg")
    report = desk.index()
    assert (report.moved, report.gone, report.duplicate, report.embedded) == (1, 1, 1, 0)
    assert desk.live()["new/name.jpg"] == digest
    assert desk.gone() == [("old/place.jpg", digest)]


def test_a_file_moved_over_another_is_recognised_as_moved(desk: Desk) -> None:
    mover, victim = desk.put("mover.jpg", seed=1), desk.put("victim.jpg", seed=2)
    desk.index()
    mover.replace(victim)
    report = desk.index()
    assert (report.moved, report.gone, report.duplicate) == (1, 1, 1)


def test_of_two_copies_that_vanish_while_one_appears_one_moved(desk: Desk) -> None:
    one = desk.put("one.jpg", seed=1)
    two = desk.settle(Path(shutil.copy2(one, desk.evidence / "two.jpg")))
    desk.index()
    one.rename(desk.evidence / "three.jpg")
    two.unlink()
    report = desk.index()
    assert (report.moved, report.gone) == (1, 2)


def test_changed_content_closes_the_old_place_and_adds_one(desk: Desk) -> None:
    before = digest_of(desk.put("picture.jpg", seed=1))
    desk.index()
    after = digest_of(desk.put("picture.jpg", seed=2))
    report = desk.index()
    assert (report.new, report.unchanged, report.gone, report.moved) == (1, 0, 0, 0)
    assert desk.live() == {"picture.jpg": after}
    assert desk.gone() == [("picture.jpg", before)]


def test_a_touched_file_stays_where_it_is(desk: Desk) -> None:
    picture = desk.put("picture.jpg", seed=1)
    desk.index()
    desk.settle(picture)
    report = desk.index()
    assert (report.unchanged, report.new, report.duplicate) == (1, 0, 0)
    assert (desk.count("file"), desk.gone()) == (1, [])
    assert desk.index().bytes_read == 0


def test_rehash_finds_a_change_that_kept_size_and_time(desk: Desk) -> None:
    picture = desk.write("picture.bmp", desk.put("a.bmp", seed=1).read_bytes())
    before = picture.stat()
    desk.index()
    picture.write_bytes(desk.put("b.bmp", seed=2).read_bytes())
    os.utime(picture, ns=(before.st_mtime_ns, before.st_mtime_ns))
    desk.index()
    assert desk.live()["picture.bmp"] != digest_of(picture)
    desk.index(rehash=True)
    assert desk.live()["picture.bmp"] == digest_of(picture)


def test_a_vanished_file_is_marked_gone_and_stays_on_record(desk: Desk) -> None:
    kept, lost = desk.put("kept.jpg", seed=1), desk.put("lost.jpg", seed=2)
    desk.index()
    digest = digest_of(lost)
    lost.unlink()
    report = desk.index()
    assert (report.gone, report.seen, report.accounted) == (1, 1, True)
    assert desk.gone() == [("lost.jpg", digest)]
    assert desk.count("embedding") == 2
    assert {hit.place.path for hit in desk.find(kept, include_gone=True)} == {"lost.jpg"}
    assert desk.find(kept) == []


def test_a_reappearing_file_is_live_again_without_new_work(desk: Desk) -> None:
    desk.put("kept.jpg", seed=1)
    lost = desk.put("lost.jpg", seed=2)
    data = lost.read_bytes()
    desk.index()
    lost.unlink()
    desk.index()
    desk.write("lost.jpg", data)
    report = desk.index()
    assert (report.duplicate, report.embedded, report.moved) == (1, 0, 0)
    assert desk.live()["lost.jpg"] == digest_of(lost)
    assert len(desk.gone()) == 1


def test_what_lies_in_an_unreadable_folder_is_never_gone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put("kept.jpg", seed=1)
    desk.put("locked/inside.jpg", seed=2)
    desk.put("locked/deeper/inside.jpg", seed=3)
    desk.corrupt("locked/broken.jpg")
    desk.index()
    before = desk.live()
    with monkeypatch.context() as patch:
        unlistable(patch, desk.evidence / "locked")
        report = desk.index()
    assert (report.status, report.gone, report.failed) == ("partial", 0, 1)
    assert report.failures[0].path == "locked"
    assert report.failures[0].stage == "walk"
    assert desk.live() == before
    assert set(desk.failures()) == {"locked", "locked/broken.jpg"}
    report = desk.index()
    assert (report.unchanged, report.failed, report.gone) == (3, 1, 0)
    assert set(desk.failures()) == {"locked/broken.jpg"}


def test_an_unreadable_root_marks_nothing_gone_and_is_a_failure(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(3)
    desk.index()
    with monkeypatch.context() as patch:
        unlistable(patch, desk.evidence)
        report = desk.index()
    assert (report.status, report.gone, len(desk.live())) == ("partial", 0, 3)


def test_a_folder_whose_name_begins_like_an_unreadable_one_is_judged_by_itself(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put("room/a.jpg", seed=1)
    lost = desk.put("room-2/b.jpg", seed=2)
    desk.index()
    lost.unlink()
    with monkeypatch.context() as patch:
        unlistable(patch, desk.evidence / "room")
        report = desk.index()
    assert (report.gone, set(desk.live())) == (1, {"room/a.jpg"})


def test_an_unreadable_file_is_a_failure_and_never_gone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(2)
    desk.index()
    locked = desk.settle(desk.evidence / "picture-001.png")
    before = desk.live()
    really_open = os.open

    def refuse(path: Any, *rest: Any, **named: Any) -> int:
        if os.fsdecode(path) == str(locked):
            raise PermissionError(13, "Permission denied", path)
        return really_open(path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        report = desk.index()
    assert (report.failed, report.gone) == (1, 0)
    assert desk.failures() == {"picture-001.png": ("read", "PermissionError")}
    assert desk.live() == before


def test_a_file_that_became_undecodable_no_longer_stands_for_its_old_content(desk: Desk) -> None:
    """Its place would be a false lead: what was there was seen not to be there any more."""
    before = digest_of(desk.put("picture.jpg", seed=1))
    desk.put("other.jpg", seed=2)
    desk.index()
    desk.corrupt("picture.jpg")
    report = desk.index()
    assert (report.failed, report.unchanged) == (1, 1)
    assert set(desk.live()) == {"other.jpg"}
    assert desk.gone() == [("picture.jpg", before)]
    assert desk.failures()["picture.jpg"][0] == "decode"


def test_an_emptied_file_no_longer_stands_for_its_old_content(desk: Desk) -> None:
    desk.put("picture.jpg", seed=1)
    desk.index()
    desk.write("picture.jpg", b"")
    desk.index()
    assert (desk.live(), desk.failures()) == ({}, {"picture.jpg": ("read", "Empty")})


def test_a_picture_replaced_by_a_document_is_history_and_counted_as_document(desk: Desk) -> None:
    before = digest_of(desk.put("paper", seed=1, format="PNG"))
    desk.index()
    desk.write("paper", b"%PDF-1.7\n%....")
    report = desk.index()
    assert dict(report.skipped) == {"document": 1}
    assert (desk.live(), desk.gone()) == ({}, [("paper", before)])


def test_a_skipped_file_that_is_gone_is_no_longer_counted_as_skipped(desk: Desk) -> None:
    desk.put("a.jpg", seed=1)
    paper = desk.write("paper", b"%PDF-1.7\n%....")
    desk.index()
    paper.unlink()
    report = desk.index()
    assert (report.seen, report.gone, desk.skipped()) == (1, 0, {})


def test_a_rehash_that_finds_no_change_writes_only_its_own_row(desk: Desk) -> None:
    desk.put_many(3)
    desk.index()
    before = desk.tables(without=["run", "audit"])
    for picture in desk.evidence.iterdir():
        os.utime(picture, ns=(LONG_AGO_NS + 5, picture.stat().st_mtime_ns))
    report = desk.index(rehash=True)
    assert (report.unchanged, report.bytes_read > 0) == (3, True)
    assert desk.tables(without=["run", "audit"]) == before


def test_a_document_replaced_by_a_picture_is_taken(desk: Desk) -> None:
    desk.write("paper", b"%PDF-1.7\n%....")
    desk.index()
    desk.put("paper", seed=1, format="PNG")
    report = desk.index()
    assert (report.new, dict(report.skipped), desk.skipped()) == (1, {}, {})


def test_a_file_in_the_place_of_a_folder_and_back_is_followed(desk: Desk) -> None:
    desk.put("thing/inside.png", seed=1)
    desk.index()
    shutil.rmtree(desk.evidence / "thing")
    desk.put("thing", seed=2, format="PNG")
    desk.index()
    assert set(desk.live()) == {"thing"}
    (desk.evidence / "thing").unlink()
    desk.put("thing/inside.png", seed=1)
    desk.index()
    assert set(desk.live()) == {"thing/inside.png"}


def test_files_excluded_later_are_not_gone_and_come_back_unexcluded(desk: Desk) -> None:
    desk.put("a.jpg", seed=1)
    desk.put("private/b.jpg", seed=2)
    desk.index()
    report = desk.index(exclude=("private", "a.jpg"))
    assert (dict(report.skipped), report.gone, report.accounted) == (
        {"folder": 1, "file": 1},
        0,
        True,
    )
    assert set(desk.live()) == {"a.jpg", "private/b.jpg"}
    report = desk.index()
    assert (report.unchanged, dict(report.skipped), report.gone) == (2, {}, 0)


def test_a_file_that_is_no_longer_excluded_is_not_counted_as_skipped_for_ever(desk: Desk) -> None:
    desk.put("a.jpg", seed=1)
    desk.put("b.jpg", seed=2)
    desk.index()
    desk.index(exclude=("a.jpg",))
    desk.index()
    with Case.open(desk.database, read_only=True) as case:
        assert dict(case.status().skipped) == {}


def test_a_skipped_file_that_becomes_a_failure_is_no_longer_counted_as_skipped(desk: Desk) -> None:
    desk.put("a.jpg", seed=1)
    desk.write("b.jpg", b"%PDF-1.7\n%....")
    desk.index()
    desk.corrupt("b.jpg")
    desk.index()
    assert (desk.skipped(), set(desk.failures())) == ({}, {"b.jpg"})


def test_nothing_marks_files_gone_that_another_run_added_during_the_walk(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is on record before it walks: a walk that another run outdated would call its files gone."""
    from image_similarity.errors import DatabaseLocked

    desk.put_many(2)
    really_walk = job.walk
    refused: list[DatabaseLocked] = []

    def walk(*given: Any, **named: Any) -> Any:
        yield from list(really_walk(*given, **named))
        desk.put("late.jpg", seed=9)
        with monkeypatch.context() as patch, pytest.raises(DatabaseLocked) as locked:
            patch.setattr(job, "walk", really_walk)
            desk.index()
        refused.append(locked.value)

    monkeypatch.setattr(job, "walk", walk)
    desk.index()
    assert refused
    assert (desk.index().new, desk.gone()) == (1, [])
