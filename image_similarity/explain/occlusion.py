"""What of a picture carries its likeness to another: each part is hidden in turn, and the distance is seen to rise.

Occlusion: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, there for classes. It
asks the network itself and nothing of its inside, so it holds for every model. It says which parts the model used, not
what they show, and not whether it was right to use them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float64]
Parts = npt.NDArray[np.bool_]

# Parts a side. On held-out pictures larger parts that overlap, and many hidden at once at random, told no more.
CELLS = 8


def heat_of(
    embed: Callable[[Pixels], npt.NDArray[np.float32]],
    pixels: Pixels,
    other: npt.NDArray[np.floating],
) -> Heat:
    """Return by how much the distance to another picture rises when each part is hidden, (8, 8); below 0 it falls.

    Args:
        embed: From pictures uint8 (n, size, size, 3) to unit vectors (n, dim).
        pixels: The picture as the model sees it, uint8 (size, size, 3).
        other: The unit vector (dim,) of the other picture.
    """
    one_each = np.eye(CELLS * CELLS, dtype=np.bool_).reshape(-1, CELLS, CELLS)
    views = np.stack([pixels, *(hide(pixels, parts) for parts in one_each)])
    distances = np.linalg.norm(embed(views) - other, axis=1).astype(np.float64)
    heat: Heat = (distances[1:] - distances[0]).reshape(CELLS, CELLS)
    return heat


def hide(pixels: Pixels, parts: Parts) -> Pixels:
    """Return a picture (h, w, 3) with some of its parts, a grid of truth (rows, columns), in its mean colour."""
    height, width = pixels.shape[:2]
    rows = np.arange(height) * parts.shape[0] // height
    columns = np.arange(width) * parts.shape[1] // width
    mean = np.round(pixels.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    hidden: Pixels = np.where(parts[rows][:, columns, None], mean, pixels)
    return hidden


def hottest(heat: Heat, share: float) -> Parts:
    """Return the parts with most heat, a grid of truth, as many as make up a share; ties go to the upper left."""
    count = round(share * heat.size)
    parts = np.zeros(heat.size, dtype=np.bool_)
    parts[np.argsort(-heat.ravel(), kind="stable")[:count]] = True
    return parts.reshape(heat.shape)
