"""Every colour mode becomes RGB in a defined way."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from image_similarity.pictures import colours
from image_similarity.pictures.colours import to_rgb
from image_similarity.pictures.decode import decode

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

RED, GREY = (200, 30, 30), (90, 90, 90)


def middle(image: Image.Image) -> tuple[int, ...]:
    assert image.mode == "RGB"
    found = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(found, tuple)
    return tuple(int(value) for value in found)


def close(found: tuple[int, ...], expected: tuple[int, ...], tolerance: int = 3) -> bool:
    return all(abs(one - other) <= tolerance for one, other in zip(found, expected, strict=True))


def through(image: Image.Image, format_name: str, **options: Any) -> Image.Image:
    """Written to a file and decoded."""
    target = io.BytesIO()
    image.save(target, format_name, **options)
    return decode(target.getvalue(), {0}).frames[0]


@pytest.mark.parametrize(
    ("mode", "format_name", "expected"),
    [
        ("1", "PNG", (255, 255, 255)),
        ("1", "TIFF", (255, 255, 255)),
        ("L", "PNG", GREY),
        ("L", "JPEG", GREY),
        ("LA", "PNG", GREY),
        ("P", "PNG", RED),
        ("P", "GIF", RED),
        ("RGB", "PNG", RED),
        ("RGBA", "PNG", RED),
        ("RGBA", "TIFF", RED),
        ("RGBX", "TIFF", RED),
        ("CMYK", "JPEG", RED),
        ("CMYK", "TIFF", RED),
        ("YCbCr", "JPEG", RED),
        ("YCbCr", "TIFF", RED),
    ],
)
def test_every_mode_that_pillow_writes_comes_back_as_rgb(
    mode: str, format_name: str, expected: tuple[int, int, int]
) -> None:
    colour = (255, 255, 255) if mode == "1" else expected
    image = Image.new("RGB", (32, 32), colour)
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    assert close(middle(through(image, format_name)), expected)


@pytest.mark.parametrize("mode", ["HSV", "RGBa", "La", "PA"])
def test_modes_that_files_hold_seldom_are_converted_too(mode: str) -> None:
    colour = GREY if mode == "La" else RED
    image = Image.new("RGB", (8, 8), colour)
    if mode == "PA":
        image = image.quantize(4)
    elif mode != "HSV":
        image = image.convert(mode.upper())
    image = image.convert(mode)
    assert close(middle(to_rgb(image)), colour)


def test_lab_is_converted_by_the_colour_management_library() -> None:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(Image.new("RGB", (32, 32), RED), transform)
    assert lab is not None
    assert close(middle(through(lab, "TIFF")), RED, 4)


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_become_white(format_name: str) -> None:
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    assert middle(through(image, format_name)) == (255, 255, 255)


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 200, 128))
    assert close(middle(through(image, "PNG")), (127, 127, 227), 1)


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
def test_a_transparent_palette_colour_becomes_white(format_name: str) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 30, 30])
    assert middle(through(image, format_name, transparency=1)) == (255, 255, 255)
    assert middle(through(image, format_name, transparency=0)) == RED


@pytest.mark.parametrize(("mode", "colour", "key"), [("RGB", RED, RED), ("L", 90, 90)])
def test_a_colour_declared_transparent_becomes_white(mode: str, colour: Any, key: Any) -> None:
    assert middle(through(Image.new(mode, (8, 8), colour), "PNG", transparency=key)) == (
        255,
        255,
        255,
    )


def grey(values: list[float], dtype: str) -> list[int]:
    """Grey values of a deep picture after conversion."""
    image = Image.fromarray(np.array([values], dtype=dtype))
    return [int(value) for value in np.asarray(to_rgb(image))[0, :, 0]]


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    assert grey([0, 16448, 32896, 65535], "uint16") == [0, 64, 128, 255]


def test_twelve_bit_grey_in_sixteen_is_not_black() -> None:
    assert grey([0, 2048, 4095], "uint16") == [0, 128, 255]


def test_deep_grey_that_uses_eight_bits_is_taken_as_it_is() -> None:
    assert grey([0, 7, 255], "int32") == [0, 7, 255]


def test_whole_numbers_out_of_range_are_stretched() -> None:
    assert grey([-100, 0, 100], "int32") == [0, 128, 255]
    assert grey([0, 1_000_000], "int32") == [0, 255]


def test_fractions_are_scaled_by_their_range() -> None:
    assert grey([0.0, 0.5, 1.0], "float32") == [0, 128, 255]
    assert grey([0.0, 100.0, 255.0], "float32") == [0, 100, 255]
    assert grey([-1.0, 1.0], "float32") == [0, 255]


def test_numbers_that_are_none_and_constant_pictures_do_no_harm() -> None:
    assert grey([float("nan"), float("inf"), 0.5], "float32") == [0, 0, 128]
    assert grey([-5.0, -5.0], "float32") == [0, 0]
    assert grey([0, 0], "uint16") == [0, 0]
    assert grey([-3.4e38, 3.4e38], "float32") == [0, 255]


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_deep_grey_survives_a_tiff(mode: str) -> None:
    order = ">u2" if mode.endswith("B") else "<u2"
    image = Image.fromarray(np.full((8, 8), 32896, dtype=order))
    assert middle(through(image, "TIFF")) == (128, 128, 128)


def test_deep_grey_survives_a_png() -> None:
    image = Image.fromarray(np.full((8, 8), 32896, dtype=np.uint16))
    assert middle(through(image, "PNG")) == (128, 128, 128)


def swapped_profile() -> bytes:
    """An RGB profile whose red and blue primaries are exchanged, so that applying it shows."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[at : at + 4]): at + 4 for at in range(132, 132 + 12 * data[131], 12)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red : red + 8], data[blue : blue + 8] = data[blue : blue + 8], data[red : red + 8]
    # Named otherwise, because a profile that calls itself sRGB is not applied.
    return bytes(data).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_embedded_profile_is_applied(format_name: str) -> None:
    image = Image.new("RGB", (32, 32), RED)
    assert close(middle(through(image, format_name, icc_profile=swapped_profile())), RED[::-1], 6)


