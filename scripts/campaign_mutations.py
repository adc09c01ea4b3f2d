"""Valid pictures of every format, seeded mutations of them, and bombs: small files that ask for much."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from campaign_ground import picture_bytes
from PIL import Image, ImageCms


def seeds(odd: Path | None) -> dict[str, list[bytes]]:
    """By format, some valid files that use different parts of its decoder."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x9003] = "2020:02:02 02:02:02"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()

    def more() -> dict[str, Any]:
        # New ones each time: saving leaves its traces in them.
        frames = [Image.new("RGB", (48, 36), colour) for colour in ("red", "green")]
        return {"save_all": True, "append_images": frames}

    def each(form: str, *settings: dict[str, Any]) -> list[bytes]:
        return [picture_bytes(form, seed=n, **given) for n, given in enumerate(settings)]

    def moded(form: str, mode: str, **given: Any) -> bytes:
        target = io.BytesIO()
        Image.open(io.BytesIO(picture_bytes("PNG"))).convert(mode).save(target, form, **given)
        return target.getvalue()

    found = {
        "JPEG": [
            *each("JPEG", {}, {"progressive": True}, {"exif": exif, "icc_profile": icc}),
            moded("JPEG", "CMYK"),
            moded("JPEG", "L"),
            picture_bytes("MPO", **more()),
        ],
        "PNG": [
            *each("PNG", {}, {"exif": exif, "icc_profile": icc}, {"compress_level": 0}, more()),
            *(moded("PNG", mode) for mode in ("P", "LA", "1", "I;16")),
        ],
        "GIF": each("GIF", {}, more(), {"comment": b"a comment" * 50}),
        "BMP": [*each("BMP", {}), moded("BMP", "P"), moded("BMP", "1")],
        "TIFF": [
            *each("TIFF", {"exif": exif, "icc_profile": icc}, more()),
            *each("TIFF", *({"compression": f"tiff_{name}"} for name in _COMPRESSIONS)),
            picture_bytes("TIFF", compression="jpeg"),
            moded("TIFF", "1", compression="group4"),
            moded("TIFF", "CMYK"),
            moded("TIFF", "I;16"),
        ],
        "WebP": each("WEBP", {"exif": exif, "icc_profile": icc}, {"lossless": True}, more()),
        "AVIF": each("AVIF", {"speed": 10}, {"speed": 10, "exif": exif}),
        "JPEG 2000": each("JPEG2000", {}, {"irreversible": True}, {"no_jp2": True}),
        "ICO, ICNS": [*each("ICO", {}), picture_bytes("ICNS", (128, 128))],
        "others": each_of("PPM", "PCX", "TGA", "SGI", "DDS", "QOI", "IM", "SPIDER", "MSP"),
    }
    found["TGA"] = [found["others"][2], *each("TGA", {"compression": "tga_rle"})]
    if odd is not None:
        heif = sorted((odd / "heif").glob("*128x128*")) or sorted((odd / "heif").glob("*"))
        found["HEIF"] = [path.read_bytes() for path in heif]
    return found


_COMPRESSIONS = ("lzw", "adobe_deflate", "deflate")


