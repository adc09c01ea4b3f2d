"""A map as one PNG: every picture as a thumbnail in a cell of its own, framed in the colour of its scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from image_similarity import __version__
from image_similarity.reports import map_grid, map_scenes, target
from image_similarity.reports.lettering import font, leading, readable, wrapped
from image_similarity.reports.map_grid import Grid
from image_similarity.reports.map_layout import MapPoint
from image_similarity.reports.text import count
from image_similarity.reports.tiles import Look, Tile, image

# Stands in the first bytes of each file, so that one may replace another, and nothing else.
MARK = "image_similarity map picture"
# 3 bytes each: 300 MB while it is drawn.
MOST_PIXELS = 100_000_000
TILE = 64
# In pixels: the frame in the colour of the scene, and the gap to the next cell.
FRAME, GAP = 2, 1
_MARGIN = 16
# Text grows with the map, so that it can be read on one that is reduced to a screen.
_SMALLEST, _LARGEST = 14, 48
_WIDTHS_A_LETTER = 120
_LEGEND_WIDTH = 640
_INK, _PAPER = (24, 24, 24), (255, 255, 255)

Tiles = Callable[[MapPoint], Tile]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn: its size in pixels, and how many of the pictures could not be shown and are grey."""

    width: int
    height: int
    unseen: int


def pitch(tile: int) -> int:
    """Return how far apart cells stand, in pixels, whose thumbnails are at most `tile` pixels long."""
    return tile + 2 * (FRAME + GAP)


def largest_tile(pictures: int) -> int:
    """Return the longest side of thumbnails at which a map of so many pictures is not larger than is allowed."""
    side = math.isqrt(MOST_PIXELS // map_grid.cells_for(pictures)) - pitch(0)
    return max(0, side)


def write(
    path: Path,
    points: Sequence[MapPoint],
    grid: Grid,
    tiles: Tiles,
    *,
    tile: int,
    look: Look,
    said: Sequence[str],
) -> Drawn:
    """Draw a map and write it, readable by its owner only, whole or not at all.

    Args:
        path: The file.
        points: The pictures.
        grid: Their cells, in the same order.
        tiles: Gives the thumbnail of a picture; asked once for each, in order, and none is kept.
        tile: The longest side of a thumbnail in pixels.
        look: How they are shown.
        said: Lines that stand below the map.

    Raises:
        OSError: It cannot be written; the error names the file.
    """
    info = PngInfo()
    info.add_text("Software", f"{MARK}, version {__version__}")
    paper, unseen = draw(points, grid, tiles, tile=tile, look=look, said=said)
    with target.writing_bytes(path) as file:
        paper.save(file, "PNG", pnginfo=info)
    return Drawn(paper.width, paper.height, unseen)


def draw(
    points: Sequence[MapPoint],
    grid: Grid,
    tiles: Tiles,
    *,
    tile: int,
    look: Look,
    said: Sequence[str],
) -> tuple[Image.Image, int]:
    """Return a map as an RGB image, and how many of its pictures could not be shown; see `write`."""
    step = pitch(tile)
    scenes = map_scenes.scenes_of(points)
    width = max(grid.columns * step, _LEGEND_WIDTH) + 2 * _MARGIN
    face = font(min(_LARGEST, max(_SMALLEST, width // _WIDTHS_A_LETTER)))
    legend = list(_legend(scenes, face, width - 2 * _MARGIN))
    # The last line says how many could not be shown, which is known at the end.
    text = list(wrapped(said, face, width - 2 * _MARGIN))
    rows = len({row for row, _, _ in legend}) + len(text) + 1
    top = grid.rows * step + 2 * _MARGIN
    paper = Image.new("RGB", (width, top + rows * leading(face) + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(paper)
    colours = {each.name: each.colour for each in scenes}
    unseen = 0
    for point, (column, row) in zip(points, grid.cells.tolist(), strict=True):
        found = tiles(point)
        unseen += found.pixels is None
        shown = image(found, tile, look)
        left = _MARGIN + column * step + (step - shown.width) // 2
        upper = _MARGIN + row * step + (step - shown.height) // 2
        pen.rectangle(
            (
                left - FRAME,
                upper - FRAME,
                left + shown.width + FRAME - 1,
                upper + shown.height + FRAME - 1,
            ),
            fill=colours[map_scenes.name_of(point)],
        )
        paper.paste(shown, (left, upper))
    text.append(
        f"{count(unseen, 'picture')} could not be shown and stand grey."
        if unseen
        else f"Every one of the {count(len(points), 'picture')} is shown once."
    )
    _write_below(pen, face, legend, text, top)
    return paper, unseen


def _legend(
    scenes: Sequence[map_scenes.SceneShown], face: ImageFont.FreeTypeFont, width: int
) -> Iterator[tuple[int, int, map_scenes.SceneShown]]:
    """Give row and left edge of each entry: the coloured scenes, and the others together."""
    shown = [each for each in scenes if each.colour != map_scenes.OTHER]
    others = [each for each in scenes if each.colour == map_scenes.OTHER]
    if len(others) > 1:
        total = sum(each.pictures for each in others)
        others = [map_scenes.SceneShown(f"{len(others)} others", total, map_scenes.OTHER)]
    row, left = 0, 0
    for each in [*shown, *others]:
        wide = round(face.getlength(_entry(each)) + 3 * face.size)
        if left and left + wide > width:
            row, left = row + 1, 0
        yield row, left, each
        left += wide


def _entry(scene: map_scenes.SceneShown) -> str:
    return readable(f"{scene.name} {scene.pictures}")


def _write_below(
    pen: ImageDraw.ImageDraw,
    face: ImageFont.FreeTypeFont,
    legend: Sequence[tuple[int, int, map_scenes.SceneShown]],
    text: Sequence[str],
    top: int,
) -> None:
    step, side = leading(face), round(face.size)
    for row, left, scene in legend:
        x, y = _MARGIN + left, top + row * step
        pen.rectangle((x, y + side // 5, x + side - side // 5, y + side), fill=scene.colour)
        pen.text((x + side + side // 7, y), _entry(scene), fill=_INK, font=face)
    under = top + len({row for row, _, _ in legend}) * step
    for number, line in enumerate(text):
        pen.text((_MARGIN, under + number * step), line, fill=_INK, font=face)
