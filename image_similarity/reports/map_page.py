"""A map as one HTML file to move about in: it holds everything it shows, and reaches nothing outside."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from PIL import Image

from image_similarity import __version__
from image_similarity.reports import map_scenes, page
from image_similarity.reports.about import CAUTION, About, parts
from image_similarity.reports.map_grid import Grid
from image_similarity.reports.map_layout import MapPoint
from image_similarity.reports.map_picture import Tiles
from image_similarity.reports.text import cell, visible

# By this a file is known as such a page; see `target`.
MARK = "image_similarity map page"
TILE = 96
# Pixels of all thumbnails together: a browser takes 4 bytes for each.
MOST_PIXELS = 100_000_000
# Thumbnails stand side by side on sheets of at most this side in pixels, which every browser can draw from.
_SHEET = 2048
_QUALITY = 80


def largest_tile(pictures: int) -> int:
    """Return the longest side of thumbnails at which those of so many pictures are not more than is allowed."""
    return min(_SHEET, math.isqrt(MOST_PIXELS // max(1, pictures)))


def write(
    stream: TextIO,
    points: Sequence[MapPoint],
    grid: Grid,
    tiles: Tiles,
    about: About,
    *,
    tile: int,
    reveal: bool,
) -> int:
    """Write the page, and return how many of its pictures could not be shown.

    Args:
        stream: Where to.
        points: The pictures.
        grid: Their cells, in the same order.
        tiles: Gives the thumbnail of a picture; asked once for each, in order; a sheet of them is kept at a time.
        about: What the page says beside them.
        tile: The longest side of a thumbnail in pixels.
        reveal: Whether pictures are shown at once, not blurred and grey until a button is pressed.
    """
    sheets = _Sheets(points, tiles, tile)
    style, script = page.part("map.css"), page.part("map.js")
    pieces = page.template("map.html").generate(
        about=about,
        parts=parts(about),
        caution=CAUTION,
        count=len(points),
        generator=MARK,
        version=__version__,
        style=style,
        style_hash=_digest(style),
        script=script,
        script_hash=_digest(script),
        sheets=iter(sheets),
        # Asked for behind the sheets, when it is known which pictures could be shown.
        data=lambda: _script_json(_data(points, grid, sheets, reveal)),
    )
    stream.writelines(pieces)
    return len(sheets.why)


@dataclass(slots=True)
class _Sheets:
    """The thumbnails, side by side on sheets: data URIs, made one at a time."""

    points: Sequence[MapPoint]
    tiles: Tiles
    tile: int
    sizes: list[int]
    why: dict[int, str]

    def __init__(self, points: Sequence[MapPoint], tiles: Tiles, tile: int) -> None:
        self.points, self.tiles, self.tile = points, tiles, tile
        self.sizes, self.why = [], {}

    @property
    def across(self) -> int:
        """How many stand in a row of a sheet, and how many rows it has at most."""
        return max(1, _SHEET // self.tile)

    def __iter__(self) -> Iterator[str]:
        at_once = self.across**2
        for start in range(0, len(self.points), at_once):
            yield self._sheet(start, self.points[start : start + at_once])

    def _sheet(self, start: int, points: Sequence[MapPoint]) -> str:
        across = min(len(points), self.across)
        rows = math.ceil(len(points) / across)
        paper = Image.new("RGB", (across * self.tile, rows * self.tile))
        for number, point in enumerate(points):
            found = self.tiles(point)
            if found.pixels is None:
                self.sizes += [0, 0]
                self.why[start + number] = visible(found.why)
                continue
            shown = Image.fromarray(found.pixels)
            shown.thumbnail((self.tile, self.tile), Image.Resampling.BICUBIC, reducing_gap=None)
            row, column = divmod(number, self.across)
            paper.paste(shown, (column * self.tile, row * self.tile))
            self.sizes += shown.size
        target = io.BytesIO()
        paper.save(target, "JPEG", quality=_QUALITY)
        return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode("ascii")


def _data(points: Sequence[MapPoint], grid: Grid, sheets: _Sheets, reveal: bool) -> dict[str, Any]:
    """What the script reads; the lists have one entry for each picture, `cells` and `sizes` two."""
    scenes = map_scenes.scenes_of(points)
    sources = list(dict.fromkeys((point.place.source, point.place.root) for point in points))
    source_of = {each: number for number, each in enumerate(sources)}
    scene_of = {each.name: number for number, each in enumerate(scenes)}
    return {
        "tile": sheets.tile,
        "across": sheets.across,
        "columns": grid.columns,
        "rows": grid.rows,
        "reveal": reveal,
        "scenes": [[visible(each.name), each.pictures, each.colour] for each in scenes],
        # For the file of a selection, for the eye, and exact: what paths begin with there.
        "sources": [[cell(name), visible(name), root] for name, root in sources],
        "cells": grid.cells.ravel().tolist(),
        "sizes": sheets.sizes,
        "hashes": [point.sha256 for point in points],
        "paths": [point.place.path for point in points],
        "source": [source_of[point.place.source, point.place.root] for point in points],
        "scene": [scene_of[map_scenes.name_of(point)] for point in points],
        "places": [len(point.places) for point in points],
        "why": {str(number): text for number, text in sheets.why.items()},
        # How a path is shown where it is not what it looks like.
        "shown": {
            str(number): visible(point.place.path)
            for number, point in enumerate(points)
            if visible(point.place.path) != point.place.path
        },
        "unmapped": [number for number, point in enumerate(points) if not point.position.mapped],
    }


def _script_json(value: object) -> str:
    """JSON that ends no script and begins no comment, whatever names are in it; ASCII alone."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
