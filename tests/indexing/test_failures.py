"""A file that cannot be taken is on record with stage and reason until it is taken; its neighbours are not harmed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from image_similarity.case import Case
from image_similarity.indexing import loader
from image_similarity.pictures import read
from tests.indexing.desk import Desk, digest_of, within_one_step
from tests.indexing.test_incremental import read_files
from tests.tiny_model import tiny_card, tiny_state

# The same on both engines.
pytestmark = pytest.mark.usefixtures("location")

__all__ = ["read_files"]


def test_a_failure_is_recorded_with_stage_reason_and_source(desk: Desk) -> None:
    desk.put("good.jpg")
    desk.corrupt("room/broken.jpg")
    report = desk.index(source="disk-07")
    (failure,) = report.failures
    assert (failure.path, failure.stage, failure.source) == (
        "room/broken.jpg",
        "decode",
        "disk-07",
    )
    assert (failure.error, failure.message) != ("", "")
    assert failure.size == (desk.evidence / "room" / "broken.jpg").stat().st_size
    with Case.open(desk.database, read_only=True) as case:
        assert case.failures() == case.failures(report.run_id) == [failure]


def test_a_failure_stands_unread_until_the_file_changes(desk: Desk, read_files: list[str]) -> None:
    desk.put("good.jpg")
    desk.corrupt("broken.jpg")
    desk.index()
    read_files.clear()
    report = desk.index()
    assert (report.failed, report.status, read_files) == (1, "partial", [])
    desk.put("broken.jpg", seed=5)
    report = desk.index()
    assert (report.failed, report.new, read_files) == (0, 1, ["broken.jpg"])
    assert (report.status, desk.failures()) == ("done", {})


def test_retry_failed_reads_again_what_failed_and_nothing_else(
    desk: Desk, read_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put("good.jpg", seed=1)
    picture = desk.put("locked.jpg", seed=2)
    really_open = os.open

    def refuse(path: Any, *rest: Any, **named: Any) -> int:
        if os.fsdecode(path) == str(picture):
            raise PermissionError(13, "Permission denied", path)
        return really_open(path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        desk.index()
    read_files.clear()
    assert desk.index().failed == 1
    report = desk.index(retry_failed=True)
    assert (report.failed, report.new, read_files) == (0, 1, ["locked.jpg"])


def test_a_failure_that_lasts_is_recorded_once_and_its_history_kept(desk: Desk) -> None:
    desk.put("good.jpg")
    desk.corrupt("broken.jpg")
    first, second = desk.index(), desk.index(retry_failed=True)
    recorded = desk.rows("SELECT run_id, resolved_run_id FROM failure ORDER BY id")
    assert recorded == [(first.run_id, second.run_id), (second.run_id, None)]


def test_the_failure_of_a_file_that_is_gone_is_closed(desk: Desk) -> None:
    desk.put("good.jpg")
    broken = desk.corrupt("broken.jpg")
    desk.index()
    broken.unlink()
    report = desk.index()
    assert (report.failed, report.gone, report.status, desk.failures()) == (0, 0, "done", {})


def test_the_neighbours_of_a_corrupt_file_keep_their_own_vectors(
    desk: Desk, tmp_path: Path, tiny_model: Path
) -> None:
    """One failure in the middle of a batch must not shift what belongs to the files behind it."""
    pictures = desk.put_many(7)
    for number in (1, 3, 4):
        desk.corrupt(pictures[number].name)
    desk.index(batch_size=7, workers=3)
    for number in (0, 2, 5, 6):
        alone = Desk(tmp_path / f"alone-{number}", tiny_model)
        alone.put(pictures[number].name, seed=number)
        alone.index()
        assert within_one_step(desk.vector(pictures[number]), alone.vector(pictures[number]))
        digest = digest_of(pictures[number])
        assert [labels for (_, sha), labels in desk.labels().items() if sha == digest] == list(
            alone.labels().values()
        )
    assert set(desk.failures()) == {pictures[number].name for number in (1, 3, 4)}


def test_a_file_that_changes_while_it_is_read_is_a_failure_and_read_by_the_next_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run reads it even if its size and time came back to what the walk found."""
    picture = desk.put("growing.jpg", seed=1)
    desk.put("calm.jpg", seed=2)
    data, before = picture.read_bytes(), picture.stat().st_mtime_ns
    really_take = read._take

    def take(descriptor: int, count: int) -> bytes:
        taken = really_take(descriptor, count)
        if os.fstat(descriptor).st_ino == picture.stat().st_ino and picture.stat().st_size == len(
            data
        ):
            with picture.open("ab") as stream:
                stream.write(b"more")
        return taken

    with monkeypatch.context() as patch:
        patch.setattr(read, "_take", take)
        report = desk.index()
    assert (report.new, report.failed) == (1, 1)
    assert desk.failures() == {"growing.jpg": ("read", "Changed")}
    picture.write_bytes(data)
    os.utime(picture, ns=(before, before))
    assert desk.index().new == 1
    assert desk.live()["growing.jpg"] == digest_of(picture)


