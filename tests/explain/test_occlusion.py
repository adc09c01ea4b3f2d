"""A heat map by occlusion shows the parts on which a distance rests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder
from image_similarity.explain.occlusion import CELLS, heat_of, hide, hottest

Pixels = np.ndarray


def pixels(seed: int = 0, size: int = 64) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def only_the_corner(batch: Pixels) -> np.ndarray:
    """A model that sees nothing but the upper left eighth of a picture."""
    corner = batch[:, :8, :8].reshape(len(batch), -1).astype(np.float32)
    corner -= corner.mean(axis=1, keepdims=True) - 1
    return corner / np.linalg.norm(corner, axis=1, keepdims=True)


def test_what_the_model_looks_at_is_hot_and_all_else_is_not() -> None:
    picture = pixels()
    heat = heat_of(only_the_corner, picture, only_the_corner(picture[None])[0])
    assert heat.shape == (CELLS, CELLS)
    assert heat[0, 0] > 0.5
    assert np.all(np.delete(heat.ravel(), 0) == 0)


@pytest.mark.parametrize("size", [8, 64, 97])
def test_hidden_parts_have_the_mean_colour_and_others_stay(size: int) -> None:
    picture = pixels(size=size)
    parts = np.zeros((CELLS, CELLS), dtype=np.bool_)
    parts[2:4, 5] = True
    hidden = hide(picture, parts)
    mean = np.round(picture.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    covered = (hidden == mean).all(axis=2)
    assert covered.mean() == pytest.approx(2 / 64, abs=0.02)
    assert np.array_equal(hidden[~covered], picture[~covered])
    assert np.array_equal(hide(picture, np.zeros_like(parts)), picture)


def test_the_hottest_parts_are_as_many_as_the_share_says() -> None:
    heat = np.arange(64.0).reshape(8, 8)
    assert np.flatnonzero(hottest(heat, 0.2)).tolist() == list(range(51, 64))
    assert np.flatnonzero(hottest(np.zeros((8, 8)), 0.2)).tolist() == list(range(13))


def photographs() -> list[Pixels]:
    """Photographs that scikit-image and scikit-learn carry."""
    data = pytest.importorskip("skimage.data")
    sklearn = pytest.importorskip("sklearn.datasets")
    shipped = [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    return [*shipped, *sklearn.load_sample_images().images]


def overlapping_parts(count: int, size: int) -> list[tuple[Pixels, Pixels]]:
    """Pairs of overlapping parts of one photograph, each at the size of a model's input."""
    from PIL import Image

    random, found = np.random.default_rng(7), []
    photos = [Image.fromarray(photo) for photo in photographs()]
    for number in range(count):
        photo = photos[number % len(photos)]
        side = int(min(photo.size) * random.uniform(0.5, 0.8))
        left, top = (int(random.integers(0, length - side + 1)) for length in photo.size)
        moved = [
            int(np.clip(start + random.uniform(-0.3, 0.3) * side, 0, length - side))
            for start, length in zip((left, top), photo.size, strict=True)
        ]
        boxes = [(x, y, x + side, y + side) for x, y in ((left, top), tuple(moved))]
        one, other = (np.asarray(photo.resize((size, size), box=box)) for box in boxes)
        found.append((one, other))
    return found


def count_right(embed: Callable[[Pixels], np.ndarray], pairs: list[tuple[Pixels, Pixels]]) -> int:
    """In how many pairs hiding the hottest fifth raises the distance more than hiding a fifth at random."""
    random, right = np.random.default_rng(1), 0
    for one, other in pairs:
        target = embed(other[None])[0]
        hot = hottest(heat_of(embed, one, target), 0.2)
        views = [hide(one, hot), hide(one, random.permutation(hot.ravel()).reshape(hot.shape))]
        far = np.linalg.norm(embed(np.stack(views)) - target, axis=1)
        right += bool(far[0] > far[1])
    return right


@pytest.mark.parametrize("pairs", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_hiding_the_hottest_fifth_raises_the_distance_more_than_a_random_fifth_in_four_of_five_pairs(
    pairs: int,
) -> None:
    encoder = Encoder.load(registry.get("builtin"), device="cpu")

    def embed(batch: Pixels) -> np.ndarray:
        vectors = encoder.encode(batch).vectors
        assert vectors is not None
        return vectors

    parts = overlapping_parts(pairs, encoder.spec.preprocess.size)
    assert count_right(embed, parts) >= 0.8 * pairs
