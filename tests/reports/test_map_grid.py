"""Cells for the pictures of a map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from image_similarity.reports import map_grid

# Many equal and nearly equal values, and very far ones.
NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e12, -1e12]) | st.floats(-100, 100, width=32)


@settings(deadline=None)
@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 60), st.just(2)), elements=NUMBERS))
def test_every_picture_has_a_cell_of_its_own_within_the_grid(xy: np.ndarray) -> None:
    grid = map_grid.grid_of(xy)
    cells = [tuple(cell) for cell in grid.cells.tolist()]
    assert len(set(cells)) == len(cells) == len(xy)
    assert all(0 <= column < grid.columns and 0 <= row < grid.rows for column, row in cells)
    assert grid.columns * grid.rows <= map_grid.cells_for(len(xy))


@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_pictures_at_one_position_lie_side_by_side(count: int) -> None:
    grid = map_grid.grid_of(np.ones((count, 2)))
    assert len({tuple(cell) for cell in grid.cells.tolist()}) == count
    assert max(grid.columns, grid.rows) <= 2 * np.ceil(np.sqrt(count))


def test_neighbours_stay_neighbours_and_up_is_up() -> None:
    random = np.random.default_rng(0)
    corners = np.array([(0, 0), (10, 0), (0, 10), (10, 10)])
    xy = corners[np.arange(80) % 4] + random.standard_normal((80, 2))
    cells = map_grid.grid_of(xy).cells
    middles = np.array([cells[number::4].mean(axis=0) for number in range(4)])
    (left, bottom), (right, _), (_, top), _ = middles
    assert left < right
    assert top < bottom, "rows count downwards"
    nearest = np.square(cells[:, None] - middles[None]).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(80) % 4).all()


def test_the_same_positions_give_the_same_cells() -> None:
    xy = np.random.default_rng(1).standard_normal((300, 2))
    assert (map_grid.grid_of(xy).cells == map_grid.grid_of(xy.copy()).cells).all()


def test_most_pictures_are_near_where_they_belong() -> None:
    xy = np.random.default_rng(2).uniform(size=(1000, 2))
    grid = map_grid.grid_of(xy)
    wanted = np.stack([xy[:, 0] * (grid.columns - 1), (1 - xy[:, 1]) * (grid.rows - 1)], axis=1)
    moved = np.sqrt(np.square(grid.cells - wanted).sum(axis=1))
    assert np.median(moved) < 1.5
    assert moved.max() < 8
