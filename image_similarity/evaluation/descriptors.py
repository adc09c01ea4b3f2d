"""Descriptors that nobody trained, to compare networks with: a colour histogram and the PDQ hash."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image_similarity.matching import pdq

# Hue, saturation and value.
_BINS = (8, 4, 4)


def colour_histograms(pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Return joint HSV histograms of RGB pictures as unit vectors, float32 (N, 128).

    Swain and Ballard, "Color indexing" (IJCV 1991). Square roots are stored, so that the inner product is the
    Bhattacharyya coefficient of two histograms (Arandjelović and Zisserman, CVPR 2012).
    """
    return np.stack([_histogram(picture) for picture in pictures])


def _histogram(picture: Image.Image) -> NDArray[np.float32]:
    # A histogram needs no more; a photograph of 12 megapixels would take a second.
    small = picture.resize(
        (min(picture.width, 256), min(picture.height, 256)), Image.Resampling.BOX
    )
    pixels = np.asarray(small.convert("HSV"), dtype=np.int64).reshape(-1, 3)
    hue, saturation, value = (pixels[:, each] * _BINS[each] // 256 for each in range(3))
    cell = (hue * _BINS[1] + saturation) * _BINS[2] + value
    counts = np.bincount(cell, minlength=int(np.prod(_BINS)))
    roots: NDArray[np.float32] = np.sqrt(counts / counts.sum()).astype(np.float32)
    return roots


def pdq_hashes(pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Return the 256 bits of the PDQ hash of RGB pictures as +1/16 and -1/16, float32 (N, 256).

    So they are unit vectors, and their inner product is 1 - Hamming distance / 128: the order is that of Hamming.
    PDQ: Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm" (2019). One hash a
    picture: those of its turned and mirrored versions, which PDQ can also give, are not asked.

    Raises:
        ExtraMissing: pdqhash is not installed.
    """
    pdq.require()
    import pdqhash

    bits = np.stack([pdqhash.compute(np.asarray(picture))[0] for picture in pictures])
    return ((bits.astype(np.float32) * 2 - 1) / 16).astype(np.float32)
