"""From a picture file's bytes to upright RGB frames and the facts of the picture.

Bytes of evidence are hostile input to foreign code. Whatever the decoder raises becomes a `PictureError`; this is the
one room where `except Exception` is the rule. What no `except` holds, a crash or a hang, is held by `isolate`: for all
but ordinary JPEG and PNG (see `ordinary`) `decode` asks one of its processes, which does `decode_here`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from image_similarity.pictures import isolate, ordinary
from image_similarity.pictures.colours import to_rgb
from image_similarity.pictures.exif import read_exif, read_orientation
from image_similarity.pictures.heif import is_heif, open_heif
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.pillow_state import decoding
from image_similarity.pictures.room import MAX_PIXELS, ROOM, Take
from image_similarity.values import PictureFacts

__all__ = ["MAX_PIXELS", "Picture", "decode", "decode_here"]

_JPEG = frozenset({"JPEG", "MPO"})
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Less than a fiftieth of a picture is no picture to compare; the file is better recorded as failed.
_BLANK_SHARE = 0.98

# EPS would run Ghostscript on the evidence, WMF the drawing engine of Windows; the others only name a format that
# something else must decode.
_NEVER_OPENED = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})

Image.init()
# Those of nearly all pictures first: each format that is tried in vain takes as long as reading a JPEG's header.
_USUAL = ("JPEG", "PNG")
_FORMATS = _USUAL + tuple(name for name in Image.ID if name not in _NEVER_OPENED.union(_USUAL))


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture; `frames` maps each side asked for to an RGB image.

    Sides may share one image: do not change it.
    """

    facts: PictureFacts
    frames: Mapping[int, Image.Image]


