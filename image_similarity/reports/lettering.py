"""Text in pictures: the font that Pillow carries, what it has no letter for, and lines that fit a width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from PIL import ImageFont

from image_similarity.reports.text import visible

_LEADING = 1.4
# The bundled font has letters up to here; what lies beyond is written as an escape rather than as an empty box.
_LAST_LETTER = 0x17F


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font that Pillow carries, the same on every machine, at a size in pixels.

    Raises:
        OSError: Pillow was built without FreeType.
    """
    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise OSError("Pillow was built without FreeType, which draws text")
    return found


def leading(face: ImageFont.FreeTypeFont) -> int:
    """Return how far apart lines of text stand, in pixels."""
    return round(face.size * _LEADING)


def readable(text: str) -> str:
    r"""Return the text with what could deceive or has no letter in the font as escapes such as `\u0416`."""
    return "".join(
        each
        if ord(each) <= _LAST_LETTER and each.isprintable()
        else each.encode("ascii", "backslashreplace").decode()
        for each in visible(text)
    )


def fitting(text: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    """Return the text, shortened in its middle to a width in pixels: of a path, both ends tell most."""
    # Each as a whole: half an escape would be read as another letter.
    letters = [readable(each) for each in text]
    whole = "".join(letters)
    if face.getlength(whole) <= width:
        return whole

    def shortened(kept: int) -> str:
        return f"{''.join(letters[:kept])} ... {''.join(letters[len(letters) - kept :])}"

    low, high = 0, len(letters) // 2
    while low < high:
        kept = (low + high + 1) // 2
        if face.getlength(shortened(kept)) <= width:
            low = kept
        else:
            high = kept - 1
    return shortened(low)


def wrapped(texts: Iterable[str], face: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    """Give lines of at most a width in pixels; a word that is longer than a line is shortened in its middle."""
    for text in texts:
        line = ""
        for word in text.split(" "):
            longer = f"{line} {word}" if line else word
            if line and face.getlength(readable(longer)) > width:
                yield fitting(line, face, width)
                longer = word
            line = longer
        yield fitting(line, face, width)
