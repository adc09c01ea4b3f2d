"""Contact sheets are drawn with one picture in memory at a time, and written whole or not at all."""

from __future__ import annotations

import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_similarity.reports.contact_sheet import MARK, draw, write_pdf, write_png
from image_similarity.reports.sheet_layout import Form, Frame, Line, Page
from image_similarity.reports.tiles import Tile

PAGE = Page(
    300,
    200,
    (Line(10, 160, 13, "drawn ... short", "drawn, but in full: 日本 \u202e"),),
    (Frame(10, 10, 100, 0, "query"), Frame(150, 10, 100, 1)),
    (140,),
)


def red(_: int) -> Tile:
    return Tile(np.full((50, 100, 3), (220, 30, 30), dtype=np.uint8))


def test_each_picture_stands_in_the_middle_of_its_frame() -> None:
    pixels = np.asarray(draw(PAGE, Form(look="reveal"), red)).astype(int)
    rows, columns = np.nonzero(pixels[..., 0] - pixels[..., 1] > 100)
    assert (rows.min(), rows.max()) == (35, 84)
    assert (columns.min(), columns.max()) == (10, 249)
    assert tuple(pixels[8, 60]) == (0, 84, 166), "the border of the query"
    assert (pixels[:, 120:145] == 255).all(axis=2)[:130].all()


def test_blurred_is_the_default_and_shows_no_colour() -> None:
    pixels = np.asarray(draw(PAGE, Form(), red)).astype(int)
    inside = pixels[40:80, 20:100]
    assert np.ptp(inside, axis=2).max() == 0


def test_of_the_small_pictures_one_is_in_memory_at_a_time() -> None:
    given: list[weakref.ref[Tile]] = []
    alive = []

    class Watched(Tile):
        __slots__ = ("__weakref__",)

    def tile_of(picture: int) -> Tile:
        alive.append(sum(each() is not None for each in given))
        tile = Watched(np.zeros((50, 50, 3), dtype=np.uint8))
        given.append(weakref.ref(tile))
        return tile

    frames = tuple(Frame(0, 0, 50, number) for number in range(20))
    draw(Page(100, 100, (), frames, ()), Form(), tile_of)
    assert len(given) == 20
    assert max(alive) == 0


def test_of_the_pages_one_is_in_memory_at_a_time(tmp_path: Path) -> None:
    given: list[weakref.ref[Image.Image]] = []

    def pages() -> Iterator[tuple[Page, Image.Image]]:
        for _ in range(50):
            # The one that was just written is still named by the loop that wrote it.
            assert sum(each() is not None for each in given) <= 1
            image = draw(PAGE, Form(), red)
            given.append(weakref.ref(image))
            yield PAGE, image
            del image

    write_pdf(tmp_path / "sheet.pdf", pages())
    assert len(given) == 50


def test_a_png_carries_all_of_its_text(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    write_png(path, PAGE, draw(PAGE, Form(), red))
    with Image.open(path) as image:
        assert image.info["Description"] == "drawn, but in full: 日本 \\u202e"
        assert image.info["Software"].startswith(MARK)
    assert MARK.encode() in path.read_bytes()[:4096]


@pytest.mark.parametrize("name", ["sheet.png", "sheet.pdf"])
def test_the_same_page_is_the_same_file_its_owners_alone_and_touches_no_other(
    tmp_path: Path, name: str
) -> None:
    def write(path: Path) -> bytes:
        image = draw(PAGE, Form(), red)
        if name.endswith("png"):
            write_png(path, PAGE, image)
        else:
            write_pdf(path, iter([(PAGE, image)]))
        assert mine.read_text() == "mine"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return path.read_bytes()

    mine = tmp_path / f"{name}.partial"
    mine.write_text("mine")
    assert write(tmp_path / name) == write(tmp_path / f"again-{name}")


def test_of_a_pdf_that_fails_nothing_is_left(tmp_path: Path) -> None:
    def pages() -> Iterator[tuple[Page, Image.Image]]:
        yield PAGE, draw(PAGE, Form(), red)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pdf(tmp_path / "sheet.pdf", pages())
    assert not list(tmp_path.iterdir())
