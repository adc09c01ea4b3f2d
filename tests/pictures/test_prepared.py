"""The pixels of a model depend on the file and its own preprocessing alone."""

from __future__ import annotations

import io

import numpy as np
import pytest

from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.values import Preprocess
from tests.conftest import draw_picture

SMALL = Preprocess(size=32)
LARGE = Preprocess(size=224, fit="crop", resize=256)
FULL = Preprocess(size=64, decode_scale=0)


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    stream = io.BytesIO()
    draw_picture(3, (1200, 900)).save(stream, "JPEG")
    return stream.getvalue()


def test_each_model_gets_the_same_pixels_whichever_models_ran_beside_it(jpeg: bytes) -> None:
    _, together = decode_for(jpeg, [SMALL, LARGE, FULL], max_pixels=10_000_000)
    for preprocess in (SMALL, LARGE, FULL):
        _, alone = decode_for(jpeg, [preprocess], max_pixels=10_000_000)
        assert np.array_equal(together[preprocess], alone[preprocess])
        assert alone[preprocess].shape == (preprocess.size, preprocess.size, 3)
        assert alone[preprocess].dtype == np.uint8


def test_the_facts_are_those_of_the_whole_picture_at_any_decode_scale(jpeg: bytes) -> None:
    facts, _ = decode_for(jpeg, [SMALL], max_pixels=10_000_000)
    assert (facts.width, facts.height, facts.format) == (1200, 900, "JPEG")


def test_a_picture_above_the_limit_is_refused_before_it_is_decoded(jpeg: bytes) -> None:
    with pytest.raises(PictureError, match="max-megapixels"):
        decode_for(jpeg, [SMALL], max_pixels=1_000_000)
