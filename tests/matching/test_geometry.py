"""The geometric check of two pictures: a plane, a room from two places, and what has nothing in common."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from image_similarity.errors import ExtraMissing
from image_similarity.matching import geometry
from image_similarity.pictures.pixels import prepare

cv2 = pytest.importorskip("cv2")


def texture(seed: int, side: int = 320) -> np.ndarray:
    """A picture full of corners, RGB."""
    random = np.random.default_rng(seed)
    picture = np.full((side, side, 3), 128, dtype=np.uint8)
    for _ in range(220):
        left, top = random.integers(0, side, 2)
        width, height = random.integers(4, 40, 2)
        picture[top : top + height, left : left + width] = random.integers(0, 256, 3)
    return picture


def inliers(one: np.ndarray, other: np.ndarray) -> geometry.Match:
    return geometry.compare(geometry.features(one), geometry.features(other))


def tilted(picture: np.ndarray) -> np.ndarray:
    side = len(picture)
    corners = np.float32([[0, 0], [side, 0], [side, side], [0, side]])
    moved = np.float32([[20, 30], [side - 40, 5], [side - 10, side - 20], [40, side - 50]])
    return cv2.warpPerspective(picture, cv2.getPerspectiveTransform(corners, moved), (side, side))


def test_a_tilted_plane_is_explained_by_a_homography() -> None:
    picture = texture(1)
    match = inliers(picture, tilted(picture))
    assert match.inliers >= 40
    assert match.inliers <= match.matches
    assert match.one.shape == match.other.shape == (match.inliers, 2)


def test_other_pictures_have_few_inliers() -> None:
    assert max(inliers(texture(1), texture(seed)).inliers for seed in range(2, 8)) < 15


def test_a_cut_out_part_is_found_in_the_whole() -> None:
    picture = texture(1)
    assert inliers(picture[60:220, 80:260], picture).inliers >= 30


def test_the_same_two_pictures_always_give_the_same_count() -> None:
    one, other = texture(1), tilted(texture(1))
    found = [inliers(one, other) for _ in range(3)]
    assert len({match.inliers for match in found}) == 1
    assert all((match.one == found[0].one).all() for match in found)


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 300, 3), (64, 64, 3)])
def test_a_picture_without_features_matches_nothing(shape: tuple[int, int, int]) -> None:
    plain = geometry.features(np.full(shape, 90, dtype=np.uint8))
    assert len(plain) == 0
    assert (plain.height, plain.width) == shape[:2]
    for one, other in [(plain, plain), (plain, geometry.features(texture(1)))]:
        match = geometry.compare(one, other)
        assert (match.inliers, match.geometry) == (0, "none")


@pytest.mark.parametrize("kind", ["one line", "one point", "a grid"])
def test_points_through_which_nothing_can_be_fitted_are_no_error(kind: str) -> None:
    random = np.random.default_rng(3)
    descriptors = random.random((40, 128), dtype=np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    at = np.arange(40, dtype=np.float32)
    points = {
        "one line": np.stack([9 * at, 9 * at], axis=1),
        "one point": np.stack([at % 2, at % 2], axis=1),
        "a grid": np.stack([20 * (at % 8), 20 * (at // 8)], axis=1),
    }[kind]
    one = geometry.Features(points, descriptors, 400, 400)
    other = geometry.Features(points[::-1].copy(), descriptors, 400, 400)
    assert 0 <= geometry.compare(one, other).inliers <= 40


def test_where_opencv_gives_up_nothing_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*arguments: object, **settings: object) -> None:
        raise cv2.error("model.empty()")

    picture = texture(1)
    monkeypatch.setattr(cv2, "findFundamentalMat", give_up)
    assert inliers(picture, tilted(picture)).geometry == "homography"
    monkeypatch.setattr(cv2, "findHomography", give_up)
    assert inliers(picture, tilted(picture)).inliers == 0


@pytest.mark.parametrize("shape", [(1, 1024), (1024, 1), (2, 2), (5, 1024), (1024, 3), (16, 16)])
def test_strips_and_specks_of_noise_are_no_error(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert inliers(noise, texture(1)).inliers == 0


def test_descriptors_are_unit_vectors_and_points_lie_in_the_picture() -> None:
    found = geometry.features(texture(1))
    assert found.descriptors.dtype == found.points.dtype == np.float32
    assert np.allclose(np.linalg.norm(found.descriptors, axis=1), 1.0, atol=1e-5)
    assert (found.points >= 0).all()
    assert (found.points <= 320).all()
    assert len(found) <= geometry.MOST_FEATURES


def test_a_large_picture_is_reduced_in_its_shape_and_a_small_one_stays_as_it_is() -> None:
    wanted = geometry.PREPROCESS
    assert prepare(Image.new("RGB", (4000, 1000)), wanted).shape == (256, 1024, 3)
    assert prepare(Image.new("RGB", (9000, 2)), wanted).shape == (1, 1024, 3)
    assert prepare(Image.new("RGB", (30, 40)), wanted).shape == (40, 30, 3)


def test_a_missing_opencv_is_said_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    geometry._opencv.cache_clear()
    with pytest.raises(ExtraMissing, match="OpenCV") as raised:
        geometry.require()
    assert "image_similarity[match]" in raised.value.hint
    geometry._opencv.cache_clear()
