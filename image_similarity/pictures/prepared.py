"""From a picture file's bytes to the arrays that models want, decoded once per distinct decode scale."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from image_similarity.values import PictureFacts, Preprocess


def decode_for(
    data: bytes, preprocessings: Collection[Preprocess], *, max_pixels: int
) -> tuple[PictureFacts, dict[Preprocess, npt.NDArray[np.uint8]]]:
    """Give the facts of a picture, and for each preprocessing its uint8 pixels (size, size, 3).

    Each array depends on the bytes and its own preprocessing only, never on which others were asked for beside it.

    Raises:
        PictureError: With stage "decode".
    """
    # Pillow and its many formats load with the first picture, not with a query that the database answers.
    from image_similarity.pictures.decode import decode
    from image_similarity.pictures.pixels import prepare

    picture = decode(data, {p.decode_side for p in preprocessings}, max_pixels=max_pixels)
    pixels = {p: prepare(picture.frames[p.decode_side], p) for p in preprocessings}
    return picture.facts, pixels
