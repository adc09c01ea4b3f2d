"""What a picture's EXIF says of time, camera and place, as plain JSON values; never more, and never an error."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

_LONGEST_TEXT = 200
# EXIF beyond this is not parsed: a JPEG holds 64 KiB, real HEIC files some hundred.
_LARGEST_BLOCK = 4 * 1024**2
_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d:\d\d:\d\d)")
_OFFSET = re.compile(r"[+-]\d\d:\d\d")


def read_exif(image: Image.Image) -> dict[str, Any]:
    """Return the facts found, under the keys below; a key that is missing was not found or made no sense.

    `date_time_original` (ISO 8601 if the camera wrote a time, with its offset if given; else the text as found),
    `make`, `model`, `lens`, `software`, `latitude` and `longitude` (decimal degrees, south and west negative) and
    `altitude` (metres above sea level).
    """
    found: dict[str, Any] = {}
    # Hostile EXIF makes the parser raise whatever it likes; what was found before stays.
    with suppress(Exception):
        tags = _tags(image)
        for key, tag in (("make", Base.Make), ("model", Base.Model), ("software", Base.Software)):
            _put(found, key, _text(tags.get(tag)))
        with suppress(Exception):
            detail = tags.get_ifd(IFD.Exif)
            _put(found, "date_time_original", _time(detail))
            _put(found, "lens", _text(detail.get(Base.LensModel)))
        with suppress(Exception):
            found.update(_place(tags.get_ifd(IFD.GPSInfo)))
    return found


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation (1 to 8) that is still to be applied to the loaded `image`."""
    with suppress(Exception):
        orientation = _tags(image).get(Base.Orientation)
        if isinstance(orientation, int) and 1 <= orientation <= 8:
            return orientation
    return 1


def _tags(image: Image.Image) -> Image.Exif:
    """The EXIF of the picture, empty if it is too large to be genuine."""
    block = image.info.get("exif")
    if isinstance(block, bytes) and len(block) > _LARGEST_BLOCK:
        return Image.Exif()
    return image.getexif()


def _put(found: dict[str, Any], key: str, value: str | None) -> None:
    if value:
        found[key] = value


def _text(value: Any) -> str | None:
    """The text up to its first NUL, in one printable line of limited length."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if not isinstance(value, str):
        return None
    value = value.split("\0", 1)[0][: 4 * _LONGEST_TEXT]
    # Surrogates are not printable either, so that the result is always valid UTF-8.
    line = "".join(c if c.isprintable() else " " for c in value)
    return " ".join(line.split())[:_LONGEST_TEXT] or None


def _time(tags: Mapping[int, Any]) -> str | None:
    found = _text(tags.get(Base.DateTimeOriginal))
    if found is None or not found.strip("0:/- "):
        # Cameras whose clock was never set write zeros.
        return None
    match = _TIME.fullmatch(found)
    if match is None:
        return found
    offset = _text(tags.get(Base.OffsetTimeOriginal)) or ""
    return "{}-{}-{}T{}".format(*match.groups()) + (offset if _OFFSET.fullmatch(offset) else "")


def _place(tags: Mapping[int, Any]) -> dict[str, float]:
    """Latitude and longitude only together: half a place is none."""
    found: dict[str, float] = {}
    latitude = _degrees(tags.get(GPS.GPSLatitude), tags.get(GPS.GPSLatitudeRef), "S", 90.0)
    longitude = _degrees(tags.get(GPS.GPSLongitude), tags.get(GPS.GPSLongitudeRef), "W", 180.0)
    if latitude is not None and longitude is not None:
        found = {"latitude": latitude, "longitude": longitude}
    altitude = _number(tags.get(GPS.GPSAltitude))
    if altitude is not None and abs(altitude) < 100_000:
        below = tags.get(GPS.GPSAltitudeRef) in (1, b"\x01")
        found["altitude"] = -altitude if below else altitude
    return found


def _degrees(value: Any, reference: Any, negative: str, limit: float) -> float | None:
    """Degrees, minutes and seconds as one number, or None if any is missing, not finite or out of range."""
    if not isinstance(value, tuple) or not 1 <= len(value) <= 3:
        return None
    parts = [_number(part) for part in value]
    if None in parts:
        return None
    degrees = sum(part / 60.0**power for power, part in enumerate(parts) if part is not None)
    if not 0 <= degrees <= limit:
        return None
    return -degrees if (_text(reference) or "").upper() == negative else degrees


def _number(value: Any) -> float | None:
    try:
        number: float = float(value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return round(number, 8) if math.isfinite(number) else None
