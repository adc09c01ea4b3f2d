"""The picture that shows an explanation: both pictures side by side, what connects them, and the figures below."""

from __future__ import annotations

import colorsys
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from image_similarity import __version__
from image_similarity.explain.pair import Pair, Pixels
from image_similarity.explain.words import lines, side_lines
from image_similarity.reports.lettering import fitting, font, leading, wrapped
from image_similarity.values import ExplainedPicture, Explanation, Preprocess
from image_similarity.whole_file import writing

# Stands in the first bytes of each file, so that one may replace another, and nothing else.
MARK = "image_similarity explanation"

_BOX = (620, 440)
_MARGIN = 20
_TEXT, _SMALL = 15, 13
_INK, _PALE, _PAPER = (24, 24, 24), (96, 96, 96), (255, 255, 255)
# Lines for more points hide the pictures below them.
_MOST_LINES = 60
# Heat is laid over the picture with at most this much of its colour.
_MOST_COLOUR = 0.65
# Below this the words say +0.000: of a plain picture it is how a network rounds, and would be drawn in full red.
_LEAST_HEAT = 0.0005
_HOT = np.array([255.0, 32.0, 0.0])


def write(pair: Pair, path: Path) -> None:
    """Write the picture of an explanation as PNG, readable by its owner only, whole or not at all.

    Raises:
        OSError: It cannot be written; the error names the file.
    """
    info = PngInfo()
    info.add_text("Software", f"{MARK}, version {__version__}")
    with writing(path) as file:
        os.fchmod(file.fileno(), 0o600)
        draw(pair).save(file, "PNG", pnginfo=info)


def draw(pair: Pair) -> Image.Image:
    """Return the picture of an explanation."""
    found = pair.explanation
    shown = [
        _shown(found.query, pair.query, found.model.preprocess),
        _shown(found.hit, pair.hit, found.model.preprocess),
    ]
    width = 2 * _BOX[0] + 3 * _MARGIN
    text, small = font(_TEXT), font(_SMALL)
    below = [*wrapped(lines(found), text, width - 2 * _MARGIN)]
    sides = [side_lines("query", found.query), side_lines("hit", found.hit)]
    top = 2 * _MARGIN + leading(text)
    tallest = max(image.height for image in shown)
    under = top + tallest + _MARGIN // 2
    start = under + len(sides[0]) * leading(small) + _MARGIN
    paper = Image.new("RGB", (width, start + len(below) * leading(text) + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(paper)
    pen.text((_MARGIN, _MARGIN), _title(found), fill=_INK, font=font(_TEXT + 3))
    corners = []
    for number, (image, said) in enumerate(zip(shown, sides, strict=True)):
        left = _MARGIN + number * (_BOX[0] + _MARGIN)
        corner = (left + (_BOX[0] - image.width) // 2, top + (tallest - image.height) // 2)
        corners.append(corner)
        paper.paste(image, corner)
        for row, line in enumerate(said):
            place = (left, under + row * leading(small))
            pen.text(place, fitting(line, small, _BOX[0]), fill=_PALE, font=small)
    _connect(pen, found, shown, corners)
    for row, line in enumerate(below):
        pen.text((_MARGIN, start + row * leading(text)), line, fill=_INK, font=text)
    return paper


def seen(width: int, height: int, preprocess: Preprocess) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom, in pixels, of the part of a picture that a model looks at."""
    if preprocess.fit != "crop":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) * preprocess.size / (preprocess.resize or preprocess.size)
    across, down = min(side, width), min(side, height)
    left, top = (width - across) / 2, (height - down) / 2
    return left, top, left + across, top + down


def _shown(picture: ExplainedPicture, pixels: Pixels, preprocess: Preprocess) -> Image.Image:
    """A picture at the size of its half of the sheet, with its heat laid over it."""
    image = Image.fromarray(pixels)
    scale = min(_BOX[0] / image.width, _BOX[1] / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    heat = np.maximum(np.array(picture.heat, dtype=np.float64), 0.0)
    if not heat.size or heat.max() < _LEAST_HEAT:
        return image
    box = tuple(round(each) for each in seen(*size, preprocess))
    cells = Image.fromarray((heat / heat.max() * 255).astype(np.uint8))
    spread = cells.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR)
    strength = np.zeros((size[1], size[0]))
    strength[box[1] : box[3], box[0] : box[2]] = np.asarray(spread) / 255 * _MOST_COLOUR
    # Below the colour the picture is grey, so that a red sofa does not look hot.
    grey = np.asarray(image.convert("L").convert("RGB"), dtype=np.float64)
    mixed = grey * (1 - strength[..., None]) + _HOT * strength[..., None]
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def _connect(
    pen: ImageDraw.ImageDraw,
    found: Explanation,
    shown: list[Image.Image],
    corners: list[tuple[int, int]],
) -> None:
    """Draw lines between matched points."""
    for number, (x, y, x_hit, y_hit) in enumerate(_drawn(found)):
        here, there = (
            (corner[0] + across * (image.width - 1), corner[1] + down * (image.height - 1))
            for corner, image, across, down in (
                (corners[0], shown[0], x, y),
                (corners[1], shown[1], x_hit, y_hit),
            )
        )
        colour = _colour(number)
        pen.line([here, there], fill=colour, width=1)
        for place in (here, there):
            pen.ellipse([place[0] - 3, place[1] - 3, place[0] + 3, place[1] + 3], outline=colour)


def _drawn(found: Explanation) -> list[tuple[float, float, float, float]]:
    """The points that are drawn, evenly chosen where there are many."""
    step = max(1, -(-len(found.points) // _MOST_LINES))
    return sorted(found.points)[::step]


def _colour(number: int) -> tuple[int, int, int]:
    """One of many colours, next to each other unlike."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.381966 % 1.0, 0.85, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def _title(found: Explanation) -> str:
    # Any two can be compared: that they are alike is not for the title to say.
    title, drawn = f"Two pictures compared: {found.method}", len(_drawn(found))
    # Fewer lines than are counted below, so that nobody counts them.
    return title if drawn == len(found.points) else f"{title}, {drawn} of {len(found.points)} drawn"
