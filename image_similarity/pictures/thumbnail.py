"""Small pictures for reports and pages."""

from __future__ import annotations

import io

from PIL import Image

from image_similarity.pictures.decode import MAX_PIXELS, decode


def thumbnail(data: bytes, side: int = 160, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return a JPEG of the picture, upright, at most `side` pixels long, and without any metadata.

    Raises:
        PictureError: the picture cannot be decoded.
    """
    frame = decode(data, (side,), max_pixels=max_pixels).frames[side].copy()
    frame.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    frame.info = {}
    target = io.BytesIO()
    frame.save(target, "JPEG", quality=80)
    return target.getvalue()
