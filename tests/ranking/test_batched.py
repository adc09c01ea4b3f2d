"""Many queries in one product keep for each what a scan of its own would keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_similarity.ranking import batched, bounded, kernels
from image_similarity.ranking.codes import encode
from tests.ranking.hostile import KINDS, distances, make


@pytest.fixture(params=["whole numbers", "float32"], autouse=True)
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it holds with ONNX Runtime's product of whole numbers and without it."""
    if request.param == "float32":
        monkeypatch.setattr(kernels, "integer_product", lambda dim: None)


# The fixture is the same for all examples of a test.
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(KINDS),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(0, 2**32),
)
def test_whatever_may_lie_within_the_limit_is_kept_with_bounds_that_hold(
    kind: str, packed: int, loose: int, dim: int, queries: int, seed: int
) -> None:
    vectors = make(kind, packed + loose + queries, dim, seed)
    asked, stored = vectors[:queries], vectors[queries:]
    codes = bounded.coded(encode(stored[:packed])) if packed else None
    truth = np.array([distances(stored, query) for query in asked]).reshape(queries, -1)
    limits = [float(np.median(row)) if len(row) else 1.0 for row in truth]
    limits[0] = np.inf
    found = batched.within_limits(codes, stored[packed:], asked, limits)
    for row, limit, (rows, bounds) in zip(truth, limits, found, strict=True):
        assert set(np.flatnonzero(row <= limit)) <= set(rows.tolist())
        assert (np.diff(rows) > 0).all()
        assert (np.abs(row[rows] - bounds.centre) <= bounds.radius * (1 + 1e-7)).all()


def test_blocks_join_without_a_seam() -> None:
    vectors = make("normalised", 3 * batched.BLOCK_ROWS + 5, 8, 1)
    codes = bounded.coded(encode(vectors[: batched.BLOCK_ROWS + 3]))
    found = batched.within_limits(codes, vectors[batched.BLOCK_ROWS + 3 :], vectors[:2], [0.3, 0.5])
    for query, limit, (rows, _) in zip(vectors[:2], [0.3, 0.5], found, strict=True):
        near = np.flatnonzero(distances(vectors, query) <= limit)
        assert set(near) <= set(rows.tolist())
        assert len(rows) < len(near) * 1.5


def test_what_is_no_number_is_kept_by_nobody() -> None:
    loose = make("random", 4, 3, 1)
    loose[1, 1] = np.nan
    loose[2, 0] = np.inf
    ((rows, _),) = batched.within_limits(None, loose, loose[:1], [1e30])
    assert rows.tolist() == [0, 3]


def test_a_first_limit_is_reached_by_as_many_as_asked() -> None:
    vectors = make("normalised", 3000, 16, 4)
    sample = bounded.coded(encode(vectors))
    passing = np.random.default_rng(1).random((3, 3000)) < np.array([[1.0], [0.1], [0.002]])
    limits = batched.first_limits(sample, vectors[:3], passing, 9)
    for query, mask, limit in zip(vectors[:3], passing, limits, strict=True):
        far = distances(vectors[mask], query)
        if mask.sum() < 9:
            assert limit == np.inf
        else:
            assert np.count_nonzero(far <= limit) >= 9
            assert limit < np.sort(far)[8] + 0.1
