"""Small pictures for reports and pages."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from image_similarity.pictures.decode import MAX_PIXELS, decode

QUALITY = 80


def thumbnail(
    data: bytes, side: int = 160, *, max_pixels: int = MAX_PIXELS, quality: int = QUALITY
) -> bytes:
    """Return a JPEG of the picture, upright, at most `side` pixels long, and without any metadata.

    Raises:
        PictureError: the picture cannot be decoded.
    """
    return _jpeg(_small(data, side, max_pixels), quality)


def small(data: bytes, side: int, *, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Return the picture, upright RGB, uint8 (height, width, 3), in its proportions and at most `side` pixels long.

    Raises:
        PictureError: the picture cannot be decoded.
    """
    return np.asarray(_small(data, side, max_pixels))


def of_pixels(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a JPEG of an upright RGB picture, uint8 (height, width, 3), without any metadata."""
    return _jpeg(Image.fromarray(pixels))


def _small(data: bytes, side: int, max_pixels: int) -> Image.Image:
    frame = decode(data, (side,), max_pixels=max_pixels).frames[side].copy()
    frame.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    frame.info = {}
    return frame


def _jpeg(frame: Image.Image, quality: int = QUALITY) -> bytes:
    target = io.BytesIO()
    frame.save(target, "JPEG", quality=quality)
    return target.getvalue()