def test_a_profile_is_applied_as_pillow_applies_it_also_by_threads_at_once() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    profile = swapped_profile()
    expected = ImageCms.profileToProfile(
        Image.fromarray(noise),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )

    def convert(_: int) -> bytes:
        image = Image.fromarray(noise)
        image.info["icc_profile"] = bytes(bytearray(profile))
        return to_rgb(image).tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(convert, range(40))) == {expected.tobytes()}


def test_the_pixels_of_a_plain_picture_are_not_copied() -> None:
    image = Image.new("RGB", (3, 2), RED)
    assert to_rgb(image).im is image.im


def test_transparency_and_a_profile_go_together() -> None:
    image = Image.new("RGBA", (8, 8), (*RED, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    found = through(image, "PNG", icc_profile=swapped_profile())
    assert close(middle(found), RED[::-1], 3)
    assert found.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"no profile",
        b"\0" * 128,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
    ids=["empty", "text", "zeros", "sRGB"],
)
def test_a_broken_profile_and_one_that_changes_nothing_are_ignored(profile: bytes) -> None:
    image = Image.new("RGB", (8, 8), RED)
    image.info["icc_profile"] = profile
    assert middle(to_rgb(image)) == RED


def test_a_profile_of_another_kind_of_colour_is_ignored() -> None:
    image = Image.new("L", (8, 8), 90)
    image.info["icc_profile"] = swapped_profile()
    assert middle(to_rgb(image)) == GREY


def test_the_input_is_not_changed_and_the_result_bears_no_metadata() -> None:
    image = Image.new("RGB", (8, 8), RED)
    image.info["comment"] = b"private"
    found = to_rgb(image)
    assert found is not image
    assert found.info == {}
    assert image.info == {"comment": b"private"}


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
@pytest.mark.parametrize("scale", [1.0, 300.0, -900.0])
def test_deep_grey_is_scaled_alike_whether_at_once_or_some_rows_at_a_time(
    monkeypatch: pytest.MonkeyPatch, mode: str, scale: float
) -> None:
    values = np.random.default_rng(1).random((50, 40)) * scale
    dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    image = Image.fromarray(
        np.abs(values).astype(dtype) if mode == "I;16" else values.astype(dtype)
    )
    at_once = to_rgb(image)
    monkeypatch.setattr(colours, "_PIXELS_AT_ONCE", 130)
    assert to_rgb(image).tobytes() == at_once.tobytes()
