"""From a picture file's bytes to the arrays that models want, decoded once per distinct decode scale."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from image_similarity.pictures import isolate
from image_similarity.pictures.region import Region, cut
from image_similarity.values import PictureFacts, Preprocess


def decode_for(
    data: bytes,
    preprocessings: Collection[Preprocess],
    *,
    max_pixels: int,
    region: Region | None = None,
) -> tuple[PictureFacts, dict[Preprocess, npt.NDArray[np.uint8]]]:
    """Give the facts of a picture, and for each preprocessing its uint8 pixels (size, size, 3).

    Each array depends on the bytes and its own preprocessing only, never on which others were asked for beside it.

    With a `region` they are those of what it shows, cut out of the picture in full resolution; the facts stay those of
    the whole picture.

    Raises:
        PictureError: With stage "decode".
        InvalidSetting: The region does not fit the picture.
    """
    if region is not None:
        # Pillow and its many formats load here for a part of a picture only; for a whole one, in another process.
        from image_similarity.pictures.decode import decode
        from image_similarity.pictures.pixels import prepare

        picture = decode(data, {0}, max_pixels=max_pixels)
        shown = cut(picture.frames[0], region)
        return picture.facts, {p: prepare(shown, p) for p in preprocessings}
    return isolate.prepared(data, preprocessings, max_pixels=max_pixels)
