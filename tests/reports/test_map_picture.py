"""A map as one PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_similarity.reports import map_picture
from image_similarity.reports.map_layout import MapPoint
from image_similarity.reports.tiles import Tile
from tests.reports import maps

SAID = ("Map: 50 pictures of case.db.", "How to read it.")


def written(
    path: Path, points: list[MapPoint], tiles: map_picture.Tiles
) -> tuple[Image.Image, int]:
    drawn = map_picture.write(
        path, points, maps.grid(points), tiles, tile=24, look="reveal", said=SAID
    )
    with Image.open(path) as image:
        assert image.size == (drawn.width, drawn.height)
        return image.convert("RGB"), drawn.unseen


def test_every_picture_is_drawn_once_and_whole_and_covers_no_other(tmp_path: Path) -> None:
    image, unseen = written(tmp_path / "map.png", maps.points(50), maps.tile_of)
    pixels = np.asarray(image).reshape(-1, 3)
    for number in range(50):
        drawn = (pixels == maps.colour(number)).all(axis=1).sum()
        assert drawn == 24 * 24, f"picture {number}"
    assert unseen == 0


def test_a_frame_has_the_colour_of_the_scene(tmp_path: Path) -> None:
    image, _ = written(tmp_path / "map.png", maps.points(9), maps.tile_of)
    pixels = np.asarray(image).reshape(-1, 3)
    frame = (24 + 2 * map_picture.FRAME) ** 2 - 24**2
    for colour, pictures in (((0x44, 0x77, 0xAA), 6), ((0xEE, 0x66, 0x77), 3)):
        drawn = (pixels == colour).all(axis=1).sum()
        swatch = drawn - pictures * frame
        assert 0 < swatch < 400, "frames, and a small square in the legend"


def test_pictures_that_cannot_be_shown_are_grey_and_counted(tmp_path: Path) -> None:
    def tiles(point: MapPoint) -> Tile:
        return (
            Tile(None, "gone") if point.place.path in ("p3.jpg", "p4.jpg") else maps.tile_of(point)
        )

    image, unseen = written(tmp_path / "map.png", maps.points(9), tiles)
    pixels = np.asarray(image).reshape(-1, 3)
    assert unseen == 2
    assert not (pixels == maps.colour(3)).all(axis=1).any()
    assert (pixels == maps.colour(5)).all(axis=1).sum() == 24 * 24


def test_blurred_pictures_have_no_colour_left(tmp_path: Path) -> None:
    points = maps.points(9)
    map_picture.write(
        tmp_path / "map.png", points, maps.grid(points), maps.tile_of, tile=24, look="blur", said=()
    )
    with Image.open(tmp_path / "map.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert not any((pixels == maps.colour(number)).all(axis=1).any() for number in range(9))


def test_the_file_is_known_as_a_map_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    mine = tmp_path / "map.png.partial"
    mine.write_text("mine")
    written(tmp_path / "map.png", maps.points(3), maps.tile_of)
    assert mine.read_text() == "mine"
    assert map_picture.MARK.encode() in (tmp_path / "map.png").read_bytes()[:4096]
    assert (tmp_path / "map.png").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["\x1b[31m\u202egpj.exe", "\u0430\udcff" * 400, "x" * 4000])
def test_any_scene_and_any_line_can_be_written(text: str, tmp_path: Path) -> None:
    points = [maps.point(number, scene=f"{text}{number}") for number in range(4)]
    map_picture.write(
        tmp_path / "m.png",
        points,
        maps.grid(points),
        maps.tile_of,
        tile=24,
        look="blur",
        said=[text],
    )


@pytest.mark.parametrize("pictures", [1, 100, 5_000, 100_000])
def test_a_map_is_never_larger_than_allowed(pictures: int) -> None:
    points = np.random.default_rng(0).standard_normal((min(pictures, 5_000), 2))
    grid = map_picture.map_grid.grid_of(points)
    tile = map_picture.largest_tile(len(points))
    assert grid.columns * grid.rows * map_picture.pitch(tile) ** 2 <= map_picture.MOST_PIXELS
    assert map_picture.largest_tile(5_000) >= map_picture.TILE
