"""Own pictures: their groups from folders, from a list or none, and what could not be taken."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.errors import FolderMissing, InvalidSetting, NothingToIndex
from image_similarity.events import Failed
from image_similarity.training import picture_set
from image_similarity.training.picture_set import PictureSet, read_groups, read_pictures
from image_similarity.training.recipe import Advance, Event
from image_similarity.values import Preprocess
from tests.conftest import PictureFactory

PREPROCESS = Preprocess(32, interpolation="bilinear")


def read(folder: Path, **options: object) -> PictureSet:
    found = read_pictures(
        folder,
        PREPROCESS,
        on_event=lambda event: None,
        stop=lambda: False,
        **options,  # type: ignore[arg-type]
    )
    assert found is not None
    return found


@pytest.fixture
def folder(tmp_path: Path, picture_factory: PictureFactory) -> Path:
    """Two places with a deeper folder, a copy, a broken file, a letter, and one picture in no place."""
    root = tmp_path / "places"
    for number, name in enumerate(("hall/a.png", "hall/deep/b.png", "yard/c.png", "loose.png")):
        picture_factory(root / name, seed=number)
    shutil.copy(root / "hall/a.png", root / "hall/copy.png")
    shutil.copy(root / "hall/a.png", root / "yard/copy.png")
    (root / "yard/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (root / "yard/letter.txt").write_text("Dear Sir")
    return root


def test_the_first_folder_is_the_group_and_everything_is_accounted_for(folder: Path) -> None:
    found = read(folder)
    assert list(zip(found.paths, found.groups, strict=True)) == [
        ("hall/a.png", "hall"),
        ("hall/deep/b.png", "hall"),
        ("yard/c.png", "yard"),
        ("yard/copy.png", "yard"),
    ]
    assert found.copies == 1
    assert [failure.path for failure in found.failures] == ["yard/broken.jpg"]
    assert found.skipped == {"in no group's folder": 1, "content: text": 1}
    assert found.pixels.shape == (4, 32, 32, 3)
    assert found.views.shape == (4, 43, 43, 3)


def test_unlabelled_each_content_is_its_own_group_and_counts_once(folder: Path) -> None:
    found = read(folder, unlabelled=True)
    assert found.groups == found.paths
    assert "loose.png" in found.paths
    assert found.copies == 2


def test_a_list_says_the_groups_and_a_file_that_is_not_there_is_a_failure(
    folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("note,path,group\n,hall/a.png,1\n,loose.png,1\n,gone.png,2\n")
    found = read(folder, groups=table)
    assert list(zip(found.paths, found.groups, strict=True)) == [
        ("hall/a.png", "1"),
        ("loose.png", "1"),
    ]
    assert [(failure.path, failure.stage) for failure in found.failures] == [("gone.png", "stat")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,group\n", "names no picture"),
        ("file,class\na,b\n", "row 2: a path and a group"),
        ("path,group\na,1\na,2\n", "row 3: 'a' is in two groups"),
        ("path,group\n../a,1\n", "below the folder"),
        ("path,group\n/etc/a,1\n", "below the folder"),
        ("path,group\na\n", "row 2"),
    ],
)
def test_a_wrong_list_is_refused_with_its_row(tmp_path: Path, text: str, reason: str) -> None:
    table = tmp_path / "groups.csv"
    table.write_text(text)
    with pytest.raises(InvalidSetting, match=reason):
        read_groups(table)


@given(content=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_list_or_refused(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = tmp_path_factory.mktemp("lists") / "groups.csv"
    table.write_bytes(b"path,group\n" + content)
    try:
        groups = read_groups(table)
    except InvalidSetting:
        return
    assert all(path and group for path, group in groups.items())


def test_a_folder_that_is_missing_or_holds_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderMissing):
        read(tmp_path / "nowhere")
    (tmp_path / "letter.txt").write_text("Dear Sir")
    with pytest.raises(NothingToIndex, match="No picture"):
        read(tmp_path)


def test_reading_tells_its_progress_and_stops_when_asked(folder: Path) -> None:
    seen: list[Event] = []
    read_pictures(folder, PREPROCESS, on_event=seen.append, stop=lambda: False)
    assert [each for each in seen if isinstance(each, Advance)][-1] == Advance("reading", 7, 7)
    assert [each.failure.path for each in seen if isinstance(each, Failed)] == ["yard/broken.jpg"]
    stopped = read_pictures(folder, PREPROCESS, on_event=seen.append, stop=lambda: True)
    assert stopped is None


def test_a_second_ctrl_c_does_not_wait_for_the_pictures_still_to_come(
    tmp_path: Path, picture_factory: PictureFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        picture_factory(tmp_path / "places" / "hall" / f"{number}.png", seed=number)
    taken: list[str] = []
    real = picture_set.read_file

    def slowly(path: str) -> object:
        taken.append(path)
        time.sleep(0.02)
        return real(path)

    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(picture_set, "read_file", slowly)
    with pytest.raises(KeyboardInterrupt):
        read_pictures(tmp_path / "places", PREPROCESS, on_event=interrupt, stop=lambda: False)
    assert len(taken) < 30
