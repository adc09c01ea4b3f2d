"""What is decoded in this process and what in another: by the structure of the file alone."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.pictures import ordinary
from tests.conftest import draw_picture


def saved(**settings: Any) -> bytes:
    target = io.BytesIO()
    draw_picture(1, (96, 72)).save(target, **settings)
    return target.getvalue()


JPEG, PNG = saved(format="JPEG"), saved(format="PNG")


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def jpeg_with(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def png_with(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]


@pytest.mark.parametrize(
    "data",
    [
        JPEG,
        PNG,
        saved(format="JPEG", progressive=True, quality=95),
        saved(format="JPEG", optimize=True, comment=b"a comment"),
        saved(format="PNG", optimize=True),
        jpeg_with(segment(0xE1, b"Exif\0\0" + bytes(9000)), segment(0xED, bytes(500))),
        png_with(chunk(b"tEXt", b"a\0b"), chunk(b"eXIf", bytes(99))),
    ],
)
def test_photographs_as_cameras_and_programs_write_them_are_ordinary(data: bytes) -> None:
    assert ordinary.look(data).plain


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("no picture", b""),
        ("another format", saved(format="GIF")),
        ("another format", saved(format="TIFF")),
        ("EXIF in a hundred pieces, which Pillow joins one by one",
         jpeg_with(*[segment(0xE1, b"Exif\0\0" + bytes(4000))] * 100)),
        ("a thousand segments", jpeg_with(*[segment(0xE0, b"xx")] * 1000)),
        ("a hundred scans", saved(format="JPEG", progressive=True) + b"\xff\xda" * 100),
        ("bytes between the segments", JPEG[:2] + b"\x00" + JPEG[2:]),
        ("it ends before any scan", JPEG[:100]),
        ("two frames", jpeg_with(segment(0xC0, bytes(15)))),
        ("arithmetic coding", jpeg_with(segment(0xC9, bytes(15)))),
        ("animation", png_with(chunk(b"acTL", bytes(8)))),
        ("large EXIF", png_with(chunk(b"eXIf", bytes(100_000)))),
        ("many compressed texts", png_with(*[chunk(b"zTXt", b"a\0\0x")] * 40)),
        ("two profiles", png_with(chunk(b"iCCP", b"a\0\0x"), chunk(b"iCCP", b"b\0\0x"))),
        ("many chunks", png_with(*[chunk(b"prVt")] * 300)),
        ("many pieces of nothing", PNG[:33] + chunk(b"IDAT") * 30_000 + PNG[33:]),
    ],
)  # fmt: skip
def test_what_may_take_long_or_much_is_not_ordinary(why: str, data: bytes) -> None:
    assert not ordinary.look(data).plain, why


def test_a_large_file_is_not_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinary, "_LARGEST", len(JPEG) - 1)
    assert not ordinary.look(JPEG).plain


def test_pictures_of_one_profile_have_one_digest_and_those_of_another_another() -> None:
    icc = [segment(0xE2, b"ICC_PROFILE\0\1\1" + fill) for fill in (b"one", b"two")]
    one, two = (ordinary.look(jpeg_with(each)).profile for each in icc)
    assert one
    assert two
    assert one != two
    assert ordinary.look(jpeg_with(segment(0xFE, b"comment"), icc[0])).profile == one
    assert ordinary.look(JPEG).profile == b""
    assert ordinary.look(png_with(chunk(b"iCCP", b"a\0\0x"))).profile


@given(st.binary(max_size=300), st.sampled_from([b"", JPEG[:20], PNG[:16], JPEG, PNG]))
def test_any_bytes_get_an_answer(tail: bytes, head: bytes) -> None:
    assert ordinary.look(head + tail).plain in (True, False)


@given(st.data())
def test_any_change_of_a_picture_gets_an_answer(data: st.DataObject) -> None:
    picture = bytearray(data.draw(st.sampled_from([JPEG, PNG])))
    for _ in range(data.draw(st.integers(1, 8))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    assert ordinary.look(bytes(picture)).plain in (True, False)
