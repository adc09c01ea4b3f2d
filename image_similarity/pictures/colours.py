"""Any colour mode to sRGB in 8 bits, in a defined way.

- Transparency of any form is laid on white.
- An embedded ICC profile that fits the pixels is applied (RGB, grey and CMYK); a broken or unfit one is ignored.
- CMYK without a profile is converted by Pillow, which also turns Adobe's inverted files round.
- Grey deeper than 8 bits is scaled, not clipped. Whole numbers are divided by the smallest of 255, 1023, 4095, 16383
  and 65535 that holds the greatest value; fractions are multiplied by 255 if all lie in [0, 1], and taken as they
  are if all lie in [0, 255]. All else is stretched from its own least and greatest value to 0 and 255.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

# Real profiles have up to about 3 MB (large CMYK tables); beyond this lies abuse.
_LARGEST_PROFILE = 8 * 1024**2
_PROFILE_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
_DEPTHS = (255, 1023, 4095, 16383, 65535)
# The pictures of a case come from few cameras, and making a transform takes as long as using it on 500 x 400 pixels.
# At most 16 times the largest profile stays in memory.
_TRANSFORMS = 16
# Of deep grey, scaled in float64: tens of megabytes.
_PIXELS_AT_ONCE = 1_000_000

# Made once: the profile itself is never changed.
_SRGB = ImageCms.createProfile("sRGB")


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the loaded `image` as RGB without metadata; the input is not changed, but may share its pixels."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _grey_to_8_bits(image).convert("RGB")
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data or image.mode in {"RGBa", "La"}:
        # Pillow leads out of the premultiplied grey mode by one door only.
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        opaque = _colours(rgba.convert("RGB"), profile)
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(opaque, mask=rgba.getchannel("A"))
        return white
    return _bare(_colours(image, profile), source=image)


def _bare(image: Image.Image, *, source: Image.Image) -> Image.Image:
    """The image without what would travel along: profiles, comments, EXIF; never the source itself."""
    # Another image over the same pixels: a copy of a large picture would be as large again.
    bare = image._new(image.im) if image is source else image
    bare.info = {}
    return bare


def _colours(image: Image.Image, profile: Any) -> Image.Image:
    """Opaque pixels to RGB, through the profile if there is one of the right kind."""
    pixels = image if image.mode in {"L", "CMYK", "RGB"} else image.convert("RGB")
    if isinstance(profile, bytes) and 0 < len(profile) <= _LARGEST_PROFILE:
        converted = _through_profile(pixels, profile)
        if converted is not None:
            return converted
    return pixels.convert("RGB") if pixels.mode != "RGB" else pixels


def _through_profile(pixels: Image.Image, profile: bytes) -> Image.Image | None:
    """The pixels in sRGB, or None if the profile is broken, of another kind, or says sRGB already."""
    # The decoder of profiles is foreign code too: whatever it raises means that the profile is of no use.
    try:
        transform = _transform(profile, pixels.mode)
        return None if transform is None else transform.apply(pixels)
    except Exception:
        return None


@lru_cache(_TRANSFORMS)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB, which threads may share; None if the profile is of another mode or says sRGB already."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if _PROFILE_MODES.get(source.profile.xcolor_space) != mode:
        return None
    if (source.profile.profile_description or "").startswith("sRGB"):
        return None
    return ImageCms.buildTransform(source, _SRGB, mode, "RGB")


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    """Pillow has no plain conversion from LAB; the colour management library has."""
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), _SRGB, "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise ValueError("LAB could not be converted")
    return _bare(converted, source=image)


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """The scaling that the module states, some rows at a time: whole, it would take 24 bytes a pixel."""
    width, height = image.size
    rows = max(1, _PIXELS_AT_ONCE // width)
    # The bands are views of the decoded pixels, in their own type.
    pixels = np.asarray(image)

    def bands() -> Iterator[NDArray[np.float64]]:
        for top in range(0, height, rows):
            band = pixels[top : top + rows].astype(np.float64)
            yield np.nan_to_num(band, copy=False, posinf=0.0, neginf=0.0)

    ends = [(float(band.min()), float(band.max())) for band in bands()]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    scaled = np.empty((height, width), np.uint8)
    for top, band in zip(range(0, height, rows), bands(), strict=True):
        scaled[top : top + rows] = np.rint(_scaled(band, low, high, image.mode))
    return Image.fromarray(scaled)


def _scaled(values: NDArray[np.float64], low: float, high: float, mode: str) -> NDArray[np.float64]:
    """Values of a picture whose least and greatest are `low` and `high`, from 0 to 255."""
    if low < 0 or high > (_DEPTHS[-1] if mode != "F" else 255.0):
        return (values - low) * 255.0 / ((high - low) or 1.0)
    if mode == "F":
        return values * (255.0 if high <= 1.0 else 1.0)
    return values * 255.0 / next(depth for depth in _DEPTHS if high <= depth)
