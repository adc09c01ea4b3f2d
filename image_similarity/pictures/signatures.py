"""The table behind `kinds`: byte signatures, container brands and file name extensions."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Signature:
    """Bytes at a fixed place, and what they prove. All `parts` (offset, bytes) must be there."""

    kind: Literal["picture", "document", "video", "archive", "audio", "other"]
    mime: str
    label: str
    parts: tuple[tuple[int, bytes], ...]

    @property
    def rule(self) -> str:
        """The rule as it is recorded."""
        return "system file" if self.label == "AppleDouble" else f"content: {self.label}"

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with `head` bears this signature."""
        return all(head.startswith(mark, offset) for offset, mark in self.parts)


def _picture(mime: str, label: str, *marks: bytes) -> tuple[Signature, ...]:
    return tuple(Signature("picture", f"image/{mime}", label, ((0, mark),)) for mark in marks)


def _at_start(
    kind: Literal["document", "video", "archive", "audio", "other"],
    mime: str,
    label: str,
    *marks: bytes,
) -> tuple[Signature, ...]:
    return tuple(Signature(kind, mime, label, ((0, mark),)) for mark in marks)


# The sizes that a BMP's second header may have: without them, any text that begins with "BM" would be a picture.
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_PNM = tuple(
    b"P" + number + blank
    for number in (b"1", b"2", b"3", b"4", b"5", b"6")
    for blank in (b"\n", b" ", b"\r", b"\t")
)

# Formats that no decoder here can read are pictures all the same: their failure is recorded.
_PICTURES = (
    *_picture("jpeg", "JPEG", b"\xff\xd8\xff"),
    *_picture("png", "PNG", b"\x89PNG\r\n\x1a\n", b"\x8aMNG\r\n\x1a\n", b"\x8bJNG\r\n\x1a\n"),
    *_picture("gif", "GIF", b"GIF87a", b"GIF89a"),
    *_picture("tiff", "TIFF", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    *(
        Signature("picture", "image/bmp", "BMP", ((0, b"BM"), (14, size.to_bytes(4, "little"))))
        for size in _BMP_HEADERS
    ),
    Signature("picture", "image/webp", "WebP", ((0, b"RIFF"), (8, b"WEBP"))),
    *_picture("jp2", "JPEG 2000", b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    *_picture("jxl", "JPEG XL", b"\x00\x00\x00\x0cJXL \r\n\x87\n", b"\xff\x0a"),
    *_picture("jxr", "JPEG XR", b"II\xbc\x01"),
    *(
        Signature(
            "picture", "image/x-icon", "ICO", ((0, b"\x00\x00" + sort + b"\x00"), (5, b"\x00"))
        )
        for sort in (b"\x01", b"\x02")
    ),
    *_picture("icns", "ICNS", b"icns"),
    *_picture("vnd.adobe.photoshop", "Photoshop", b"8BPS"),
    *_picture("x-xcf", "GIMP", b"gimp xcf"),
    *_picture("x-portable-anymap", "Netpbm", *_PNM, b"P7\nWIDTH", b"PF\n", b"Pf\n"),
    *_picture("vnd-ms.dds", "DDS", b"DDS "),
    *_picture("x-qoi", "QOI", b"qoif"),
    *_picture(
        "x-sgi",
        "SGI",
        b"\x01\xda\x00\x01",
        b"\x01\xda\x00\x02",
        b"\x01\xda\x01\x01",
        b"\x01\xda\x01\x02",
    ),
    *_picture("x-sun-raster", "Sun raster", b"\x59\xa6\x6a\x95"),
    *_picture("fits", "FITS", b"SIMPLE  ="),
    *_picture("x-xpixmap", "XPM", b"/* XPM */"),
    *_picture("bpg", "BPG", b"BPG\xfb"),
    *_picture("flif", "FLIF", b"FLIF"),
    *_picture("x-exr", "OpenEXR", b"v/1\x01"),
    *_picture("vnd.radiance", "Radiance HDR", b"#?RADIANCE", b"#?RGBE"),
    Signature("picture", "application/dicom", "DICOM", ((128, b"DICM"),)),
    *_picture(
        "x-raw",
        "camera raw",
        b"FUJIFILMCCD-RAW",
        b"IIU\x00",
        b"IIRO",
        b"IIRS",
        b"MMOR",
        b"FOVb",
        b"\x00MRM",
    ),
    Signature("picture", "image/x-canon-crw", "camera raw", ((0, b"II\x1a\x00\x00\x00HEAPCCDR"),)),
)

_OTHERS = (
    *_at_start("document", "application/pdf", "PDF", b"%PDF"),
    *_at_start(
        "document",
        "application/x-ole-storage",
        "OLE2 document",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ),
    *_at_start("document", "application/rtf", "RTF", b"{\\rtf"),
    # PostScript is a program: running it on evidence would take an interpreter such as Ghostscript.
    *_at_start(
        "document",
        "application/postscript",
        "vector drawing (PostScript)",
        b"%!PS",
        b"\xc5\xd0\xd3\xc6",
    ),
    *_at_start(
        "document",
        "image/wmf",
        "vector drawing (WMF)",
        b"\xd7\xcd\xc6\x9a\x00\x00",
        b"\x01\x00\x09\x00\x00\x03",
    ),
    Signature(
        "document", "image/emf", "vector drawing (EMF)", ((0, b"\x01\x00\x00\x00"), (40, b" EMF"))
    ),
    *_at_start("document", "image/vnd.djvu", "DjVu", b"AT&TFORM"),
    Signature("video", "video/x-msvideo", "AVI video", ((0, b"RIFF"), (8, b"AVI "))),
    *_at_start("video", "video/x-matroska", "Matroska or WebM video", b"\x1a\x45\xdf\xa3"),
    *_at_start("video", "video/mpeg", "MPEG video", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"),
    Signature(
        "video", "video/mp2t", "MPEG transport stream", ((0, b"G"), (188, b"G"), (376, b"G"))
    ),
    *_at_start("video", "video/x-ms-asf", "Windows Media", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    *_at_start("video", "video/x-flv", "Flash video", b"FLV\x01"),
    *_at_start("video", "video/vnd.rn-realvideo", "RealMedia", b".RMF"),
    *(
        Signature("video", "video/quicktime", "QuickTime video", ((4, box),))
        for box in (b"moov", b"mdat", b"wide", b"pnot")
    ),
    *_at_start("archive", "application/zip", "ZIP archive", b"PK\x05\x06", b"PK\x07\x08"),
    *_at_start("archive", "application/vnd.rar", "RAR archive", b"Rar!\x1a\x07"),
    *_at_start("archive", "application/x-7z-compressed", "7-Zip archive", b"7z\xbc\xaf\x27\x1c"),
    *_at_start("archive", "application/gzip", "gzip archive", b"\x1f\x8b\x08"),
    *_at_start("archive", "application/x-xz", "xz archive", b"\xfd7zXZ\x00"),
    *_at_start("archive", "application/x-bzip2", "bzip2 archive", b"BZh"),
    *_at_start("archive", "application/zstd", "Zstandard archive", b"\x28\xb5\x2f\xfd"),
    *_at_start("archive", "application/vnd.ms-cab-compressed", "cabinet archive", b"MSCF\x00"),
    Signature("archive", "application/x-tar", "tar archive", ((257, b"ustar"),)),
    *_at_start("audio", "audio/mpeg", "MP3 audio", b"ID3\x02", b"ID3\x03", b"ID3\x04"),
    *_at_start("audio", "audio/flac", "FLAC audio", b"fLaC"),
    *_at_start("audio", "audio/ogg", "Ogg", b"OggS"),
    *_at_start("audio", "audio/amr", "AMR audio", b"#!AMR"),
    *_at_start("audio", "audio/midi", "MIDI", b"MThd"),
    Signature("audio", "audio/wav", "WAVE audio", ((0, b"RIFF"), (8, b"WAVE"))),
    Signature("audio", "audio/aiff", "AIFF audio", ((0, b"FORM"), (8, b"AIF"))),
    *_at_start("other", "application/vnd.sqlite3", "SQLite database", b"SQLite format 3\x00"),
    *_at_start("other", "multipart/appledouble", "AppleDouble", b"\x00\x05\x16\x07"),
    *_at_start("other", "application/x-elf", "program", b"\x7fELF"),
)

SIGNATURES: tuple[Signature, ...] = _PICTURES + _OTHERS

PICTURE_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), ("image/avif", "AVIF")),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
        ("image/heic", "HEIC"),
    ),
    **dict.fromkeys((b"mif1", b"mif2", b"msf1", b"miaf", b"jpeg", b"j2ki"), ("image/heif", "HEIF")),
    b"crx ": ("image/x-canon-cr3", "camera raw"),
    b"jxl ": ("image/jxl", "JPEG XL"),
}
AUDIO_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})
VIDEO_BRANDS = (
    b"iso",
    b"mp4",
    b"avc",
    b"qt  ",
    b"M4V",
    b"3gp",
    b"3g2",
    b"dash",
    b"MSNV",
    b"f4v",
    b"F4V",
)

