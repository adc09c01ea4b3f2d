"""`verify`: hits say how many local features one geometry explains, from files that still hold what was indexed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_similarity.case import Case, search_cases, search_cases_folder
from image_similarity.errors import ImageUnreadable, InvalidSetting
from image_similarity.events import Event, Progress, Started
from image_similarity.search import SearchRequest
from image_similarity.search.beside import Beside
from image_similarity.settings import IndexOptions
from image_similarity.values import Failure, SearchResult

pytest.importorskip("cv2")


def patches(seed: int, size: int = 256) -> Image.Image:
    random = np.random.default_rng(seed)
    pixels = np.full((size, size, 3), 128, dtype=np.uint8)
    for _ in range(200):
        left, top = random.integers(0, size, 2)
        width, height = random.integers(4, 36, 2)
        pixels[top : top + height, left : left + width] = random.integers(0, 256, 3)
    return Image.fromarray(pixels)


@pytest.fixture
def scene(tmp_path: Path, tiny_model: Path) -> tuple[Path, Path]:
    """A query outside the evidence; in it a tilted copy that a small model takes for another, and four pictures."""
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    whole = patches(0)
    whole.save(tmp_path / "query.png")
    whole.rotate(25, expand=False).crop((30, 30, 226, 226)).save(evidence / "tilted.png")
    for number in range(1, 5):
        patches(number).save(evidence / f"other-{number}.png")
    with Case.open(tmp_path / "case.db") as case:
        case.index(evidence, options=IndexOptions(models=(str(tiny_model),), scenes=None))
    return tmp_path / "query.png", tmp_path / "case.db"


def test_hits_keep_their_order_and_say_their_inliers(scene: tuple[Path, Path]) -> None:
    query, database = scene
    with Case.open(database, read_only=True) as case:
        plain = case.search(query, k=5)
        result = case.search(query, k=5, verify=True)
    assert [hit.place.path for hit in result.hits] == [hit.place.path for hit in plain.hits]
    inliers = {hit.place.path: hit.inliers for hit in result.hits}
    assert inliers.pop("tilted.png") > 40
    assert max(inliers.values()) < 15
    assert {hit.distance_rank for hit in result.hits} == {None}
    assert result.geometry is not None
    assert (result.geometry.checked, result.geometry.candidates) == (5, 5)
    assert result.geometry.features > 100


def test_by_inliers_the_picture_of_the_same_thing_comes_first_from_any_rank(
    scene: tuple[Path, Path],
) -> None:
    query, database = scene
    with Case.open(database, read_only=True) as case:
        plain = case.search(query, k=5)
        result = case.search(query, k=2, by_inliers=True)
    assert [hit.rank for hit in result.hits] == [1, 2]
    assert result.k == 2
    first = result.hits[0]
    assert first.place.path == "tilted.png"
    rank = next(hit.rank for hit in plain.hits if hit.place.path == "tilted.png")
    assert first.distance_rank == rank


def test_only_the_candidates_are_compared(scene: tuple[Path, Path]) -> None:
    query, database = scene
    with Case.open(database, read_only=True) as case:
        result = case.search(query, k=5, verify=True, candidates=2)
    assert [hit.inliers is None for hit in result.hits] == [False, False, True, True, True]
    assert result.geometry is not None
    assert result.geometry.candidates == 2


def test_files_that_changed_or_are_gone_are_said_and_stand_last(scene: tuple[Path, Path]) -> None:
    query, database = scene
    evidence = query.parent / "evidence"
    (evidence / "other-1.png").unlink()
    patches(99).save(evidence / "other-2.png")
    with Case.open(database, read_only=True) as case:
        result = case.search(query, k=5, by_inliers=True)
    reasons = {hit.place.path: hit.not_checked for hit in result.hits if hit.inliers is None}
    assert reasons == {
        "other-1.png": "No such file or directory",
        "other-2.png": "the file is not what was indexed",
    }
    assert {hit.place.path for hit in result.hits[-2:]} == set(reasons)
    assert result.geometry is not None
    assert result.geometry.checked == 3


def test_a_picture_of_two_databases_is_read_where_either_has_it(
    scene: tuple[Path, Path], tmp_path: Path, tiny_model: Path
) -> None:
    query, database = scene
    mounted, unmounted = query.parent / "evidence", tmp_path / "unmounted"
    shutil.copytree(mounted, unmounted)
    with Case.open(tmp_path / "other.db") as other, Case.open(database, read_only=True) as case:
        other.index(unmounted, options=IndexOptions(models=(str(tiny_model),), scenes=None))
        shutil.rmtree(unmounted)
        result = search_cases([other, case], SearchRequest(query=query, k=10, verify=True))
    assert [hit.not_checked for hit in result.hits] == [""] * 10


def test_a_stored_query_is_read_where_it_lies(scene: tuple[Path, Path]) -> None:
    query, database = scene
    with Case.open(database, read_only=True) as case:
        (record,) = case.images_at("tilted.png")
        result = case.search(sha256=record.sha256, k=1, verify=True)
        assert result.hits[0].inliers > 100
        (query.parent / "evidence" / "tilted.png").unlink()
        with pytest.raises(ImageUnreadable, match="cannot be checked"):
            case.search(sha256=record.sha256, k=1, verify=True)


def test_progress_counts_the_pictures_compared(scene: tuple[Path, Path]) -> None:
    query, database = scene
    events: list[Event] = []
    with Case.open(database, read_only=True) as case:
        case.search(query, k=3, verify=True, on_event=events.append)
    assert [type(event) for event in events] == [Started, Progress, Progress, Progress]
    assert [event.done for event in events[1:]] == [1, 2, 3]


def test_what_has_no_answer_is_refused(scene: tuple[Path, Path]) -> None:
    query, database = scene
    with (
        Case.open(database, read_only=True) as case,
        pytest.raises(InvalidSetting, match="0 pictures"),
    ):
        case.search(query, verify=True, candidates=0)


def test_a_query_of_a_folder_that_changed_meanwhile_does_not_keep_the_others_from_being_searched(
    scene: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    query, database = scene
    folder = query.parent / "queries"
    folder.mkdir()
    for number in (20, 21):
        patches(number).save(folder / f"{number}.png")
    really_add = Beside.add

    def add(self: Beside, result: SearchResult, path: Path | None) -> SearchResult:
        if path is not None and path.name == "20.png":
            path.write_bytes(b"gone")
        return really_add(self, result, path)

    monkeypatch.setattr(Beside, "add", add)
    with Case.open(database, read_only=True) as case:
        request = SearchRequest(verify=True, k=1)
        changed, searched = search_cases_folder([case], folder, request)
    assert isinstance(changed, Failure)
    assert "cannot be checked" in changed.message
    assert isinstance(searched, SearchResult)
    assert searched.hits[0].inliers is not None