def decode(data: bytes, sides: Collection[int], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Return the picture upright and in RGB, once for every side asked for.

    A side of 0 decodes in full. For any other, a JPEG is decoded at the smallest of the scales 1/8, 1/4, 1/2 and 1 at
    which both its sides stay at least that long; other formats are decoded in full. A frame depends on the bytes and
    its own side only. Of an animation the first frame is taken. A damaged file gives what decodes, with
    `facts.partial` set.

    Raises:
        PictureError: stage "decode": nothing can be decoded, or the picture has more than `max_pixels` pixels.
    """
    if not sides:
        raise ValueError("decode needs at least one side")
    looks = ordinary.look(data)
    if looks.plain and ordinary.is_proven(looks.profile):
        with ROOM.lease() as take:
            return decode_here(data, sides, max_pixels=max_pixels, take=take)
    facts, images = isolate.frames(data, sides, max_pixels=max_pixels)
    if looks.plain:
        ordinary.prove(looks.profile)
    return Picture(facts, images)


def decode_here(data: bytes, sides: Collection[int], *, max_pixels: int, take: Take) -> Picture:
    """Do what `decode` does, in this process, which a hostile file may crash or hold for ever.

    `take` is called with the number of pixels before they are decoded, and may wait.
    """
    first: Exception
    try:
        if is_heif(data):
            return _decode_heif(data, sides, max_pixels, take)
        return _decode(data, sides, max_pixels, take, tolerant=False)
    except PictureError as error:
        # From the decoder of HEIF, which has nothing more to try.
        raise _too_many(error.message, max_pixels) from error
    except Exception as error:
        first = error
    if not isinstance(first, MemoryError | Image.DecompressionBombError) and not is_heif(data):
        try:
            return _decode(data, sides, max_pixels, take, tolerant=True)
        except Image.DecompressionBombError as error:
            first = error
        except Exception:  # noqa: S110 - the first error is the one that says what is wrong with the file
            pass
    raise _decode_error(first, max_pixels) from first


def _decode(
    data: bytes, sides: Collection[int], max_pixels: int, take: Take, *, tolerant: bool
) -> Picture:
    frames: dict[int, Image.Image] = {}
    by_scale: dict[int, tuple[PictureFacts, Image.Image]] = {}
    with decoding(max_pixels=max_pixels, tolerant=tolerant):
        for side in sorted(set(sides)):
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                scale = _scale(image, side)
                if scale not in by_scale:
                    take(image.width * image.height // scale**2)
                    by_scale[scale] = _load(image, side if scale > 1 else 0, tolerant=tolerant)
                facts, frames[side] = by_scale[scale]
    return Picture(facts, frames)


def _decode_heif(data: bytes, sides: Collection[int], max_pixels: int, take: Take) -> Picture:
    """HEIF knows neither reduced scales nor partial pictures.

    Its EXIF orientation is not applied: libheif has applied the file's own rotation, which EXIF only repeats.
    """
    image, mime = open_heif(data, max_pixels=max_pixels, take=take)
    facts = PictureFacts(image.width, image.height, "HEIF", mime, False, read_exif(image))
    return Picture(facts, dict.fromkeys(sides, to_rgb(image)))


def _scale(image: ImageFile.ImageFile, side: int) -> int:
    """The greatest reduction that the JPEG decoder offers and `side` allows; 1 for all other formats.

    The same rule as that of Pillow's `draft`, known beforehand so that equal scales are decoded once.
    """
    if side == 0 or image.format not in _JPEG:
        return 1
    longest = min(image.size) // side
    return next((scale for scale in (8, 4, 2) if longest >= scale), 1)


def _load(
    image: ImageFile.ImageFile, side: int, *, tolerant: bool
) -> tuple[PictureFacts, Image.Image]:
    """Decode, reduced to no less than `side` if that is not 0; the facts and the upright frame."""
    header_size = image.size
    if side:
        image.draft(None, (side, side))
    image.load()
    # Some formats know their size only now; a reduced JPEG only before.
    width, height = header_size if side else image.size
    orientation = read_orientation(image)
    if orientation >= 5:
        width, height = height, width
    facts = _facts(image, width, height, partial=tolerant)
    frame = to_rgb(image)
    if orientation in _UPRIGHT:
        frame = frame.transpose(_UPRIGHT[orientation])
    if tolerant and _is_blank(frame):
        raise ValueError("nothing was decoded")
    return facts, frame


def _is_blank(frame: Image.Image) -> bool:
    """Whether nearly all of a damaged picture is one colour: what a decoder leaves where it decoded nothing.

    Not all of it, because a JPEG decoder makes a first block out of no data at all.
    """
    # Some hundred thousand of its pixels tell the share; sorting them all would cost more memory than the picture.
    width, height = frame.size
    sample = frame.resize((min(width, 512), min(height, 512)), Image.Resampling.NEAREST)
    colours = np.asarray(sample).astype(np.uint32) @ np.array([1, 256, 65536], dtype=np.uint32)
    most = int(np.unique(colours, return_counts=True)[1].max())
    return most > _BLANK_SHARE * colours.size


def _facts(image: ImageFile.ImageFile, width: int, height: int, *, partial: bool) -> PictureFacts:
    name = image.format or "unknown"
    mime = image.get_format_mimetype() or f"image/x-{name.lower()}"
    if name in _JPEG:
        # MPO is a JPEG with further pictures behind it, such as the depth map of a telephone's camera.
        name, mime = "JPEG", "image/jpeg"
    return PictureFacts(width, height, name, mime, partial, read_exif(image))


def _decode_error(error: Exception, max_pixels: int) -> PictureError:
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", str(error))
        return _too_many(pixels.group() if pixels else "too many", max_pixels)
    if isinstance(error, MemoryError):
        return PictureError("decode", "MemoryError", "not enough memory to decode the picture")
    if isinstance(error, UnidentifiedImageError):
        # Its own text names an object in memory.
        return PictureError("decode", "UnidentifiedImageError", "not a picture that can be decoded")
    return PictureError("decode", type(error).__name__, str(error))


def _too_many(pixels: str, max_pixels: int) -> PictureError:
    return PictureError(
        "decode",
        "TooManyPixels",
        f"{pixels} pixels; the limit is {max_pixels} pixels, and --max-megapixels raises it",
    )