def each_of(*forms: str) -> list[bytes]:
    found = []
    for form in forms:
        mode = {"SPIDER": "F", "MSP": "1"}.get(form, "RGB")
        target = io.BytesIO()
        Image.open(io.BytesIO(picture_bytes("PNG"))).convert(mode).save(target, form)
        found.append(target.getvalue())
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The file with one to four changes: bytes, numbers at their limits, cuts, repeats, swaps."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        # Headers decide the most, so half of all changes fall on the first quarter.
        size = len(changed) or 1
        at = chance.randrange(size if chance.random() < 0.5 else max(1, size // 4))
        length = chance.choice((1, 1, 2, 4, 16, 64))
        match chance.randrange(8):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[at : at + 1] = bytes(
                    [(changed[at] if changed else 0) ^ 1 << chance.randrange(8)]
                )
            case 2:
                changed[at : at + 4] = chance.choice(_LIMITS)
            case 3:
                changed[at : at + 2] = chance.choice((b"\xff\xff", b"\0\0", b"\x7f\xff", b"\x80\0"))
            case 4:
                changed[at : at + length] = chance.randbytes(length)
            case 5:
                del changed[at : at + length]
            case 6:
                changed[at:at] = changed[at : at + length]
            case _:
                if chance.random() < 0.3:
                    del changed[at:]
                else:
                    other = chance.randrange(size)
                    changed[at : at + length] = changed[other : other + length]
    return bytes(changed)


_LIMITS = (
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
)


# -- bombs -----------------------------------------------------------------------------------------------------------


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int, height: int, rows: bytes, *before: bytes, depth: int = 8, kind: int = 2
) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *before, chunk(b"IDAT", rows), chunk(b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zeros(count: int) -> bytes:
    """So many zeros, compressed."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(count >> 20)]
    return b"".join(parts) + packer.compress(bytes(count & (1 << 20) - 1)) + packer.flush()


def jpeg_with(*segments: tuple[int, bytes], size: tuple[int, int] = (48, 36)) -> bytes:
    data = picture_bytes("JPEG", size)
    more = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(part) + 2) + part for marker, part in segments
    )
    return data[:2] + more + data[2:]


def tiff(*tags: tuple[int, int, int, int], after: int = 0, data: bytes = b"") -> bytes:
    """A TIFF of one directory: (tag, type, count, value), where the next directory is, and what follows."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", after) + data


def exif_of(entries: int, each: int) -> bytes:
    """An EXIF block whose entries all point to the same bytes, which Pillow copies for each."""
    offset = 8 + 2 + 12 * entries + 4
    tags = b"".join(struct.pack("<HHII", 0x1000 + n, 7, each, offset) for n in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + tags + bytes(4) + bytes(each)


def scans(side: int, count: int) -> bytes:
    """A progressive JPEG of one colour whose last scan comes again and again."""
    target = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(target, "JPEG", progressive=True)
    data = target.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def basic(width: int, height: int, bits: int = 8) -> list[tuple[int, int, int, int]]:
    return [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, 1),
        (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height),
        (279, 4, 1, width * height * bits // 8 & 0xFFFFFFFF),
    ]  # fmt: skip


def bombs(full: bool) -> Iterator[tuple[str, bytes]]:
    """What each is, and the file; with `full` also those that take gigabytes to make or decode."""
    yield "pixels: PNG of 100,000 x 100,000", png(100_000, 100_000, zeros(1000))
    yield "pixels: PNG of 4,000 x 4,000, 1 bit", png(4000, 4000, zeros(501 * 4000), depth=1, kind=0)
    if full:
        side = 15_800
        yield (
            "pixels: PNG of 250 megapixels, all there",
            png(side, side, zeros((3 * side + 1) * side)),
        )
        yield (
            "pixels: grey PNG of 16 bits, 250 megapixels",
            png(side, side, zeros((2 * side + 1) * side), depth=16, kind=0),
        )
    yield (
        "pixels: GIF of 65,535 x 65,535",
        b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;",
    )
    yield (
        "pixels: BMP of 30,000 x 30,000 without data",
        b"BM"
        + struct.pack(
            "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0
        ),
    )
    yield "pixels: PPM that says 10^9 x 10^9", b"P6\n1000000000 1000000000\n255\n" + bytes(99)
    yield (
        "pixels: QOI of 4 x 10^9",
        b"qoif" + struct.pack(">IIBB", 65_000, 65_000, 4, 0) + bytes(99),
    )
    yield (
        "pixels: PSD of 30,000 x 30,000, 56 channels",
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 56, 30_000, 30_000, 8, 3) + bytes(14),
    )
    yield "scans: progressive JPEG, the last scan 2,000 times", scans(4000, 2000)
    yield (
        "ICC: profile of 16 MB in 255 segments",
        jpeg_with(
            *[(0xE2, b"ICC_PROFILE\0" + bytes([n, 255]) + bytes(65_000)) for n in range(1, 256)]
        ),
    )
    yield (
        "ICC: a table of 4 x 10^9 tags",
        jpeg_with(
            (0xE2, b"ICC_PROFILE\0\1\1" + bytes(36) + b"acsp" + bytes(88) + b"\xff" * 4 + bytes(99))
        ),
    )
    yield (
        "ICC: zlib bomb in a PNG",
        png(8, 8, zeros(25 * 8), chunk(b"iCCP", b"x\0\0" + zeros(400 << 20 if full else 20 << 20))),
    )
    yield (
        "EXIF: 5,000 entries of 60 kB each, one block of a JPEG",
        jpeg_with((0xE1, b"Exif\0\0" + exif_of(5000, 3000))),
    )
    yield (
        "EXIF: 60,000 entries of 3 MB each in a PNG",
        png(8, 8, zeros(25 * 8), chunk(b"eXIf", exif_of(60_000, 3 << 20))),
    )
    yield (
        "EXIF: 100,000 blocks in one JPEG",
        jpeg_with(*[(0xE1, b"Exif\0\0" + bytes(20))] * 100_000),
    )
    yield (
        "EXIF: a directory that is its own next",
        jpeg_with((0xE1, b"Exif\0\0" + tiff((0x8769, 4, 1, 8), (0x8825, 4, 1, 8), after=8))),
    )
    yield (
        "text: 2,000 compressed texts of 1 MB in a PNG",
        png(8, 8, zeros(25 * 8), *[chunk(b"zTXt", b"k\0\0" + zeros(1 << 20))] * 2000),
    )
    yield (
        "chunks: 1,000,000 empty ones in a PNG",
        png(8, 8, zeros(25 * 8), chunk(b"prVt") * 1_000_000),
    )
    control = struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0)
    yield (
        "APNG: 4 x 10^9 frames promised, 200,000 there",
        png(8, 8, zeros(25 * 8), chunk(b"acTL", b"\xff" * 8), chunk(b"fcTL", control) * 200_000),
    )
    yield (
        "GIF: a comment of 8 MB in blocks",
        b"GIF89a\x08\0\x08\0\0\0\0!\xfe" + (b"\xff" + bytes(255)) * 32_000 + b"\0;",
    )
    frame = b",\0\0\0\0\x08\0\x08\0\0\2\2D\1\0"
    yield "GIF: 300,000 frames", b"GIF89a\x08\0\x08\0\x80\0\0" + bytes(6) + frame * 300_000 + b";"
    yield "TIFF: a tag of 4 x 10^9 values", tiff(*basic(8, 8), (0x9999, 4, 0xFFFFFFFF, 8))
    yield (
        "TIFF: 65,000 tags",
        tiff(
            *basic(8, 8), *[(1000 + n, 4, 900_000, 8) for n in range(60_000)], data=bytes(4 << 20)
        ),
    )
    yield "TIFF: a directory that is its own next", tiff(*basic(8, 8), after=8, data=bytes(99))
    yield "TIFF: strips of 4 GB", tiff(*basic(60_000, 4000), data=bytes(99))
    yield "TIFF: 16 x 10^9 pixels of 32 bits", tiff(*basic(126_000, 126_000, 32), data=bytes(99))
    yield "TIFF: deflate bomb, 200 megapixels", deflated(14_000 if full else 4000)
    yield (
        "ICO: a picture that points at itself",
        b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 99, 0) + bytes(99),
    )
    yield (
        "WebP: 16,383 x 16,383 without data",
        b"RIFF\x20\0\0\0WEBPVP8L\x14\0\0\0\x2f\xff\xff\xff\x0f" + bytes(15),
    )


def deflated(side: int) -> bytes:
    packed = zeros(side * side)
    tags = [tag for tag in basic(side, side) if tag[0] not in (259, 273, 279)]
    start = 8 + 2 + 12 * (len(tags) + 3) + 4
    return tiff(*tags, (259, 3, 1, 8), (273, 4, 1, start), (279, 4, 1, len(packed)), data=packed)
