"""Refresh repeats what the last run of each source was told, and one source in trouble does not stop the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_similarity.case import Case
from image_similarity.errors import (
    FolderMissing,
    ImageSimilarityError,
    NothingToIndex,
    UnknownSource,
    UsageError,
    WeightsChanged,
)
from image_similarity.events import Event, Notice
from image_similarity.settings import IndexOptions
from tests.conftest import draw_picture
from tests.indexing.desk import Desk
from tests.tiny_model import write_tiny_model

# The same on both engines.
pytestmark = pytest.mark.usefixtures("location")


def second_source(desk: Desk, name: str = "second") -> Path:
    folder = desk.folder / name
    folder.mkdir()
    for number in range(2):
        path = folder / f"{name}-{number}.png"
        draw_picture(100 + number + len(name), (24, 24)).save(path)
        desk.settle(path)
    return folder


def test_every_source_is_refreshed_with_what_is_new(desk: Desk) -> None:
    desk.put_many(2)
    desk.index()
    folder = second_source(desk)
    desk.index(folder)
    desk.put("new.png", seed=9)
    first, second = desk.refresh()
    assert (first.source, first.kind, first.new, first.unchanged) == ("evidence", "refresh", 1, 2)
    assert (second.source, second.new, second.unchanged) == ("second", 0, 2)


def test_the_recorded_models_scenes_excludes_and_limits_are_used(
    desk: Desk, tmp_path: Path
) -> None:
    other = write_tiny_model(tmp_path / "other.safetensors", seed=3)
    desk.put("a.png", seed=1)
    desk.put("private/b.png", seed=2)
    desk.index(
        models=(str(desk.model), str(other)),
        scenes=None,
        exclude=("private",),
        max_megapixels=0.005,
    )
    desk.put("c.png", seed=3)
    desk.put("private/d.png", seed=4)
    desk.put("large.png", seed=5, size=(100, 100))
    (report,) = desk.refresh()
    assert (report.new, report.failed, dict(report.skipped)) == (1, 1, {"folder": 1})
    assert (desk.count("embedding"), desk.count("image_scene")) == (4, 0)
    assert set(desk.live()) == {"a.png", "c.png"}


def test_files_of_an_excluded_folder_are_not_gone_after_a_refresh(desk: Desk) -> None:
    desk.put("a.png", seed=1)
    desk.put("private/b.png", seed=2)
    desk.index()
    desk.index(exclude=("private",))
    (report,) = desk.refresh()
    assert (report.gone, set(desk.live())) == (0, {"a.png", "private/b.png"})


def test_a_model_given_by_a_relative_path_is_found_again_from_another_folder(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put("a.png", seed=1)
    monkeypatch.chdir(desk.model.parent)
    desk.index(models=(desk.model.name,), scenes=desk.model.name)
    monkeypatch.chdir("/")
    desk.put("b.png", seed=2)
    assert desk.refresh()[0].new == 1


def test_a_file_that_is_called_like_a_registered_model_does_not_take_its_place(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded must be what was used: a name comes before a file."""
    from image_similarity.indexing import recorded

    (tmp_path / "builtin").write_bytes(b"no weights")
    monkeypatch.chdir(tmp_path)
    assert recorded.settings(IndexOptions())["models"] == ["builtin"]
    assert recorded.settings(IndexOptions())["scenes"] == "builtin"


def test_single_pictures_are_refreshed_each_by_itself(desk: Desk) -> None:
    one, two = desk.put("one.png", seed=1), desk.put("two.png", seed=2)
    desk.put("never-asked-for.png", seed=3)
    desk.index(one)
    desk.index(two)
    desk.put("one.png", seed=4)
    reports = desk.refresh()
    assert [(report.seen, report.new) for report in reports] == [(1, 1), (1, 0)]
    assert set(desk.live()) == {"one.png", "two.png"}


def test_a_single_picture_that_is_missing_does_not_keep_the_others_from_being_refreshed(
    desk: Desk,
) -> None:
    one, two = desk.put("one.png", seed=1), desk.put("two.png", seed=2)
    desk.index(one)
    desk.index(two)
    one.unlink()
    desk.put("two.png", seed=5)
    with pytest.raises(FolderMissing, match=r"one\.png"):
        desk.refresh()
    assert [path for path, _ in desk.gone()] == ["two.png"]
    assert set(desk.live()) == {"one.png", "two.png"}


def test_an_unknown_source_is_refused_before_any_is_refreshed(desk: Desk) -> None:
    desk.put_many(1)
    desk.index()
    with pytest.raises(UnknownSource, match="disk-9") as unknown:
        desk.refresh("evidence", "disk-9")
    assert (unknown.value.exit_code, "evidence" in unknown.value.hint) == (2, True)
    assert desk.count("run") == 1


def test_only_the_sources_named_are_refreshed(desk: Desk) -> None:
    desk.put_many(1)
    desk.index()
    desk.index(second_source(desk))
    assert [report.source for report in desk.refresh("second")] == ["second"]


