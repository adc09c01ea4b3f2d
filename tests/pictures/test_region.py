"""Part of a picture: boxes and masks in the upright picture, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image_similarity.errors import InvalidSetting
from image_similarity.pictures.region import Box, Region, cut, read_box


def two_halves(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, (200, 0, 0))
    picture.paste((0, 0, 200), (size[0] // 2, 0, *size))
    return picture


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(map(int, pixel)) for pixel in np.asarray(picture).reshape(-1, 3)}


def test_a_crop_is_in_pixels_of_the_picture() -> None:
    part = cut(two_halves(), Region(read_box("20,5,10,8")))
    assert part.size == (10, 8)
    assert colours(part) == {(0, 0, 200)}


def test_a_crop_in_percent_is_that_share_of_either_side() -> None:
    part = cut(two_halves(), Region(read_box("0%,50%,50%,50%")))
    assert part.size == (20, 10)
    assert colours(part) == {(200, 0, 0)}


def test_what_is_hidden_takes_the_mean_colour_of_what_is_not() -> None:
    part = cut(two_halves(), Region(hidden=(read_box("20,0,20,20"),)))
    assert colours(part) == {(200, 0, 0)}, "nothing of the hidden half is in its filling"


def test_several_boxes_hide_together_and_a_crop_is_cut_from_what_is_left() -> None:
    region = Region(read_box("10,0,20,20"), (read_box("20,0,10,20"), read_box("0,0,5,5")))
    assert colours(cut(two_halves(), region)) == {(200, 0, 0)}
    assert str(region) == "crop 10,0,20,20; hidden 20,0,10,20 and 0,0,5,5"


@pytest.mark.parametrize("scale", [1, 2])
def test_black_hides_and_white_shows_in_a_mask_that_may_be_of_another_size(
    tmp_path: Path, scale: int
) -> None:
    mask = Image.new("L", (40 // scale, 20 // scale), 255)
    mask.paste(0, (20 // scale, 0, 40 // scale, 20 // scale))
    mask.save(tmp_path / "mask.png")
    assert colours(cut(two_halves(), Region(mask=tmp_path / "mask.png"))) == {(200, 0, 0)}


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    Image.new("L", (20, 20), 255).save(tmp_path / "mask.png")
    with pytest.raises(InvalidSetting, match="20 x 20 pixels, the upright picture 40 x 20"):
        cut(two_halves(), Region(mask=tmp_path / "mask.png"))


def test_a_mask_that_is_no_picture_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"no picture")
    with pytest.raises(InvalidSetting, match="is no picture"):
        cut(two_halves(), Region(mask=tmp_path / "mask.png"))
    with pytest.raises(InvalidSetting, match="cannot be read"):
        cut(two_halves(), Region(mask=tmp_path / "none.png"))


@pytest.mark.parametrize(
    "region",
    [Region(hidden=(Box(0, 0, 40, 20),)), Region(Box(0, 0, 9, 9), (Box(0, 0, 10, 10),))],
)
def test_a_query_of_which_all_is_hidden_is_refused(region: Region) -> None:
    with pytest.raises(InvalidSetting, match="nothing is left"):
        cut(two_halves(), region)


@pytest.mark.parametrize("box", ["35,0,10,10", "0,15,10,10", "40,0,1,1"])
def test_a_box_that_leaves_the_picture_is_refused_with_its_size(box: str) -> None:
    with pytest.raises(InvalidSetting, match="leaves the picture, which has 40 x 20 pixels"):
        cut(two_halves(), Region(read_box(box)))


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,4%", "-1,0,5,5", "nan,0,5,5", "1.5,0,5,5", "0,0,inf,5", "1_0,0,5,5"],
)  # fmt: skip
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="is no box"):
        read_box(text)


@pytest.mark.parametrize("text", ["0,0,0,5", "0,0,5,0", "60%,0%,50%,10%"])
def test_a_box_without_area_or_beyond_the_picture_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"holds nothing|beyond the picture"):
        read_box(text)


@given(st.text(max_size=40))
def test_any_text_is_a_box_or_refused(text: str) -> None:
    try:
        box = read_box(text)
    except InvalidSetting:
        return
    assert read_box(str(box)) == box or max(box.left, box.top, box.width, box.height) >= 1e6


@given(
    st.tuples(*[st.integers(0, 60)] * 4).map(lambda each: Box(*map(float, each))),
    st.tuples(*[st.integers(0, 100)] * 4).map(lambda each: Box(*map(float, each), percent=True)),
)
def test_a_region_gives_a_picture_or_is_refused(crop: Box, hidden: Box) -> None:
    try:
        part = cut(two_halves(), Region(crop, (hidden,)))
    except InvalidSetting:
        return
    assert part.width >= 1 and part.height >= 1
