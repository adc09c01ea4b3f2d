"""Every entry of a folder is in exactly one class of the account, printed and stored."""

from __future__ import annotations

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from image_similarity.errors import FolderMissing, NothingToIndex
from image_similarity.events import Failed, Finished, Progress, Started
from tests.indexing.desk import Desk, digest_of

# The same on both engines.
pytestmark = pytest.mark.usefixtures("location")

PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n"
ZIP = b"PK\x03\x04\x14\x00\x00\x00\x00\x00" + bytes(40)
MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + bytes(40)


def fill(desk: Desk) -> dict[str, Any]:
    """One of everything; gives the classes that an account must show."""
    first = desk.put("first.jpg", seed=1)
    desk.put("UPPER.JPG", seed=2)
    desk.put("a/b/c/deep.jpeg", seed=3)
    desk.put("no-suffix", seed=4, format="PNG")
    desk.put("false-name.txt", seed=5, format="JPEG")
    shutil.copy2(first, desk.evidence / "a" / "copy-of-first.jpg")
    desk.corrupt("broken.jpg")
    desk.write("empty.jpg", b"")
    desk.write("report.pdf", PDF)
    desk.write("archive.zip", ZIP)
    desk.write("film.mp4", MP4)
    desk.write("notes.txt", b"seen on 3 May\n")
    os.mkfifo(desk.evidence / "pipe")
    (desk.evidence / "loop").symlink_to(desk.evidence)
    (desk.evidence / "dangling.jpg").symlink_to(desk.evidence / "nowhere.jpg")
    return {
        "seen": 15,
        "new": 5,
        "duplicate": 1,
        "failed": 2,
        "skipped": {"document": 2, "archive": 1, "video": 1, "special": 1, "link": 2},
    }


def account(report: Any) -> dict[str, Any]:
    return {
        "seen": report.seen,
        "new": report.new,
        "duplicate": report.duplicate,
        "failed": report.failed,
        "skipped": dict(report.skipped),
    }


def test_every_entry_of_a_mixed_folder_is_in_exactly_one_class(desk: Desk) -> None:
    expected = fill(desk)
    report = desk.index()
    assert account(report) == expected
    assert report.accounted
    assert (report.status, report.unchanged, report.gone, report.moved) == ("partial", 0, 0, 0)
    assert report.embedded == 5


def test_the_second_run_accounts_for_the_same_entries(desk: Desk) -> None:
    expected = fill(desk)
    first, second = desk.index(), desk.index()
    assert second.accounted
    assert account(second) == {**expected, "new": 0, "duplicate": 0}
    assert (second.seen, second.unchanged, second.status) == (first.seen, 6, "partial")


def test_the_stored_account_is_the_one_that_was_returned(desk: Desk) -> None:
    fill(desk)
    report = desk.index()
    (stored,) = desk.runs()
    assert account(stored) == account(report)
    assert (stored.status, stored.embedded, stored.bytes_read) == (
        report.status,
        report.embedded,
        report.bytes_read,
    )


def test_what_is_stored_is_what_was_counted(desk: Desk) -> None:
    fill(desk)
    report = desk.index()
    assert len(desk.live()) == report.new + report.duplicate
    assert desk.count("image") == desk.count("embedding") == report.new
    assert len(desk.failures()) == report.failed
    assert len(desk.skipped()) == sum(report.skipped.values())


def test_files_that_may_hold_pictures_unsearched_are_counted_by_kind(desk: Desk) -> None:
    fill(desk)
    desk.index()
    kinds = desk.skipped()
    assert (kinds["report.pdf"], kinds["archive.zip"], kinds["film.mp4"]) == (
        "document",
        "archive",
        "video",
    )


def test_a_heic_name_without_heic_content_is_a_failure_not_a_silence(desk: Desk) -> None:
    desk.put("good.jpg")
    desk.write("IMG_0001.HEIC", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64))
    report = desk.index()
    assert (report.new, report.failed) == (1, 1)
    assert desk.failures()["IMG_0001.HEIC"][0] == "decode"


