"""From a picture file's bytes to the arrays that models want, decoded once per distinct decode scale."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from image_similarity.pictures.region import Region, cut
from image_similarity.pictures.room import ROOM
from image_similarity.values import PictureFacts, Preprocess


def decode_for(
    data: bytes,
    preprocessings: Collection[Preprocess],
    *,
    max_pixels: int,
    region: Region | None = None,
    careful: bool = False,
) -> tuple[PictureFacts, dict[Preprocess, npt.NDArray[np.uint8]]]:
    """Give the facts of a picture, and for each preprocessing its uint8 pixels (size, size, 3).

    Each array depends on the bytes and its own preprocessing only, never on which others were asked for beside it.

    With a `region` they are those of what it shows, cut out of the picture in full resolution; the facts stay those of
    the whole picture.

    All but ordinary JPEG and PNG, and with `careful` these too, are decoded in a process of their own.

    Raises:
        PictureError: With stage "decode".
        InvalidSetting: The region does not fit the picture.
    """
    # Pillow and its many formats load with the first picture, not with a query that the database answers.
    from image_similarity.pictures import isolate, ordinary
    from image_similarity.pictures.decode import decode_here
    from image_similarity.pictures.pixels import prepare

    if region is not None:
        facts, frames = isolate.frames(data, {0}, max_pixels=max_pixels)
        shown = cut(frames[0], region)
        return facts, {p: prepare(shown, p) for p in preprocessings}
    looks = ordinary.look(data)
    if careful or not looks.plain or not ordinary.is_proven(looks.profile):
        found = isolate.prepared(data, preprocessings, max_pixels=max_pixels)
        if looks.plain:
            ordinary.prove(looks.profile)
        return found
    sides = {p.decode_side for p in preprocessings}
    # The frames take room until they are prepared.
    with ROOM.lease() as take:
        picture = decode_here(data, sides, max_pixels=max_pixels, take=take)
        pixels = {p: prepare(picture.frames[p.decode_side], p) for p in preprocessings}
    return picture.facts, pixels
