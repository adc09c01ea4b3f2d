"""Local features of two pictures, and how many of them one geometry explains: the same things from another angle.

SIFT (Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004), compared as RootSIFT (Arandjelović
and Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012), matched one to one with
Lowe's ratio test, then a fundamental matrix and a homography fitted by MAGSAC++ (Barath, Noskova, Ivashechkin and
Matas, CVPR 2020), all as OpenCV has them. No weights, no randomness: the same two pictures always give the same count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from image_similarity.errors import ExtraMissing
from image_similarity.values import Preprocess

Floats = npt.NDArray[np.float32]

# Pictures are reduced to a long side of 1,024 pixels, and the strongest 2,000 features are kept: more costs more time
# than it finds.
PREPROCESS = Preprocess(1024, "within", decode_scale=1)
MOST_FEATURES = 2000
# Lowe's: the nearest descriptor must be this much nearer than the second nearest.
RATIO = 0.8
# A homography through 4 pairs and a fundamental matrix through 7 fit always. Fewer pairs than this say nothing.
FEWEST_MATCHES = 15
# How far a point may lie from where the geometry puts it, in pixels of the reduced picture.
_HOMOGRAPHY_PIXELS, _EPIPOLAR_PIXELS = 3.0, 1.5
_CONFIDENCE, _MOST_TRIALS = 0.999, 5000


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of a picture: points float32 (n, 2), x and y in pixels of it as reduced, descriptors float32 (n, 128).

    `width` and `height` are those of the reduced picture. Descriptors are unit vectors.
    """

    points: Floats
    descriptors: Floats
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """What two pictures have in common: points float32 (m, 2) in each that the better of two geometries explains.

    `matches` counts the pairs that look alike before any geometry.
    """

    one: Floats
    other: Floats
    matches: int
    geometry: Literal["fundamental matrix", "homography", "none"]

    @property
    def inliers(self) -> int:
        """How many pairs the geometry explains."""
        return len(self.one)


def require() -> None:
    """Refuse to go on without OpenCV.

    Raises:
        ExtraMissing: It is not installed.
    """
    _opencv()


@cache
def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ExtraMissing(
            "the geometric check needs OpenCV, which is not installed",
            hint='pip install "image_similarity[match]"',
        ) from error
    # Pictures are checked side by side, each in a thread.
    cv2.setNumThreads(1)
    return cv2


def features(pixels: npt.NDArray[np.uint8]) -> Features:
    """Give the strongest features of an upright RGB picture that went through `PREPROCESS`, uint8 (h, w, 3).

    Raises:
        ExtraMissing: OpenCV is not installed.
    """
    cv2 = _opencv()
    height, width = pixels.shape[:2]
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    keypoints, found = cv2.SIFT_create(nfeatures=MOST_FEATURES).detectAndCompute(grey, None)
    if found is None or not len(keypoints):
        empty = np.empty((0, 2), np.float32)
        return Features(empty, np.empty((0, 128), np.float32), width, height)
    sums = np.maximum(found.sum(axis=1, keepdims=True), 1e-12)
    points = np.array([keypoint.pt for keypoint in keypoints], dtype=np.float32)
    return Features(points, np.sqrt(found / sums).astype(np.float32), width, height)


def compare(one: Features, other: Features) -> Match:
    """Match two pictures and count what one geometry explains.

    Raises:
        ExtraMissing: OpenCV is not installed.
    """
    rows, columns = _mutual(one.descriptors, other.descriptors)
    here, there = _distinct(one.points[rows], other.points[columns])
    nothing = np.zeros(len(here), dtype=np.bool_)
    if len(here) < FEWEST_MATCHES:
        return Match(here[nothing], there[nothing], len(here), "none")
    flat, deep = _plane(here, there), _space(here, there)
    if max(flat.sum(), deep.sum()) == 0:
        return Match(here[nothing], there[nothing], len(here), "none")
    if flat.sum() >= deep.sum():
        return Match(here[flat], there[flat], len(here), "homography")
    return Match(here[deep], there[deep], len(here), "fundamental matrix")


def _plane(here: Floats, there: Floats) -> npt.NDArray[np.bool_]:
    """Which pairs the best homography explains."""
    cv2 = _opencv()
    trials = {"confidence": _CONFIDENCE, "maxIters": _MOST_TRIALS}

    def fit() -> Any:
        return cv2.findHomography(here, there, cv2.USAC_MAGSAC, _HOMOGRAPHY_PIXELS, **trials)

    return _explained(fit, len(here))


def _space(here: Floats, there: Floats) -> npt.NDArray[np.bool_]:
    """Which pairs the best fundamental matrix explains."""
    cv2 = _opencv()

    def fit() -> Any:
        return cv2.findFundamentalMat(
            here, there, cv2.USAC_MAGSAC, _EPIPOLAR_PIXELS, _CONFIDENCE, _MOST_TRIALS
        )

    return _explained(fit, len(here))


def _explained(fit: Callable[[], Any], count: int) -> npt.NDArray[np.bool_]:
    try:
        mask = fit()[1]
    except _opencv().error:
        # OpenCV gives up so, and not with an empty mask, where every sample of the pairs is degenerate.
        mask = None
    return np.zeros(count, dtype=np.bool_) if mask is None else mask.ravel().astype(np.bool_)


def _mutual(one: Floats, other: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows of each that are nearest to each other, and much nearer than the second nearest."""
    if len(one) < 2 or len(other) < 2:
        empty = np.empty(0, dtype=np.intp)
        return empty, empty
    alike = one @ other.T
    rows = np.arange(len(one))
    nearest, back = alike.argmax(axis=1), alike.argmax(axis=0)
    best = alike[rows, nearest]
    alike[rows, nearest] = -1.0
    # Of unit vectors: the squared distance is 2 - 2 * product.
    second = 2.0 - 2.0 * alike.max(axis=1)
    kept = (back[nearest] == rows) & (2.0 - 2.0 * best <= RATIO**2 * second)
    return rows[kept], nearest[kept]


def _distinct(here: Floats, there: Floats) -> tuple[Floats, Floats]:
    """One pair for each pair of places: a point with several orientations would count several times."""
    places = np.rint(np.hstack([here, there]))
    _, kept = np.unique(places, axis=0, return_index=True)
    kept.sort()
    return here[kept], there[kept]
