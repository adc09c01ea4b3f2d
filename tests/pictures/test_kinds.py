"""What a file is taken for."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image_similarity.pictures.kinds import HEAD_BYTES, Kind, sniff

FORMATS = [
    "JPEG",
    "PNG",
    "GIF",
    "BMP",
    "TIFF",
    "WEBP",
    "JPEG2000",
    "ICO",
    "PPM",
    "DDS",
    "QOI",
    "AVIF",
    "SGI",
]


def encoded(format_name: str) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (32, 32), (10, 120, 200)).save(target, format_name)
    return target.getvalue()


def ftyp(*brands: bytes) -> bytes:
    body = b"ftyp" + brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
    return (len(body) + 4).to_bytes(4, "big") + body + b"\0" * 64


def zipped(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return target.getvalue()


def tarred() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    return target.getvalue()


@pytest.mark.parametrize("name", ["picture", "holiday.txt", "report.PDF", "Thumbs.db", "._x"])
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_picture_is_found_by_its_content_whatever_its_name(format_name: str, name: str) -> None:
    assert sniff(encoded(format_name)[:HEAD_BYTES], name).kind == "picture"


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (ftyp(b"heic", b"mif1"), "image/heic"),
        (ftyp(b"mif1", b"heic"), "image/heif"),
        (ftyp(b"avif", b"mif1"), "image/avif"),
        (ftyp(b"isom", b"avif"), "image/avif"),
        (ftyp(b"crx ", b"isom"), "image/x-canon-cr3"),
        (b"8BPS\0\1" + bytes(40), "image/vnd.adobe.photoshop"),
        (b"FUJIFILMCCD-RAW 0201", "image/x-raw"),
        (b"II*\0" + bytes(40), "image/tiff"),
    ],
)
def test_pictures_that_pillow_cannot_write_or_read_are_pictures(head: bytes, mime: str) -> None:
    found = sniff(head, "file")
    assert (found.kind, found.mime) == ("picture", mime)


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (ftyp(b"isom", b"mp42"), "a.mp4", "video"),
        (ftyp(b"qt  "), "a.mov", "video"),
        (ftyp(b"qt  "), "a.jpg", "video"),
        (ftyp(b"M4A ", b"isom"), "a.m4a", "audio"),
        (b"RIFF\0\0\0\0AVI LIST", "a.avi", "video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "a.wav", "audio"),
        (b"\x1a\x45\xdf\xa3" + bytes(20), "a.mkv", "video"),
        (b"\0\0\1\xba" + bytes(20), "a.mpg", "video"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a.wmv", "video"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a.wma", "audio"),
        (b"FLV\1", "a.flv", "video"),
        (b"OggS\0", "a.ogv", "video"),
        (b"ID3\3", "a.mp3", "audio"),
        (zipped("a.jpg"), "a.zip", "archive"),
        (zipped("a.jpg"), "a.docx", "document"),
        (zipped("[Content_Types].xml", "word/document.xml"), "renamed.bin", "document"),
        (b"Rar!\x1a\x07\0", "a.rar", "archive"),
        (b"7z\xbc\xaf\x27\x1c", "a.7z", "archive"),
        (b"\x1f\x8b\x08\0", "a.gz", "archive"),
        (b"\xfd7zXZ\0", "a.xz", "archive"),
        (b"BZh9", "a.bz2", "archive"),
        (tarred(), "a.tar", "archive"),
        (b"%PDF-1.7", "a.jpg", "document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.doc", "document"),
        (b"{\\rtf1", "a.rtf", "document"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE HTML>", "a.htm", "document"),
        (b'<?xml version="1.0"?><svg xmlns="">', "a.svg", "document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "a.eps", "document"),
        (b"plain words\n", "a.txt", "document"),
        ("grüße ".encode() * 800, "notes", "document"),
        (b"SQLite format 3\0", "a.db", "other"),
        (b"\x93\x12\x00\x44", "a.bin", "other"),
        (b"", "a.bin", "empty"),
    ],
)
def test_files_that_are_no_pictures_are_told_apart(head: bytes, name: str, kind: str) -> None:
    assert sniff(head[:HEAD_BYTES], name).kind == kind


@pytest.mark.parametrize(
    "name", ["a.jpg", "A.JPEG", "b.HEIC", "c.nef", "d.tga", "e.png", "f.tar.webp", "g.xbm"]
)
@pytest.mark.parametrize(
    "head", [b"", b"\0" * 4096, b"\x93\x12\x00\x44", b"only text", ftyp(b"????")]
)
def test_a_name_that_promises_a_picture_is_believed_if_the_content_is_unknown(
    name: str, head: bytes
) -> None:
    assert sniff(head, name).kind == "picture"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x00\x05\x16\x07\x00\x02\x00\x00", "._IMG_0001.JPG"),
        (b"\0\0\0\1Bud1\0", ".DS_Store"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Thumbs.db"),
        (b"[.ShellClassInfo]\r\n", "Desktop.ini"),
        (b"", "desktop.ini"),
    ],
)
def test_files_of_the_operating_system_are_named_so(head: bytes, name: str) -> None:
    found = sniff(head, name)
    assert (found.kind, found.rule) == ("other", "system file")


@given(st.binary(max_size=600), st.text(max_size=12))
def test_any_bytes_and_any_name_have_a_kind(head: bytes, name: str) -> None:
    assert isinstance(sniff(head, name), Kind)


@given(st.binary(max_size=600))
def test_nothing_with_a_pictures_name_becomes_unknown(head: bytes) -> None:
    assert sniff(head, "IMG_1.JPG").kind not in {"empty"}
    assert sniff(head, "IMG_1.JPG").rule != "content unknown"
