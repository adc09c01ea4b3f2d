"""Thumbnails are stored only where a run was asked to."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from image_similarity.case import Case
from tests.conftest import draw_picture
from tests.indexing.desk import Desk, digest_of

# The same on both engines.
pytestmark = pytest.mark.usefixtures("location")


def stored(desk: Desk) -> list[str]:
    return [row[0] for row in desk.rows("SELECT sha256 FROM thumbnail JOIN image ON id = image_id")]


def test_no_thumbnail_is_stored_unless_asked_for(desk: Desk) -> None:
    desk.put("a.png", 1)
    desk.index()
    assert stored(desk) == []


def test_each_content_gets_one_small_upright_jpeg_without_metadata(desk: Desk) -> None:
    path = desk.evidence / "large.jpg"
    picture = draw_picture(3, (900, 600))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    picture.save(path, exif=exif)
    desk.settle(path)
    desk.put("a.png", 1)
    desk.put("copy.png", 1)
    desk.index(thumbnails=True)
    assert len(stored(desk)) == 2
    with Case.open(desk.database, read_only=True) as case:
        small = case.thumbnail(digest_of(path))
    assert small is not None
    shown = Image.open(io.BytesIO(small))
    assert (shown.format, shown.size) == ("JPEG", (171, 256))
    assert not shown.getexif()


def test_asked_for_later_they_are_added_to_what_is_stored(desk: Desk) -> None:
    desk.put("a.png", 1)
    first = desk.index()
    again = desk.index(thumbnails=True)
    assert len(stored(desk)) == 1
    assert (first.new, again.new, again.unchanged) == (1, 0, 1)
    desk.check()


def test_a_refresh_goes_on_until_they_are_purged(desk: Desk) -> None:
    desk.put("a.png", 1)
    desk.index(thumbnails=True)
    desk.put("b.png", 2)
    desk.refresh()
    assert len(stored(desk)) == 2
    with Case.open(desk.database) as case:
        assert case.purge_thumbnails() == 2
    desk.put("c.png", 3)
    desk.refresh()
    assert stored(desk) == []
    desk.refresh(thumbnails=True)
    assert len(stored(desk)) == 3
