"""Small pictures keep their proportions, and show no more than they may."""

from __future__ import annotations

import numpy as np
import pytest

from image_similarity.reports.tiles import LOOKS, Tile, image


def stripes(height: int, width: int) -> Tile:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, ::2] = (255, 40, 0)
    return Tile(pixels)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    ("shape", "size"),
    [((100, 200), (80, 40)), ((1, 3000), (80, 1)), ((3000, 1), (1, 80)), ((4, 6), (6, 4))],
)
def test_a_picture_keeps_its_proportions_and_is_never_enlarged(
    shape: tuple[int, int], size: tuple[int, int], look: str
) -> None:
    assert image(stripes(*shape), 80, look).size == size  # type: ignore[arg-type]


def test_only_a_revealed_picture_has_colours() -> None:
    def colours(look: str) -> int:
        pixels = np.asarray(image(stripes(100, 100), 100, look), dtype=int)  # type: ignore[arg-type]
        return int(np.abs(pixels[..., 0] - pixels[..., 1]).max())

    assert colours("reveal") > 200
    assert colours("grey") == colours("blur") == 0


def test_a_blurred_picture_holds_no_detail() -> None:
    sharp = np.asarray(image(stripes(100, 100), 100, "grey"), dtype=float)
    blurred = np.asarray(image(stripes(100, 100), 100, "blur"), dtype=float)
    assert sharp.std() > 30
    assert blurred[:, 30:70].std() < sharp.std() / 10
    assert image(stripes(100, 100), 100).tobytes() == blurred.astype(np.uint8).tobytes()


@pytest.mark.parametrize("side", [1, 16, 200])
def test_without_a_picture_a_grey_square_says_why(side: int) -> None:
    blank = np.asarray(image(Tile(None, "not shown: the file there is another now"), side))
    assert blank.shape == (side, side, 3)
    assert (np.ptp(blank, axis=2) == 0).all(), "no colours"
    assert (blank != blank[0, 0]).any() == (side == 200), "words where there is room for them"