def test_events_tell_the_total_each_failure_and_the_account(desk: Desk) -> None:
    expected = fill(desk)
    events: list[Any] = []
    report = desk.index(on_event=events.append)
    assert events[0] == Started("evidence", str(desk.evidence), expected["seen"])
    assert events[-1] == Finished(report)
    failed = [event.failure.path for event in events if isinstance(event, Failed)]
    assert sorted(failed) == ["broken.jpg", "empty.jpg"]
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert (last.done, last.total) == (expected["seen"], expected["seen"])


def test_a_single_picture_is_indexed_at_its_place_in_its_folder(desk: Desk) -> None:
    picture = desk.put("one.jpg", seed=1)
    desk.put("other.jpg", seed=2)
    report = desk.index(picture)
    assert (report.seen, report.new, report.root) == (1, 1, str(desk.evidence))
    assert desk.live() == {"one.jpg": digest_of(picture)}


def test_a_single_picture_says_nothing_about_its_neighbours(desk: Desk) -> None:
    pictures = desk.put_many(3)
    desk.index()
    pictures[1].unlink()
    report = desk.index(pictures[0])
    assert (report.seen, report.unchanged, report.gone) == (1, 1, 0)
    assert len(desk.live()) == 3


def test_an_empty_folder_is_refused_and_nothing_is_marked_gone(desk: Desk) -> None:
    pictures = desk.put_many(3)
    desk.index()
    for picture in pictures:
        picture.unlink()
    with pytest.raises(NothingToIndex) as refused:
        desk.index()
    assert refused.value.exit_code == 1
    assert (len(desk.live()), desk.gone()) == (3, [])


def test_a_folder_of_empty_folders_is_refused_too(desk: Desk) -> None:
    (desk.evidence / "a" / "b").mkdir(parents=True)
    with pytest.raises(NothingToIndex):
        desk.index()


def test_a_refused_folder_leaves_no_source_behind(desk: Desk) -> None:
    """Otherwise every later refresh would stumble over it."""
    with pytest.raises(NothingToIndex):
        desk.index()
    assert (desk.count("source"), desk.count("run")) == (0, 0)


def test_a_missing_folder_is_refused_before_anything_is_recorded(desk: Desk) -> None:
    desk.put("one.jpg")
    desk.index()
    before = desk.tables()
    with pytest.raises(FolderMissing) as refused:
        desk.index(desk.folder / "not-mounted")
    assert refused.value.exit_code == 2
    assert desk.tables() == before


@pytest.mark.parametrize(
    "setting",
    [
        {"batch_size": 0},
        {"workers": 0},
        {"max_megapixels": 0.0},
        {"max_megapixels": float("nan")},
        {"max_megapixels": float("inf")},
        {"models": ()},
        {"source": " "},
        {"source": "a\nb"},
        {"source": os.fsdecode(b"disk-\xe9")},
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused_before_anything_is_recorded(
    desk: Desk, setting: dict[str, Any]
) -> None:
    from image_similarity.errors import InvalidSetting

    desk.put("one.jpg")
    with pytest.raises(InvalidSetting) as refused:
        desk.index(**setting)
    assert refused.value.exit_code == 2
    assert (desk.count("source"), desk.count("run"), desk.count("model")) == (0, 0, 0)


def test_a_run_records_in_which_runtime_each_model_ran(desk: Desk) -> None:
    desk.put("one.jpg")
    desk.index()
    desk.index(models=("builtin",), scenes=None, runtime="onnx")
    first, second = (json.loads(text) for (text,) in desk.rows("SELECT environment FROM run"))
    assert first["runtime"] == "tiny in torch"
    assert second["runtime"] == "builtin in onnx"
    assert second["onnxruntime"] == version("onnxruntime")


def test_a_runtime_that_cannot_run_the_model_is_refused_before_anything_is_recorded(
    desk: Desk,
) -> None:
    from image_similarity.errors import ModelError

    desk.put("one.jpg")
    with pytest.raises(ModelError, match="No graph"):
        desk.index(runtime="onnx")
    assert (desk.count("source"), desk.count("run"), desk.count("model")) == (0, 0, 0)


def test_the_picture_of_an_unusable_network_is_not_lost(desk: Desk, tmp_path: Path) -> None:
    """A model that cannot be used ends the run with its own error before a file is read."""
    from image_similarity.errors import ModelError

    desk.put("one.jpg")
    with pytest.raises(ModelError):
        desk.index(models=(str(tmp_path / "none.safetensors"),))
    assert desk.index().new == 1
