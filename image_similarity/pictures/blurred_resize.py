"""Resizing as scikit-image does it: blurred by a Gaussian, then read off between the nearest pixels.

What `skimage.transform.resize` of version 0.19 and later gives with its defaults (anti-aliasing, order 1, mode
"reflect"), to a rounding of float32, without scikit-image. Blur and interpolation both go along one axis at a time and
are linear, so each axis is one banded matrix.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

# Where scipy.ndimage.gaussian_filter cuts its bell off, in standard deviations.
_TRUNCATE = 4.0
# Rows of the result that are made at once: neighbouring ones look at nearly the same pixels.
_TOGETHER = 8


def resize(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return pixels uint8 (h, w, 3) resized to (height, width, 3), rounded to whole levels.

    Aspect is not kept. An axis that is reduced by a factor f is blurred with a standard deviation of (f - 1) / 2
    pixels first; one that is enlarged is not. Pixels are mirrored beyond the edges, the outermost not repeated.
    """
    rows = _along_first(pixels, height)
    both = _along_first(np.ascontiguousarray(rows.swapaxes(0, 1)), width)
    rounded = np.rint(both.swapaxes(0, 1)).clip(0, 255)
    return np.ascontiguousarray(rounded.astype(np.uint8))


def _along_first(values: npt.NDArray[np.generic], size: int) -> Float32:
    """Return values (n, m, 3) as float32 (size, m, 3)."""
    places, weights = _taps(len(values), size)
    flat = values.reshape(len(values), -1)
    result = np.empty((size, flat.shape[1]), np.float32)
    for start in range(0, size, _TOGETHER):
        part = slice(start, start + _TOGETHER)
        low, high = places[part].min(), places[part].max() + 1
        band = np.zeros((len(places[part]), high - low))
        # Mirrored pixels are met twice: their weights add up.
        np.add.at(band, (np.arange(len(band))[:, None], places[part] - low), weights[part])
        np.matmul(band.astype(np.float32), flat[low:high].astype(np.float32), out=result[part])
    return result.reshape(size, *values.shape[1:])


def _taps(before: int, after: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return which pixels of an axis each pixel of the result is made of, (after, k), and their weights."""
    deviation = max(0.0, (before / after - 1) / 2)
    radius = int(_TRUNCATE * deviation + 0.5)
    offsets = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 * (offsets / deviation) ** 2) if deviation > 0 else np.ones(1)
    bell /= bell.sum()
    centres = (np.arange(after) + 0.5) * (before / after) - 0.5
    first = np.floor(centres).astype(np.int64)
    share = (centres - first)[:, None]
    # Between two blurred pixels: two bells, one pixel apart.
    weights = (1 - share) * np.append(bell, 0.0) + share * np.append(0.0, bell)
    places = first[:, None] + np.arange(-radius, radius + 2)
    return _mirrored(places, before), weights


def _mirrored(places: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Return places within an axis: d c b | a b c d | c b a."""
    if size == 1:
        return np.zeros_like(places)
    turned: npt.NDArray[np.int64] = np.abs(places) % (2 * (size - 1))
    return np.minimum(turned, 2 * (size - 1) - turned)
