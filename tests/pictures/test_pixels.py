"""The array that a model is given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from image_similarity.pictures.pixels import prepare
from image_similarity.values import Preprocess


def noise(width: int, height: int) -> Image.Image:
    draw = np.random.default_rng(3)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


SPECS = [
    Preprocess(128),
    Preprocess(64, interpolation="bilinear"),
    Preprocess(224, fit="crop", resize=256),
    Preprocess(32, fit="crop", resize=35, interpolation="bilinear"),
    Preprocess(48, fit="crop"),
]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(SPECS))
def test_any_frame_becomes_a_contiguous_square_of_bytes(
    width: int, height: int, preprocess: Preprocess
) -> None:
    found = prepare(noise(width, height), preprocess)
    assert found.shape == (preprocess.size, preprocess.size, 3)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable


def test_squash_is_one_plain_resize_of_the_whole_frame() -> None:
    frame = noise(300, 100)
    expected = np.asarray(frame.resize((128, 128), Image.Resampling.BICUBIC))
    assert (prepare(frame, Preprocess(128)) == expected).all()
    expected = np.asarray(frame.resize((128, 128), Image.Resampling.BILINEAR))
    assert (prepare(frame, Preprocess(128, interpolation="bilinear")) == expected).all()


@pytest.mark.parametrize("size", [(301, 200), (200, 301), (257, 256), (500, 97), (64, 64)])
@pytest.mark.parametrize(("side", "resize"), [(224, 256), (31, 36), (48, 48)])
def test_crop_gives_the_pixels_that_torchvision_gives(
    size: tuple[int, int], side: int, resize: int
) -> None:
    frame = noise(*size)
    width, height = size
    new = (int(resize * width / min(size)), int(resize * height / min(size)))
    resized = frame.resize(new, Image.Resampling.BICUBIC)
    left, top = round((new[0] - side) / 2.0), round((new[1] - side) / 2.0)
    expected = np.asarray(resized.crop((left, top, left + side, top + side)))
    assert (prepare(frame, Preprocess(side, fit="crop", resize=resize)) == expected).all()


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000)])
def test_a_strip_is_not_enlarged_without_bound(size: tuple[int, int]) -> None:
    frame = Image.new("RGB", size, (1, 2, 3))
    found = prepare(frame, Preprocess(224, fit="crop", resize=256))
    assert (found == (1, 2, 3)).all()


SKIMAGE = Preprocess(224, interpolation="deepranking-skimage-v1", decode_scale=0)


def by_skimage(frame: Image.Image, side: int) -> np.ndarray:
    transform = pytest.importorskip("skimage.transform")
    values = np.asarray(frame).astype(np.float64)
    resized: np.ndarray = transform.resize(values, (side, side))
    return resized


@pytest.mark.parametrize(
    "size",
    [
        (224, 224),
        (225, 223),
        (1, 1),
        (1, 900),
        (3, 2),
        (100, 50),
        (448, 448),
        (641, 480),
        (5000, 7),
    ],
)
def test_the_preprocessing_of_deepranking_gives_the_levels_of_skimage(
    size: tuple[int, int],
) -> None:
    frame = noise(*size)
    expected = by_skimage(frame, 224)
    # Half a level is the rounding to whole ones.
    assert np.abs(prepare(frame, SKIMAGE) - expected).max() < 0.501


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 120))
def test_at_any_size_it_gives_the_levels_of_skimage(width: int, height: int, side: int) -> None:
    frame = noise(width, height)
    preprocess = Preprocess(side, interpolation="deepranking-skimage-v1", decode_scale=0)
    found = prepare(frame, preprocess)
    assert found.flags.c_contiguous
    assert np.abs(found - by_skimage(frame, side)).max() < 0.501
