"""Part of a picture as a query: a box cut out, boxes or the black of a mask hidden before a model sees it.

Boxes are in pixels of the upright picture (after EXIF orientation), from its upper left corner, or in percent of its
width and height. What is hidden is filled with the mean colour of what stays visible, the same for every model: a hole
of one calm colour says less than a black or white one, and nothing of what was hidden is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.errors import InvalidSetting
from image_similarity.settings import MAX_MEGAPIXELS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

# Below this a mask hides, at or above it shows: a mask that was saved as JPEG or with soft edges is neither 0 nor 255.
SHOWN_FROM = 128
# A mask may be a reduced copy of the picture, whose sides were rounded.
_SHAPES_DIFFER = 0.02


@dataclass(frozen=True, slots=True)
class Box:
    """A box: left, top, width and height, in pixels, or in percent from 0 to 100."""

    left: float
    top: float
    width: float
    height: float
    percent: bool = False

    def __str__(self) -> str:
        sign = "%" if self.percent else ""
        return ",".join(
            f"{each:g}{sign}" for each in (self.left, self.top, self.width, self.height)
        )


@dataclass(frozen=True, slots=True)
class Region:
    """What of a query picture is looked at: the `crop`, without the `hidden` boxes and what `mask` has in black."""

    crop: Box | None = None
    hidden: tuple[Box, ...] = ()
    mask: Path | None = None

    def __str__(self) -> str:
        parts = [
            *([] if self.crop is None else [f"crop {self.crop}"]),
            *([f"hidden {' and '.join(map(str, self.hidden))}"] if self.hidden else []),
            *([] if self.mask is None else [f"hidden by the mask {self.mask}"]),
        ]
        return "; ".join(parts)


def read_box(text: str) -> Box:
    """Return a box written as "x,y,w,h", in pixels or, with a percent sign behind each number, in percent.

    Raises:
        InvalidSetting: It is no such box, has no area, or leaves 0 to 100 percent.
    """
    parts = [part.strip() for part in text.split(",")]
    percent = all(part.endswith("%") for part in parts)
    try:
        left, top, width, height = (_number(part, percent=percent) for part in parts)
    except ValueError as error:
        raise InvalidSetting(
            f"{text!r} is no box",
            hint="a box is x,y,w,h: 10,20,300,200 in pixels of the upright picture, or 10%,20%,30%,20%",
        ) from error
    box = Box(left, top, width, height, percent)
    if width <= 0 or height <= 0:
        raise InvalidSetting(
            f"the box {text} holds nothing", hint="width and height are above zero"
        )
    if percent and (left + width > 100 or top + height > 100):
        raise InvalidSetting(
            f"the box {text} reaches beyond the picture", hint="x + w and y + h are at most 100 %"
        )
    return box


def _number(text: str, *, percent: bool) -> float:
    """A plain decimal number, not negative; pixels are whole. `float` alone would take "nan" and "1_0"."""
    text = text.removesuffix("%") if percent else text
    whole, point, rest = text.partition(".")
    if not (whole + rest).isascii() or not (whole + rest).isdigit() or len(text) > 12:
        raise ValueError(text)
    if point and not percent:
        raise ValueError(text)
    return float(text)


def cut(frame: Image.Image, region: Region) -> Image.Image:
    """Return what a region shows of an upright RGB picture, in full resolution; the picture itself is not changed.

    Raises:
        InvalidSetting: A box leaves the picture, the mask is of another shape or no picture, or nothing is left.
    """
    import numpy as np
    from PIL import Image

    shown = np.ones((frame.height, frame.width), dtype=np.bool_)
    for box in region.hidden:
        left, top, right, bottom = _corners(box, frame)
        shown[top:bottom, left:right] = False
    if region.mask is not None:
        shown &= _mask(region.mask, frame)
    left, top, right, bottom = (
        (0, 0, frame.width, frame.height) if region.crop is None else _corners(region.crop, frame)
    )
    pixels, shown = np.array(frame)[top:bottom, left:right], shown[top:bottom, left:right]
    if not shown.any():
        raise InvalidSetting(
            "nothing is left of the query picture: all of it is hidden",
            hint="black hides and white shows in a mask; hide less",
        )
    if not shown.all():
        pixels[~shown] = np.round(pixels[shown].mean(axis=0)).astype(np.uint8)
    return Image.fromarray(pixels)


def _corners(box: Box, frame: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom in pixels, of at least one pixel."""
    across, down = (frame.width / 100, frame.height / 100) if box.percent else (1.0, 1.0)
    left, top = int(box.left * across), int(box.top * down)
    right = max(left + 1, round((box.left + box.width) * across))
    bottom = max(top + 1, round((box.top + box.height) * down))
    if right > frame.width or bottom > frame.height:
        raise InvalidSetting(
            f"the box {box} leaves the picture, which has {frame.width} x {frame.height} pixels",
            hint="boxes are counted in the upright picture, from its upper left corner",
        )
    return left, top, right, bottom


def _mask(path: Path, frame: Image.Image) -> npt.NDArray[np.bool_]:
    """Which pixels a mask shows, (height, width) of the frame; a smaller or larger mask of its shape is scaled."""
    import numpy as np
    from PIL import Image

    from image_similarity.pictures import isolate
    from image_similarity.pictures.picture_error import PictureError

    try:
        limit = int(MAX_MEGAPIXELS * 1_000_000)
        _, frames = isolate.frames(path.read_bytes(), {0}, max_pixels=limit)
    except OSError as error:
        raise InvalidSetting(f"the mask {path} cannot be read: {error.strerror}") from error
    except PictureError as error:
        raise InvalidSetting(
            f"the mask {path} is no picture: {error.message}", hint="give a black and white picture"
        ) from error
    mask = frames[0].convert("L")
    shape, wanted = mask.width / mask.height, frame.width / frame.height
    if mask.size != frame.size and abs(shape / wanted - 1) > _SHAPES_DIFFER:
        raise InvalidSetting(
            f"the mask {path} has {mask.width} x {mask.height} pixels, "
            f"the upright picture {frame.width} x {frame.height}",
            hint="make the mask of the upright picture, in its size or its shape",
        )
    if mask.size != frame.size:
        mask = mask.resize(frame.size, Image.Resampling.NEAREST)
    return np.asarray(mask) >= SHOWN_FROM
