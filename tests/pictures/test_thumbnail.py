"""Thumbnails for reports."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.thumbnail import thumbnail


def photo() -> bytes:
    """A tall red and blue photograph, stored lying, with everything that should not travel on."""
    image = Image.new("RGB", (600, 300), "red")
    image.paste("blue", (0, 0, 300, 300))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker"
    target = io.BytesIO()
    image.save(target, "JPEG", exif=exif, comment=b"private", xmp=b"<x/>", icc_profile=b"p" * 200)
    return target.getvalue()


def test_a_thumbnail_is_an_upright_jpeg_of_the_given_side() -> None:
    found = Image.open(io.BytesIO(thumbnail(photo())))
    assert (found.format, found.mode, found.size) == ("JPEG", "RGB", (80, 160))
    top, bottom = found.getpixel((40, 20)), found.getpixel((40, 140))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[2] > 200 > top[0]
    assert bottom[0] > 200 > bottom[2]


def test_a_thumbnail_bears_no_metadata() -> None:
    data = thumbnail(photo())
    found = Image.open(io.BytesIO(data))
    assert not found.getexif()
    assert set(found.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert b"private" not in data


def test_a_small_picture_is_not_enlarged() -> None:
    target = io.BytesIO()
    Image.new("RGBA", (20, 10), (0, 0, 0, 0)).save(target, "PNG")
    found = Image.open(io.BytesIO(thumbnail(target.getvalue())))
    assert found.size == (20, 10)
    assert found.getpixel((5, 5)) == (255, 255, 255)


def test_what_cannot_be_decoded_is_a_picture_error() -> None:
    with pytest.raises(PictureError):
        thumbnail(b"nothing")
