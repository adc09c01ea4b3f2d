"""HEIF through pi_heif; only the processes of `isolate` call this, because damaged files crash it.

Fuzzing found files of a few changed bytes on which pi_heif 1.4 with libheif 1.23 and libde265 1.1 crashes or writes
beyond its memory. No `except` holds that.
"""

from __future__ import annotations

from PIL import Image

from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.room import Take

_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)


def is_heif(data: bytes) -> bool:
    """Whether the bytes are HEIF and not AVIF, which shares the container and is decoded by Pillow."""
    if data[4:8] != b"ftyp" or data[8:12] not in _BRANDS:
        return False
    brands = data[16 : min(int.from_bytes(data[:4], "big"), 256)]
    return b"avif" not in brands or b"heic" in brands


def open_heif(data: bytes, *, max_pixels: int, take: Take) -> tuple[Image.Image, str]:
    """Return the primary picture, upright, with EXIF and ICC profile in `info`, and its MIME type.

    Raises:
        PictureError: stage "decode", "TooManyPixels", with their number as message.
        Exception: whatever the decoder raises.
    """
    import pi_heif

    # Libheif turns and mirrors the picture as the file says.
    found = pi_heif.open_heif(data, convert_hdr_to_8bit=True)
    primary = found[found.primary_index]
    pixels = primary.size[0] * primary.size[1]
    if pixels > max_pixels:
        raise PictureError("decode", "TooManyPixels", str(pixels))
    take(pixels)
    raw = bytes(primary.data)
    # Only now is the size that of the pixels.
    mode, size = primary.mode, (primary.size[0], primary.size[1])
    image = Image.frombytes(mode, size, raw, "raw", mode, primary.stride)
    for key in ("exif", "icc_profile"):
        if primary.info.get(key):
            image.info[key] = primary.info[key]
    return image, str(found.mimetype)
