"""A small picture is of the content that is on record, or there is none, and it says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_similarity.case import Case
from image_similarity.pictures import held
from image_similarity.records import previews
from image_similarity.settings import IndexOptions
from image_similarity.values import ImageRecord
from tests.conftest import FolderFactory, draw_picture


@pytest.fixture
def folder(make_folder: FolderFactory) -> Path:
    return make_folder(n=2, duplicates=1, nested=False)


def opened(folder: Path, model: Path, *, thumbnails: bool = False) -> Case:
    case = Case.open(folder.parent / "case.db")
    options = IndexOptions(models=(str(model),), scenes=None, thumbnails=thumbnails)
    case.index(folder, options=options)
    return case


def record_of(case: Case, name: str) -> ImageRecord:
    (found,) = case.images_at(f"{case.sources()[0].root}/{name}")
    return found


def tile_of(case: Case, image: ImageRecord, side: int = 64) -> tuple[tuple[int, ...] | None, str]:
    paths = held.paths_of(image.places)
    tile = previews.tile([case._catalog], image.sha256, paths, side=side)
    return (None if tile.pixels is None else tile.pixels.shape), tile.why


def test_the_file_is_shown_from_the_first_place_that_still_holds_it(
    folder: Path, tiny_model: Path
) -> None:
    with opened(folder, tiny_model) as case:
        image = record_of(case, "picture-000.jpg")
        assert tile_of(case, image) == ((48, 64, 3), "")
        Path(folder / "picture-000.jpg").unlink()
        assert tile_of(case, image) == ((48, 64, 3), ""), "its copy"


def test_a_file_that_holds_something_else_is_not_shown(folder: Path, tiny_model: Path) -> None:
    with opened(folder, tiny_model) as case:
        image = record_of(case, "picture-001.png")
        draw_picture(9, (96, 72)).save(folder / "picture-001.png")
        assert tile_of(case, image) == (None, "not shown: the file there is another now")
        (folder / "picture-001.png").unlink()
        assert tile_of(case, image) == (None, "not shown: No such file or directory")
        assert tile_of(case, image)[1].isprintable()


def test_a_stored_thumbnail_is_taken_first_if_it_is_large_enough_and_last_if_not(
    folder: Path, tiny_model: Path
) -> None:
    with opened(folder, tiny_model, thumbnails=True) as case:
        image = record_of(case, "picture-001.png")
        (folder / "picture-001.png").unlink()
        assert tile_of(case, image, 64) == ((48, 64, 3), "")
        assert tile_of(case, image, 200) == ((72, 96, 3), "")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_of_colours_becomes_rgb(tmp_path: Path, mode: str, tiny_model: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    if mode == "I;16":
        grey = np.arange(96 * 72, dtype=np.uint16).reshape(72, 96) * 9
        Image.fromarray(grey).save(folder / "a.tif")
    else:
        draw_picture(3, (96, 72)).convert(mode).save(folder / "a.tif")
    with opened(folder, tiny_model) as case:
        assert tile_of(case, record_of(case, "a.tif")) == ((48, 64, 3), "")
