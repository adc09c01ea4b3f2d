"""The edits that make copies: what people do to a picture before they pass it on."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Picture = Image.Image
Edit = Callable[[Picture, np.random.Generator], Picture]


def _crop(share: float) -> Edit:
    """Keep a rectangle of the picture's shape and `share` of its area, anywhere."""

    def edit(picture: Picture, generator: np.random.Generator) -> Picture:
        width, height = (round(side * share**0.5) for side in picture.size)
        left = int(generator.integers(0, picture.width - width + 1))
        top = int(generator.integers(0, picture.height - height + 1))
        return picture.crop((left, top, left + width, top + height))

    return edit


def _rotate(picture: Picture, generator: np.random.Generator) -> Picture:
    degrees = 5 if generator.random() < 0.5 else -5
    return picture.rotate(degrees, Image.Resampling.BICUBIC)


def _mirror(picture: Picture, _: np.random.Generator) -> Picture:
    return ImageOps.mirror(picture)


def _blur(picture: Picture, _: np.random.Generator) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(min(picture.size) / 64))


def _jpeg(picture: Picture, _: np.random.Generator) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=20)
    return Image.open(buffer).convert("RGB")


def _brightness(factor: float) -> Edit:
    def edit(picture: Picture, _: np.random.Generator) -> Picture:
        return ImageEnhance.Brightness(picture).enhance(factor)

    return edit


def _overlay(picture: Picture, generator: np.random.Generator) -> Picture:
    """Write a caption on a bar, as memes and screenshots have it: a fifth of the picture."""
    result = picture.copy()
    pen = ImageDraw.Draw(result)
    top = round(float(generator.choice([0.0, 0.4, 0.8])) * picture.height)
    bar = (0, top, picture.width, top + picture.height // 5)
    colour = tuple(int(value) for value in generator.integers(0, 256, 3))
    pen.rectangle(bar, fill=colour)
    ink = "black" if sum(colour) > 382 else "white"
    pen.text((4, top + 4), "watch this before it is gone", fill=ink)
    return result


# Not an edit, but what the others are compared with, resized alike.
UNCHANGED = "unchanged"

EDITS: dict[str, Edit] = {
    UNCHANGED: lambda picture, _: picture,
    "crop to 70 % of the area": _crop(0.7),
    "crop to 50 % of the area": _crop(0.5),
    "rotated by 5 degrees": _rotate,
    "mirrored": _mirror,
    "blurred": _blur,
    "JPEG quality 20": _jpeg,
    "30 % brighter": _brightness(1.3),
    "30 % darker": _brightness(0.7),
    "caption on a bar": _overlay,
}


def edit_pictures(
    pictures: NDArray[np.uint8], name: str, *, size: int, seed: int
) -> NDArray[np.uint8]:
    """Return one edit of every picture, resized as the model wants it: uint8 (N, size, size, 3).

    Args:
        pictures: uint8 (N, S, S, 3), the originals.
        name: a key of `EDITS`.
        size: side of the result; bicubic, whole frame squashed.
        seed: of places and colours; row i depends on it and on i alone.
    """
    result = np.empty((len(pictures), size, size, 3), dtype=np.uint8)
    for row, pixels in enumerate(pictures):
        generator = np.random.default_rng([seed, row])
        edited = EDITS[name](Image.fromarray(np.asarray(pixels)), generator)
        if edited.size != (size, size):
            edited = edited.resize((size, size), Image.Resampling.BICUBIC)
        result[row] = np.asarray(edited)
    return result
