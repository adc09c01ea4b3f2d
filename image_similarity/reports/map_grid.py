"""Where the pictures of a map are drawn: a cell for each, near its position, so that none covers another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Cells for each picture: with twice as many as pictures, groups keep a gap between them.
ROOM = 2.0
# How far positions are spread evenly, from 0 (as they are) to 1 (by their ranks): crowds get room, emptiness is cut.
_EVEN = 0.4
# A map is at most this many times as wide as high, or as high as wide.
_LONGEST = 2.0
# Cells looked at first, and then twice as many at a time.
_NEAR = 32


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """`columns` x `rows` cells, and each picture's own: `cells` int32 (n, 2), column and row; no two are alike."""

    columns: int
    rows: int
    cells: npt.NDArray[np.int32]


def grid_of(xy: npt.ArrayLike) -> Grid:
    """Give each position a cell of its own: the free one that is nearest, those in the middle of the map first.

    The same positions give the same cells. Empty margins are cut off.

    Args:
        xy: Finite positions (n, 2), n at least 1; y grows upwards, rows count downwards.
    """
    points = np.asarray(xy, dtype=np.float64) * (1.0, -1.0)
    columns, rows = _shape(points)
    wanted = _spread(points) * (columns - 1, rows - 1)
    taken = _places(wanted, columns, rows)
    taken -= taken.min(axis=0)
    width, height = (taken.max(axis=0) + 1).tolist()
    return Grid(width, height, taken)


def cells_for(count: int) -> int:
    """About how many cells a grid for so many pictures has, at most."""
    return math.ceil(ROOM * count + 2 * math.sqrt(_LONGEST * ROOM * count)) + 1


def _shape(points: npt.NDArray[np.float64]) -> tuple[int, int]:
    wide, high = np.ptp(points, axis=0)
    aspect = min(_LONGEST, max(1 / _LONGEST, wide / high if wide and high else 1.0))
    columns = math.ceil(math.sqrt(ROOM * len(points) * aspect))
    return columns, math.ceil(ROOM * len(points) / columns)


def _spread(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Positions in [0, 1], between as they are and evenly by rank; equal ones stay equal."""
    result = np.empty_like(points)
    for axis in (0, 1):
        values = points[:, axis]
        extent = np.ptp(values) or 1.0
        ordered = np.sort(values)
        rank = np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")
        even = (rank - 1) / max(1, 2 * (len(values) - 1))
        result[:, axis] = (1 - _EVEN) * (values - values.min()) / extent + _EVEN * even
    return result


def _places(wanted: npt.NDArray[np.float64], columns: int, rows: int) -> npt.NDArray[np.int32]:
    steps = _steps(columns, rows)
    free = np.ones((rows, columns), dtype=np.bool_)
    cells = np.empty((len(wanted), 2), dtype=np.int32)
    middle = np.square(wanted - wanted.mean(axis=0)).sum(axis=1)
    for number in np.argsort(middle, kind="stable").tolist():
        cells[number] = _nearest_free(free, np.rint(wanted[number]).astype(np.int32), steps)
    return cells


def _steps(columns: int, rows: int) -> npt.NDArray[np.int32]:
    """All steps (column, row) within a grid of this size, the shortest first."""
    across, down = np.meshgrid(
        np.arange(-columns + 1, columns, dtype=np.int32),
        np.arange(-rows + 1, rows, dtype=np.int32),
    )
    steps = np.stack([across.ravel(), down.ravel()], axis=1)
    return steps[np.argsort(np.square(steps).sum(axis=1), kind="stable")]


def _nearest_free(
    free: npt.NDArray[np.bool_], cell: npt.NDArray[np.int32], steps: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    rows, columns = free.shape
    start, size = 0, _NEAR
    while True:
        tried = cell + steps[start : start + size]
        inside = (tried >= 0).all(axis=1) & (tried[:, 0] < columns) & (tried[:, 1] < rows)
        tried = tried[inside]
        open_ = np.flatnonzero(free[tried[:, 1], tried[:, 0]])
        if len(open_):
            found: npt.NDArray[np.int32] = tried[open_[0]]
            free[found[1], found[0]] = False
            return found
        # There are more cells than pictures, so one is free.
        start, size = start + size, 2 * size
