"""From bytes to upright RGB frames, and what becomes of damaged and hostile files."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from image_similarity.pictures.decode import Picture, decode
from image_similarity.pictures.picture_error import PictureError

# Pytest resets the filters that the room sets for the foreign decoder.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

Array = NDArray[np.uint8]
LOSSLESS = ["PNG", "BMP", "TIFF", "PPM", "TGA", "SGI", "QOI", "PCX", "DDS", "IM"]
LOSSY = ["JPEG", "WEBP", "AVIF", "JPEG2000", "GIF"]


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """Four plain quarters of different colours: any turn or flip of it shows."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    image.paste((30, 180, 40), (width // 2, 0, width, height // 2))
    image.paste((40, 50, 200), (0, height // 2, width // 2, height))
    image.paste((220, 210, 60), (width // 2, height // 2, width, height))
    return image


def noisy(width: int = 256, height: int = 192) -> Image.Image:
    draw = np.random.default_rng(7)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, format_name, **options)
    return target.getvalue()


def pixels(image: Image.Image) -> Array:
    assert image.mode == "RGB"
    return np.asarray(image)


def full(data: bytes) -> Array:
    return pixels(decode(data, {0}).frames[0])


def difference(one: Array, other: Array) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def error_of(data: bytes, **options: Any) -> PictureError:
    with pytest.raises(PictureError) as caught:
        decode(data, {64}, **options)
    assert caught.value.stage == "decode"
    assert caught.value.message.isprintable()
    return caught.value


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def icon_with(png: bytes) -> bytes:
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + png


class TestFormats:
    @pytest.mark.parametrize("format_name", LOSSLESS)
    def test_lossless_formats_give_the_same_pixels(self, format_name: str) -> None:
        picture = decode(encoded(scene(), format_name), {0})
        assert (pixels(picture.frames[0]) == np.asarray(scene())).all()
        assert (picture.facts.width, picture.facts.height) == (96, 64)
        assert picture.facts.format == format_name
        assert picture.facts.mime.startswith("image/")
        assert not picture.facts.partial

    @pytest.mark.parametrize("format_name", LOSSY)
    def test_lossy_formats_give_nearly_the_same_pixels(self, format_name: str) -> None:
        assert difference(full(encoded(scene(), format_name)), np.asarray(scene())) < 12

    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
    def test_compressed_tiff_gives_the_same_pixels(self, compression: str) -> None:
        assert (
            full(encoded(scene(), "TIFF", compression=compression)) == np.asarray(scene())
        ).all()

    def test_an_animation_gives_its_first_frame(self) -> None:
        others = [Image.new("RGB", (96, 64), "black")]
        for format_name in ("GIF", "PNG", "WEBP", "TIFF"):
            data = encoded(scene(), format_name, save_all=True, append_images=others)
            assert difference(full(data), np.asarray(scene())) < 12

    def test_a_jpeg_with_further_pictures_behind_it_is_a_jpeg(self) -> None:
        data = encoded(noisy(512, 512), "MPO", save_all=True, append_images=[noisy(512, 512)])
        picture = decode(data, {0, 128})
        assert (picture.facts.format, picture.facts.mime) == ("JPEG", "image/jpeg")
        assert picture.frames[128].size == (128, 128)

    def test_formats_that_would_start_another_program_are_not_opened(self) -> None:
        error = error_of(encoded(scene(), "EPS"))
        assert (error.error, error.message) == (
            "UnidentifiedImageError",
            "not a picture that can be decoded",
        )


class TestOrientation:
    TURNS = (
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    )

    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
    @pytest.mark.parametrize(("orientation", "turn"), TURNS)
    def test_all_eight_orientations_give_the_same_upright_picture(
        self, format_name: str, orientation: int, turn: Image.Transpose | None
    ) -> None:
        stored = scene() if turn is None else scene().transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture = decode(encoded(stored, format_name, exif=exif), {0, 16})
        assert difference(pixels(picture.frames[0]), np.asarray(scene())) < 5
        assert (picture.facts.width, picture.facts.height) == (96, 64)
        assert picture.frames[16].width > picture.frames[16].height

    @pytest.mark.parametrize("value", [0, 9, 65535])
    def test_an_orientation_that_does_not_exist_is_ignored(self, value: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = value
        assert difference(full(encoded(scene(), "JPEG", exif=exif)), np.asarray(scene())) < 5


class TestScale:
    @pytest.mark.parametrize(
        ("side", "size"),
        [
            (0, (1000, 600)),
            (600, (1000, 600)),
            (300, (500, 300)),
            (301, (1000, 600)),
            (75, (125, 75)),
            (1, (125, 75)),
        ],
    )
    def test_a_jpeg_is_decoded_at_the_smallest_scale_that_keeps_both_sides(
        self, side: int, size: tuple[int, int]
    ) -> None:
        picture = decode(encoded(scene(1000, 600), "JPEG"), {side})
        assert picture.frames[side].size == size
        assert (picture.facts.width, picture.facts.height) == (1000, 600)

    @settings(max_examples=25, deadline=None)
    @given(
        st.integers(1, 300),
        st.integers(1, 300),
        st.integers(0, 300),
        st.sets(st.integers(0, 300), max_size=4),
        st.sampled_from(["RGB", "L", "CMYK"]),
    )
    def test_a_frame_depends_on_its_own_side_only(
        self, width: int, height: int, side: int, others: set[int], mode: str
    ) -> None:
        data = encoded(noisy(width, height).convert(mode), "JPEG")
        alone = decode(data, {side})
        together = decode(data, {side} | others)
        assert (pixels(alone.frames[side]) == pixels(together.frames[side])).all()
        assert alone.facts == together.facts

    def test_other_formats_are_decoded_in_full(self) -> None:
        assert decode(encoded(scene(), "PNG"), {8}).frames[8].size == (96, 64)

    def test_no_side_at_all_is_an_error_of_the_caller(self) -> None:
        with pytest.raises(ValueError, match="at least one side"):
            decode(encoded(scene(), "PNG"), ())


class TestDamage:
    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "TGA", "PPM"])
    def test_a_truncated_file_gives_what_decodes_and_says_so(self, format_name: str) -> None:
        data = encoded(noisy(), format_name)
        whole, picture = full(data), decode(data[: len(data) * 2 // 3], {0})
        assert picture.facts.partial
        assert (picture.facts.width, picture.facts.height) == (256, 192)
        # These two write from the bottom up.
        upper = slice(-60, None) if format_name in {"BMP", "TGA"} else slice(0, 60)
        assert difference(pixels(picture.frames[0])[upper], whole[upper]) < 1

    def test_a_truncated_jpeg_is_decoded_at_reduced_scale_too(self) -> None:
        data = encoded(noisy(), "JPEG")
        picture = decode(data[: len(data) // 2], {48})
        assert picture.facts.partial
        assert picture.frames[48].size == (64, 48)

    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
    def test_a_file_of_which_nothing_decodes_is_a_failure(self, format_name: str) -> None:
        data = encoded(noisy(), format_name)
        start = data.index(b"\xff\xda") + 14 if format_name == "JPEG" else 64
        assert error_of(data[:start]).error

    def test_a_broken_checksum_marks_the_picture_as_damaged(self) -> None:
        data = encoded(scene(), "PNG", dpi=(72, 72))
        at = data.index(b"pHYs") + 4 + 9  # the checksum behind its nine bytes
        picture = decode(data[:at] + b"\0\0\0\0" + data[at + 4 :], {0})
        assert picture.facts.partial
        assert (pixels(picture.frames[0]) == np.asarray(scene())).all()

    def test_whole_files_are_never_partial_beside_damaged_ones(self) -> None:
        """Two threads, one with whole files and one with truncated ones: neither sees the other's tolerance."""
        good = encoded(noisy(), "JPEG")
        bad = good[: len(good) // 2]
        expected = full(good)
        start = threading.Barrier(2)

        def many(data: bytes) -> list[Picture]:
            start.wait()
            return [decode(data, {0}) for _ in range(150)]

        with ThreadPoolExecutor(2) as threads:
            whole, broken = threads.submit(many, good), threads.submit(many, bad)
            assert all(
                not picture.facts.partial and (pixels(picture.frames[0]) == expected).all()
                for picture in whole.result()
            )
            assert all(picture.facts.partial for picture in broken.result())

    def test_outside_of_this_room_pillow_stays_strict(self) -> None:
        data = encoded(noisy(), "JPEG")
        assert decode(data[: len(data) // 2], {0}).facts.partial
        assert not ImageFile.LOAD_TRUNCATED_IMAGES
        with pytest.raises(OSError, match="truncated"):
            Image.open(io.BytesIO(data[: len(data) // 2])).load()

    def test_what_another_library_sets_in_pillow_changes_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        data = encoded(noisy(), "JPEG")
        assert decode(data[: len(data) // 2], {0}).facts.partial
        assert error_of(png_of_size(20_000, 20_000)).error == "TooManyPixels"


class TestLimits:
    @pytest.mark.parametrize(
        "data",
        [png_of_size(20_000, 20_000), icon_with(png_of_size(20_000, 20_000))],
        ids=["PNG", "ICO"],
    )
    def test_a_bomb_is_refused_before_it_is_decoded(self, data: bytes) -> None:
        error = error_of(data)
        assert error.error == "TooManyPixels"
        assert "400000000" in error.message
        assert "250000000" in error.message
        assert "--max-megapixels" in error.message

    @pytest.mark.parametrize("format_name", [*LOSSLESS, *LOSSY])
    def test_the_limit_holds_for_every_format_and_is_exact(self, format_name: str) -> None:
        data = encoded(scene(), format_name)
        assert error_of(data, max_pixels=96 * 64 - 1).error == "TooManyPixels"
        assert decode(data, {0}, max_pixels=96 * 64).facts.width == 96

    def test_the_limit_can_be_raised_above_pillows_own(self) -> None:
        # 1-bit pixels: decoding so many of them costs little until they become RGB.
        error = error_of(png_of_size(15_000, 15_000), max_pixels=15_000 * 15_000)
        assert error.error != "TooManyPixels"

    def test_outside_of_this_room_pillow_keeps_its_limit(self) -> None:
        with pytest.raises(Image.DecompressionBombError, match="exceeds limit of 178956970"):
            Image.open(io.BytesIO(png_of_size(20_000, 20_000)))
        Image.open(io.BytesIO(png_of_size(9_000, 9_000)))

    def test_two_threads_keep_their_own_limits(self) -> None:
        data = encoded(scene(), "PNG")
        start = threading.Barrier(2)

        def many(limit: int) -> list[str]:
            start.wait()
            found = []
            for _ in range(200):
                try:
                    found.append(decode(data, {0}, max_pixels=limit).facts.format)
                except PictureError as error:
                    found.append(error.error)
            return found

        with ThreadPoolExecutor(2) as threads:
            low, high = threads.submit(many, 100), threads.submit(many, 100_000)
            assert set(low.result()) == {"TooManyPixels"}
            assert set(high.result()) == {"PNG"}


class TestForeignErrors:
    @pytest.mark.parametrize(
        "error",
        [
            struct.error("x"),
            SyntaxError("x"),
            OverflowError("x"),
            RecursionError("x"),
            KeyError("x"),
            EOFError(),
        ],
    )
    def test_whatever_the_decoder_raises_is_a_failure(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise error

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        assert error_of(encoded(scene(), "PNG")).error == type(error).__name__

    def test_too_little_memory_is_a_failure_and_not_tried_twice(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = 0

        def fail(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            raise MemoryError

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        error = error_of(encoded(scene(), "PNG"))
        assert (error.error, error.message) == (
            "MemoryError",
            "not enough memory to decode the picture",
        )
        assert calls == 1

    def test_stopping_the_program_is_not_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(*args: Any, **kwargs: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(ImageFile.ImageFile, "load", stop)
        with pytest.raises(KeyboardInterrupt):
            decode(encoded(scene(), "PNG"), {0})

    @pytest.mark.parametrize(
        "data", [b"", b"\0" * 5000, b"GIF89a", b"\xff\xd8\xff\xe0", b"%!PS-Adobe"]
    )
    def test_what_is_no_picture_is_a_failure(self, data: bytes) -> None:
        assert error_of(data).error

    def test_nothing_reaches_standard_error(self) -> None:
        """Warnings of Pillow and the chatter of the C libraries below it name no file, so they help nobody."""
        program = """
import io, sys
from PIL import Image
from image_similarity.pictures.decode import decode
from image_similarity.pictures.picture_error import PictureError
image = Image.effect_noise((64, 64), 90).convert("RGB")
target = io.BytesIO()
image.save(target, "TIFF")
samples = b"\\x15\\x01\\x03\\x00\\x01\\x00\\x00\\x00"  # the tag that counts the samples of a pixel
try:
    decode(target.getvalue().replace(samples + b"\\x03", samples + b"\\x08"), {0})
except PictureError:
    pass
exif = Image.Exif(); exif[0x0112] = 6; exif[0x010F] = "maker"
for name in ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "AVIF", "JPEG2000", "BMP"):
    for more in ({"compression": "tiff_lzw"}, {"compression": "jpeg"}) if name == "TIFF" else ({},):
        target = io.BytesIO()
        image.save(target, name, exif=exif, **more)
        data = target.getvalue()
        for at in range(0, len(data), max(1, len(data) // 60)):
            for damaged in (data[:at], data[:at] + b"\\xff\\x00\\xff" + data[at + 3:]):
                try:
                    decode(damaged, {0, 16})
                except PictureError:
                    pass
"""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("", "")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A small valid file of any format, with bytes replaced, removed or doubled."""
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(1, 8))
        match draw(st.sampled_from(["replace", "remove", "double", "cut"])):
            case "replace":
                data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
            case "remove":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + 4 * length]
            case _:
                del data[at + 32 :]
    return bytes(data)


def samples() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    small = scene(24, 16)
    found = [
        encoded(small, name)
        for name in (*LOSSLESS, *LOSSY, "ICO", "ICNS", "SPIDER", "BLP", "MPO")
        if name not in {"SPIDER", "BLP", "ICNS"}
    ]
    found += [encoded(small, name, exif=exif) for name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")]
    found += [
        encoded(small, "TIFF", compression=name)
        for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")
    ]
    found += [encoded(small.convert("P"), name) for name in ("PNG", "GIF", "BMP", "PCX")]
    found += [encoded(small.convert("RGBA"), name) for name in ("PNG", "WEBP", "TIFF", "ICO")]
    found += [encoded(small.convert("CMYK"), name) for name in ("JPEG", "TIFF")]
    return found


SAMPLES = samples()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_mutated_files_raise_nothing_but_a_picture_error(data: bytes) -> None:
    try:
        picture = decode(data, {0, 8}, max_pixels=1_000_000)
    except PictureError as error:
        assert error.stage == "decode"
        return
    assert picture.frames[0].mode == "RGB"
    assert picture.facts.width > 0
    assert picture.facts.height > 0
