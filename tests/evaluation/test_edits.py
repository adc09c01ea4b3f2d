"""Edits repeat, change the picture, leave the original alone, and do what their names say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from image_similarity.errors import InvalidSetting
from image_similarity.evaluation.edits import (
    EASY,
    EDITS,
    HARD,
    edit_pictures,
    edit_sets,
    edited,
)
from tests.conftest import draw_picture

PICTURE = draw_picture(1, (96, 72))
OTHERS = [draw_picture(seed, (60, 80)) for seed in (2, 3)]


def pixels(picture: Image.Image) -> tuple[tuple[int, int], bytes]:
    return picture.size, picture.tobytes()


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_repeats_and_alters_the_picture_and_not_the_original(name: str) -> None:
    before = pixels(PICTURE)
    first, again = (edited(PICTURE, name, seed=1, row=4, others=OTHERS) for _ in range(2))
    assert first.mode == "RGB"
    assert pixels(first) == pixels(again)
    assert (pixels(first) == before) == (name == "unchanged")
    assert pixels(PICTURE) == before


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 3)])
def test_every_edit_bears_the_smallest_and_the_narrowest_picture(
    name: str, size: tuple[int, int]
) -> None:
    for row in range(3):
        assert min(edited(Image.new("RGB", size), name, seed=1, row=row).size) >= 1


@pytest.mark.parametrize("name", ["crop-50", "box", "person", "text", "stacked", "perspective"])
def test_another_row_or_seed_gives_another_place(name: str) -> None:
    made = {pixels(edited(PICTURE, name, seed=seed, row=row)) for seed in (1, 2) for row in (0, 1)}
    assert len(made) > 1


def test_a_crop_keeps_its_share_of_the_area() -> None:
    for name, least, most in [("crop-70", 0.69, 0.71), ("crop-below-30", 0.09, 0.31)]:
        for row in range(5):
            width, height = edited(Image.new("RGB", (400, 300)), name, seed=1, row=row).size
            assert least < width * height / 120_000 < most


def test_a_person_covers_10_to_45_per_cent() -> None:
    white = Image.new("RGB", (128, 128), "white")
    for row in range(12):
        covered = (np.asarray(edited(white, "person", seed=1, row=row)) != 255).any(axis=2).mean()
        assert 0.09 < covered < 0.47


def test_the_sets_are_those_that_are_asked_for() -> None:
    assert not set(EASY) & set(HARD)
    assert edit_sets(["hard", "mirror", "easy", "mirror"]) == {
        "hard": HARD, "easy": EASY, "named": ("mirror",),
    }  # fmt: skip
    assert edit_sets([]) == {}


def test_an_unknown_edit_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InvalidSetting, match="'sepia'") as caught:
        edit_sets(["sepia"])
    assert "crop-70" in caught.value.hint


def test_a_block_of_pictures_is_edited_row_by_row() -> None:
    block = np.stack([np.asarray(draw_picture(seed, (40, 40))) for seed in range(3)])
    made = edit_pictures(block, "crop-50", size=32, seed=1)
    assert made.shape == (3, 32, 32, 3)
    assert np.array_equal(made, edit_pictures(block, "crop-50", size=32, seed=1))
