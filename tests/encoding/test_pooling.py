"""From maps to vectors, in numpy and in torch alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from image_similarity.encoding.pooling import POOLS, pool

MAPS = np.random.default_rng(5).standard_normal((3, 4, 2, 5)).astype(np.float32)


@pytest.mark.parametrize("how", POOLS)
def test_numpy_and_torch_pool_alike(how: str) -> None:
    np.testing.assert_allclose(
        pool(torch.from_numpy(MAPS), how).numpy(), pool(MAPS, how), rtol=1e-6
    )


def test_the_mean_is_that_of_each_channel() -> None:
    np.testing.assert_allclose(pool(MAPS, "gap"), MAPS.mean(axis=(2, 3)))


def test_the_generalised_mean_is_the_cubic_mean_of_what_is_above_zero() -> None:
    expected = np.cbrt((np.maximum(MAPS, 1e-6).astype(np.float64) ** 3).mean(axis=(2, 3)))
    np.testing.assert_allclose(pool(MAPS, "gem"), expected, rtol=1e-5)


def test_flatten_keeps_every_number_in_its_order() -> None:
    np.testing.assert_array_equal(pool(MAPS, "flatten"), MAPS.reshape(3, 40))


@pytest.mark.parametrize("how", ["gap", "gem"])
def test_maps_with_their_channels_last_give_the_same_vectors(how: str) -> None:
    turned = np.ascontiguousarray(MAPS.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(pool(turned, how, channels_last=True), pool(MAPS, how), rtol=1e-6)


def test_tokens_are_pooled_over_the_tokens_and_vectors_stay() -> None:
    tokens, vectors = MAPS.reshape(3, 8, 5), MAPS.reshape(3, 40)
    np.testing.assert_allclose(pool(tokens, "gap"), tokens.mean(axis=1))
    assert pool(vectors, "gem") is vectors


@pytest.mark.parametrize(("values", "how"), [(MAPS, "max"), (MAPS[0, 0, 0], "gap")])
def test_another_pooling_or_shape_is_refused(values: np.ndarray, how: str) -> None:
    with pytest.raises(ValueError, match=r"no pooling|neither vectors nor maps"):
        pool(values, how)