def test_a_file_that_vanishes_between_walk_and_read_is_a_failure(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put("a.jpg", seed=1)
    fleeting = desk.put("b.jpg", seed=2)
    really_load = loader.load

    def load(entry: Any, *rest: Any, **named: Any) -> Any:
        if entry.path == "b.jpg":
            fleeting.unlink(missing_ok=True)
        return really_load(entry, *rest, **named)

    monkeypatch.setattr(loader, "load", load)
    report = desk.index()
    assert (report.new, report.failed, report.failures[0].error) == (1, 1, "FileNotFoundError")
    assert desk.index().status == "done"


def test_too_little_memory_for_one_picture_is_its_failure_and_the_run_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(3)
    really_decode = loader.decode_for
    calls: list[int] = []

    def decode(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return really_decode(*given, **named)

    monkeypatch.setattr(loader, "decode_for", decode)
    report = desk.index(workers=1)
    assert (report.new, report.failed) == (2, 1)
    assert list(desk.failures().values()) == [("decode", "MemoryError")]


def test_a_picture_above_the_pixel_limit_is_a_failure_that_a_higher_limit_resolves(
    desk: Desk,
) -> None:
    desk.put("small.png", seed=1, size=(20, 20))
    desk.put("large.png", seed=2, size=(200, 100))
    report = desk.index(max_megapixels=0.01)
    assert (report.new, report.failed, set(desk.failures())) == (1, 1, {"large.png"})
    report = desk.index(retry_failed=True)
    assert (report.new, report.failed) == (1, 0)


def test_a_truncated_picture_is_taken_and_marked_as_partly_decoded(desk: Desk) -> None:
    data = desk.put("whole.jpg", seed=1, size=(400, 300)).read_bytes()
    desk.write("cut.jpg", data[: len(data) * 2 // 3])
    report = desk.index()
    assert (report.new, report.partial, report.failed) == (2, 1, 0)
    assert np.isfinite(desk.vector(desk.evidence / "cut.jpg")).all()


def test_a_file_that_was_read_but_not_decoded_is_recorded_with_its_hash(desk: Desk) -> None:
    broken = desk.corrupt("broken.jpg")
    desk.index()
    with Case.open(desk.database, read_only=True) as case:
        (failure,) = case.failures()
    assert failure.sha256 == digest_of(broken)


def test_a_raw_vector_that_half_precision_cannot_hold_is_a_failure_of_its_picture(
    tmp_path: Path,
) -> None:
    """A model without normalisation whose first number is the sum of all pixels, times 400."""
    card = tiny_card(scenes=()) | {"normalisation": "none"}
    card["preprocess"] |= {"mean": [0, 0, 0], "std": [1, 1, 1]}
    state = tiny_state(scenes=0)
    state["embedding.weight"][0] = 400
    model = tmp_path / "raw.safetensors"
    save_file(state, model, metadata={"card": json.dumps(card)})
    desk = Desk(tmp_path / "desk", model)
    desk.options = replace(desk.options, scenes=None)
    for name, value in (("dark", 30), ("bright", 250)):
        Image.new("RGB", (48, 36), (value, value, value)).save(desk.evidence / f"{name}.png")
        desk.settle(desk.evidence / f"{name}.png")
    report = desk.index()
    assert [(each.path, each.stage) for each in report.failures] == [("bright.png", "embed")]
    assert report.embedded == 1
    vector = desk.vector(desk.evidence / "dark.png")
    assert np.linalg.norm(vector.astype(np.float64)) == pytest.approx(
        400 * 192 * 30 / 255, rel=0.01
    )
