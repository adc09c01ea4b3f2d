"""From an upright RGB frame to the exact array of pixels that a model asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image_similarity.pictures import blurred_resize
from image_similarity.values import Preprocess

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# A strip one pixel high and 60,000 wide would be enlarged to thousands of millions of pixels before its middle is cut
# out. Beyond this ratio the strip is shortened first; the middle square is far from the ends that are lost.
_LONGEST_RATIO = 16


def prepare(frame: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return the frame as a C-contiguous array (size, size, 3) of 8-bit RGB.

    "within" is another shape, (height, width, 3): the long side is reduced to size, a smaller frame stays as it is.
    "squash" resizes the whole frame; "crop" resizes the short side and cuts the middle out, rounded as torchvision
    rounds. Reducing averages over all pixels (antialiased); "deepranking-skimage-v1" does so as scikit-image does.
    """
    size = preprocess.size
    if preprocess.interpolation == "deepranking-skimage-v1":
        return blurred_resize.resize(np.asarray(frame), size, size)
    resample = _FILTERS[preprocess.interpolation]
    if preprocess.fit == "within":
        if max(frame.size) > size:
            width, height = (max(1, round(side * size / max(frame.size))) for side in frame.size)
            frame = frame.resize((width, height), resample)
        return np.array(frame, dtype=np.uint8, order="C")
    if preprocess.fit == "squash":
        return np.array(frame.resize((size, size), resample), dtype=np.uint8, order="C")
    frame = _shortened(frame)
    short, long = preprocess.resize or size, max(frame.size)
    long = int(short * long / min(frame.size))
    width, height = (short, long) if frame.width <= frame.height else (long, short)
    resized = frame.resize((width, height), resample)
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    cut = resized.crop((left, top, left + size, top + size))
    return np.array(cut, dtype=np.uint8, order="C")


def _shortened(frame: Image.Image) -> Image.Image:
    """The middle of a frame whose long side is more than 16 times the short one."""
    width, height = frame.size
    longest = _LONGEST_RATIO * min(width, height)
    if max(width, height) <= longest:
        return frame
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return frame.crop((left, top, left + min(width, longest), top + min(height, longest)))
