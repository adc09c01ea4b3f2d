"""An explanation: the distance of a search, what both have in common, and points or heat."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_similarity.case import Case
from image_similarity.errors import (
    ExtraMissing,
    ImageUnreadable,
    InvalidSetting,
    UnknownImage,
)
from image_similarity.events import Progress, Started
from image_similarity.explain.occlusion import CELLS
from image_similarity.values import Explanation
from tests.explain.conftest import Indexed


def explain(made: Indexed, query: object, hit: object, **asked: Any) -> Explanation:
    with Case.open(made.database, read_only=True) as case:
        return case.explain(str(query), str(hit), **asked)


@pytest.fixture
def without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    from image_similarity.matching import geometry

    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == "cv2":
            raise ImportError(name)
        return real(name, *rest, **more)

    geometry._opencv.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)


def test_the_distance_and_scenes_are_those_of_a_search(explained: Indexed) -> None:
    found = explain(explained, explained.part, "evidence:0.png", method="occlusion")
    with Case.open(explained.database, read_only=True) as case:
        result = case.search(explained.part, scene="off", k=4)
    hit = next(hit for hit in result.hits if hit.place.path == "0.png")
    assert (found.distance, found.similarity) == (hit.distance, hit.similarity)
    assert found.query.scenes == result.query_scenes
    assert found.hit.scenes == hit.image.scenes
    assert found.hit.sha256 == hit.image.sha256
    assert (found.query.indexed, found.hit.indexed) == (False, True)
    assert (found.hit.width, found.hit.height) == (320, 240)


def test_shared_scenes_are_those_of_both_the_likeliest_first(explained: Indexed) -> None:
    found = explain(explained, explained.part, "evidence:0.png", method="occlusion")
    names = [name for name, _, _ in found.shared_scenes]
    assert set(names) == {each.name for each in found.query.scenes} & {
        each.name for each in found.hit.scenes
    }
    products = [here * there for _, here, there in found.shared_scenes]
    assert products == sorted(products, reverse=True)


def test_a_part_of_a_picture_is_explained_by_matched_points(explained: Indexed) -> None:
    pytest.importorskip("cv2")
    found = explain(explained, explained.part, "evidence:0.png")
    assert found.method == "matched points"
    assert found.geometry in ("homography", "fundamental matrix")
    assert len(found.points) >= 20
    assert found.query.heat == found.hit.heat == ()
    # The part begins at (40, 30) of the picture.
    moved = np.array(found.points) * [260, 190, 320, 240]
    assert np.median(moved[:, 2] - moved[:, 0]) == pytest.approx(40, abs=2)
    assert np.median(moved[:, 3] - moved[:, 1]) == pytest.approx(30, abs=2)


def test_two_pictures_without_common_points_get_heat_maps_and_it_is_said_why(
    explained: Indexed,
) -> None:
    pytest.importorskip("cv2")
    events: list[object] = []
    found = explain(explained, "evidence:1.png", "evidence:2.png", on_event=events.append)
    assert found.method == "occlusion"
    assert "points matched, fewer than the 20" in found.note
    assert np.array(found.query.heat).shape == np.array(found.hit.heat).shape == (CELLS, CELLS)
    views = 2 * (CELLS**2 + 1)
    assert events[0] == Started("explaining", "", views, "views")
    assert events[-1] == Progress(views, views, 0, 0)
    with pytest.raises(InvalidSetting, match="fewer than the 20"):
        explain(explained, "evidence:1.png", "evidence:2.png", method="points")


@pytest.mark.usefixtures("without_opencv")
def test_without_opencv_there_is_a_heat_map_unless_points_are_asked_for(
    explained: Indexed,
) -> None:
    found = explain(explained, explained.part, "evidence:0.png")
    assert found.method == "occlusion"
    assert "not installed" in found.note
    with pytest.raises(ExtraMissing) as refused:
        explain(explained, explained.part, "evidence:0.png", method="points")
    assert "image_similarity[match]" in refused.value.hint


def test_the_same_content_is_identical_by_path_by_place_and_by_hash(explained: Indexed) -> None:
    with Case.open(explained.database, read_only=True) as case:
        sha256 = case.images_at("3.png")[0].sha256
    for named in (explained.folder / "3.png", "evidence:3.png", "3.png", sha256, sha256[:8]):
        found = explain(explained, named, explained.folder / "3.png", method="occlusion")
        assert found.identical and found.distance == 0.0
        assert found.pdq_distance in (0, None)


def test_what_is_not_there_is_refused_with_one_line(explained: Indexed, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir")
    with pytest.raises(ImageUnreadable, match="is no picture"):
        explain(explained, tmp_path / "letter.txt", "evidence:0.png")
    with pytest.raises(UnknownImage):
        explain(explained, explained.part, "evidence:9.png")
    with pytest.raises(UnknownImage):
        explain(explained, explained.part, "f00f00f0")
    with pytest.raises(InvalidSetting, match="no method is called 'magic'"):
        explain(explained, explained.part, "evidence:0.png", method="magic")


def test_a_place_that_holds_another_content_now_is_not_explained(explained: Indexed) -> None:
    place = explained.folder / "2.png"
    kept = place.read_bytes()
    with Case.open(explained.database, read_only=True) as case:
        sha256 = case.images_at("2.png")[0].sha256
    try:
        place.write_bytes(explained.part.read_bytes())
        with pytest.raises(ImageUnreadable, match="is not what was indexed"):
            explain(explained, explained.part, sha256, method="occlusion")
        place.unlink()
        with pytest.raises(ImageUnreadable, match="not at hand"):
            explain(explained, explained.part, sha256, method="occlusion")
    finally:
        place.write_bytes(kept)