@pytest.mark.parametrize("trouble", ["missing", "emptied"])
def test_one_root_that_is_not_mounted_does_not_stop_the_others(desk: Desk, trouble: str) -> None:
    folder = second_source(desk, "a-second")
    desk.index(folder)
    desk.put_many(1)
    desk.index()
    desk.put("new.png", seed=9)
    for path in folder.iterdir():
        path.unlink()
    if trouble == "missing":
        folder.rmdir()
    with pytest.raises((FolderMissing, NothingToIndex)) as reported:
        desk.refresh()
    assert isinstance(reported.value, FolderMissing) == (trouble == "missing")
    assert "new.png" in desk.live()
    assert (desk.gone(), len(desk.live())) == ([], 4)


def test_one_source_whose_weights_are_gone_does_not_stop_the_others(
    desk: Desk, tmp_path: Path
) -> None:
    passing = write_tiny_model(tmp_path / "passing.safetensors", seed=3)
    desk.index(second_source(desk, "a-second"), models=(str(passing),), scenes=None)
    passing.unlink()
    desk.put_many(1)
    desk.index()
    desk.put("new.png", seed=9)
    with pytest.raises(ImageSimilarityError) as reported:
        desk.refresh()
    assert reported.value.exit_code == 13
    assert "new.png" in desk.live()


def test_weights_that_changed_since_are_refused_and_do_not_begin_a_second_set_of_vectors(
    desk: Desk, tmp_path: Path
) -> None:
    """Queries would then have two models to choose from, and half of the pictures in each."""
    model = write_tiny_model(tmp_path / "replaced.safetensors", seed=3)
    desk.put_many(2)
    desk.index(models=(str(model),), scenes=None)
    write_tiny_model(model, seed=4)
    desk.put("new.png", seed=9)
    before = desk.tables()
    with pytest.raises(WeightsChanged) as changed:
        desk.refresh()
    assert changed.value.exit_code == 13
    assert desk.tables() == before
    assert desk.index(models=(str(model),), scenes=None).new == 3
    assert desk.refresh()[0].unchanged == 3


def test_two_folders_of_one_name_need_two_names(desk: Desk) -> None:
    from image_similarity.errors import InvalidSetting

    desk.put_many(1)
    desk.index()
    other = desk.folder / "other" / "evidence"
    other.mkdir(parents=True)
    draw_picture(50, (24, 24)).save(other / "x.png")
    with pytest.raises(InvalidSetting, match="evidence"):
        desk.index(other)
    assert desk.index(other, source="evidence-2").new == 1
    assert {report.source for report in desk.refresh()} == {"evidence", "evidence-2"}


def test_a_database_without_sources_has_nothing_to_refresh(desk: Desk) -> None:
    assert desk.refresh() == []


def test_refresh_takes_rehash_and_retry_failed_from_its_caller(desk: Desk) -> None:
    picture = desk.put("a.png", seed=1)
    desk.corrupt("broken.jpg")
    desk.index()
    (report,) = desk.refresh(rehash=True)
    assert report.bytes_read == picture.stat().st_size
    (report,) = desk.refresh(retry_failed=True)
    assert (report.failed, len(report.failures)) == (1, 1)


def test_a_stop_ends_the_refresh_before_the_next_source(desk: Desk) -> None:
    desk.put_many(3)
    desk.index()
    desk.index(second_source(desk))
    with Case.open(desk.database) as case:
        reports = case.refresh(options=IndexOptions(device="cpu"), stop=lambda: True)
    assert reports == []


def test_when_most_of_a_source_is_gone_another_disk_is_suspected(desk: Desk) -> None:
    """A second disk mounted at the same folder would silently make the first one history."""
    desk.put_many(12)
    desk.index()
    for path in sorted(desk.evidence.iterdir())[:9]:
        path.unlink()
    assert not [event for event in events_of_refresh(desk) if isinstance(event, Notice)]
    desk.put_many(12)
    desk.refresh()
    for path in sorted(desk.evidence.iterdir())[:11]:
        path.unlink()
    (notice,) = [event for event in events_of_refresh(desk) if isinstance(event, Notice)]
    assert "--source" in notice.text


def events_of_refresh(desk: Desk) -> list[Event]:
    events: list[Event] = []
    with Case.open(desk.database) as case:
        case.refresh(on_event=events.append)
    return events


def test_a_case_opened_for_reading_refuses_to_index(desk: Desk) -> None:
    desk.put_many(2)
    desk.index()
    with (
        Case.open(desk.database, read_only=True) as case,
        pytest.raises(UsageError, match="reading only"),
    ):
        case.index(desk.evidence)


def test_a_source_in_an_object_store_is_left_out_with_the_command_that_takes_it(
    desk: Desk,
) -> None:
    desk.put_many(1)
    desk.index()
    desk.change("UPDATE source SET root_path = 's3://bucket/rooms'")
    desk.index(second_source(desk))
    events: list[Event] = []
    with Case.open(desk.database) as case:
        reports = case.refresh(options=desk.options, on_event=events.append)
    assert [report.source for report in reports] == ["second"]
    (said,) = [event.text for event in events if isinstance(event, Notice)]
    assert "image-similarity cluster index -ip s3://bucket/rooms" in said
