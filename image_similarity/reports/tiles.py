"""Small pictures on a sheet or a map: revealed, in greys, or blurred; a grey tile says why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from image_similarity.reports.lettering import font, leading, wrapped

# How pictures are shown. Blurred as in the HTML report, which also takes the colours away; "grey" leaves them sharp.
Look = Literal["blur", "grey", "reveal"]
LOOKS = get_args(Look)

_BLANK, _WORDS = (216, 216, 216), (96, 96, 96)
_TEXT = 12
# As strong as in the HTML report: 14 pixels of 160.
_BLUR = 14 / 160


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A small picture: `pixels` uint8 (height, width, 3), upright RGB; or None, and `why` says why not."""

    pixels: npt.NDArray[np.uint8] | None
    why: str = ""


def image(tile: Tile, side: int, look: Look = "blur") -> Image.Image:
    """Return a tile as an RGB image of at most `side` pixels, in its own proportions; without a picture a grey square.

    A blurred image holds no more than the blur shows. A picture that is smaller is not enlarged.
    """
    if tile.pixels is None:
        return _blank(tile.why, side)
    found = Image.fromarray(tile.pixels)
    # Of the size that it is shown in, so that a blur is as strong on every tile.
    found.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    if look != "reveal":
        found = found.convert("L").convert("RGB")
    if look == "blur":
        found = found.filter(ImageFilter.GaussianBlur(max(found.size) * _BLUR))
    return found


def _blank(why: str, side: int) -> Image.Image:
    paper = Image.new("RGB", (side, side), _BLANK)
    face = font(_TEXT)
    pen, margin = ImageDraw.Draw(paper), max(2, side // 20)
    rows = (side - 2 * margin) // leading(face)
    lines = list(wrapped([why], face, side - 2 * margin))[: max(0, rows)]
    top = (side - len(lines) * leading(face)) // 2
    for number, line in enumerate(lines):
        left = (side - face.getlength(line)) / 2
        pen.text((left, top + number * leading(face)), line, fill=_WORDS, font=face)
    return paper