_ZIPPED = (
    ".docx .docm .dotx .xlsx .xlsm .xltx .pptx .pptm .ppsx .odt .ods .odp .odg .epub .pages .numbers"
    " .key .xps"
)
ZIPPED_DOCUMENTS = frozenset(_ZIPPED.split())
ZIPPED_DOCUMENT_MARKS = (
    b"[Content_Types].xml",
    b"mimetypeapplication/vnd.oasis.opendocument",
    b"mimetypeapplication/epub",
)

_CAMERA_RAW = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2"
    " .srf .srw .x3f"
)
_MORE = (
    ".jpe .jfif .jif .jxl .jxr .wdp .heic .heics .heif .heifs .hif .avif .avifs .jp2 .j2k .jpx .exr"
    " .hdr .dcm .xcf .flif"
)
# What Pillow registers, that is no picture or no raster picture.
_NOT_RASTER = frozenset(
    {
        ".mpg",
        ".mpeg",
        ".h5",
        ".hdf",
        ".grib",
        ".bufr",
        ".pdf",
        ".eps",
        ".ps",
        ".wmf",
        ".emf",
        ".palm",
        ".im",
    }
)


@functools.cache
def picture_extensions() -> frozenset[str]:
    """Return the extensions, in lower case with their dot, that promise a raster picture.

    Pillow is loaded for them at the first call, which a file that shows what it is does not need.
    """
    from PIL import Image

    Image.init()
    registered = {extension.lower() for extension in Image.registered_extensions()}
    return frozenset((registered - _NOT_RASTER) | set(_CAMERA_RAW.split()) | set(_MORE.split()))
