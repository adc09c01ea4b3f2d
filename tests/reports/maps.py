"""Points of a map made by hand, and thumbnails that can be told apart, for what draws them."""

from __future__ import annotations

import hashlib

import numpy as np

from image_similarity.reports.map_grid import Grid, grid_of
from image_similarity.reports.map_layout import MapPoint, Position
from image_similarity.reports.tiles import Tile
from image_similarity.values import Place


def point(number: int, path: str = "", *, scene: str = "kitchen", source: str = "disk") -> MapPoint:
    """A picture on a row."""
    place = Place(source, "/evidence/disk", path or f"p{number}.jpg", "2026-01-02T03:04:05Z")
    sha256 = hashlib.sha256(f"{number}".encode()).hexdigest()
    return MapPoint(Position(float(number), float(number % 7), True), sha256, (place,), scene)


def points(count: int) -> list[MapPoint]:
    """Pictures of two scenes."""
    return [point(number, scene="kitchen" if number % 3 else "street") for number in range(count)]


def grid(of: list[MapPoint]) -> Grid:
    """Their cells."""
    return grid_of([(each.position.x, each.position.y) for each in of])


def colour(number: int) -> tuple[int, int, int]:
    """A colour that is neither in the legend nor that of another picture."""
    return (10 + 8 * (number % 20), 5, 200 - 8 * (number // 20))


def tile_of(each: MapPoint, side: int = 40) -> Tile:
    """A square of one colour, by the number in its path."""
    number = int(each.place.path[1:].partition(".")[0])
    return Tile(np.full((side, side, 3), colour(number), dtype=np.uint8))
