"""The nearest of every vector are those of comparing all pairs in float64, whatever the vectors are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from image_similarity.ranking import batched, exhaustive, kernels
from image_similarity.ranking.neighbours import Ids, Near, Neighbourhood
from tests.ranking.hostile import KINDS, Half, make


@pytest.fixture(params=["whole numbers", "float32"], autouse=True)
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it holds with ONNX Runtime's product of whole numbers and without it."""
    if request.param == "float32":
        monkeypatch.setattr(kernels, "integer_product", lambda dim: None)


def brute_force(vectors: Half, groups: Ids, count: int) -> Near:
    """All pairs, one by one, ties by number."""
    numbers = np.full((len(vectors), count), -1)
    distances = np.full((len(vectors), count), np.nan)
    for row, query in enumerate(vectors):
        others = [
            (exhaustive.exact_distance(vectors[other], query), other)
            for other in range(len(vectors))
            if other != row and groups[other] == groups[row] >= 0
        ]
        for rank, (distance, other) in enumerate(sorted(others)[:count]):
            numbers[row, rank], distances[row, rank] = other, distance
    return numbers, distances


def assert_same(search: Neighbourhood, found: Near, expected: Near) -> None:
    assert (found[0] == expected[0][search.order]).all()
    np.testing.assert_array_equal(found[1], expected[1][search.order])


# The fixture is the same for all examples of a test.
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(KINDS),
    st.integers(1, 60),
    st.integers(1, 20),
    st.integers(1, 8),
    st.integers(1, 4),
    st.integers(0, 2**32),
)
@example("duplicates", 60, 4, 3, 1, 0)
def test_they_are_those_of_all_pairs_ties_by_number(
    kind: str, n: int, dim: int, count: int, groups: int, seed: int
) -> None:
    vectors = make(kind, n, dim, seed)
    group = np.random.default_rng(seed).integers(-1 if groups > 1 else 0, groups, size=n)
    search = Neighbourhood(vectors, group, count)
    expected = brute_force(vectors, group, count)
    assert_same(search, search.nearest(np.arange(n)), expected)


def test_many_in_several_batches_and_blocks_are_the_same() -> None:
    vectors = make("normalised", 2 * batched.BLOCK_ROWS + 70, 8, 3)
    search = Neighbourhood(vectors, np.zeros(len(vectors), np.int64), 4)
    places = np.arange(0, len(vectors), 11)
    numbers, distances = search.nearest(places)
    for place, near, far in zip(places, numbers, distances, strict=True):
        own = search.order[place]
        exact = exhaustive.exact_distances(vectors, vectors[own])
        exact[own] = np.inf
        assert near.tolist() == np.argsort(exact, kind="stable")[:4].tolist()
        assert far.tolist() == np.sort(exact)[:4].tolist()


def test_what_is_no_number_is_near_to_nothing() -> None:
    vectors = make("normalised", 6, 4, 1)
    vectors[2, 1] = np.nan
    groups = np.where(np.isfinite(vectors).all(axis=1), 0, -1)
    search = Neighbourhood(vectors, groups, 4)
    numbers, distances = search.nearest(search.place)
    assert numbers[2].tolist() == [-1] * 4
    assert np.isnan(distances[2]).all()
    assert not (numbers == 2).any()
    assert (np.delete(numbers, 2, axis=0) >= 0).all()


def test_a_thousand_equal_vectors_are_each_others_neighbours_in_order() -> None:
    vectors = np.concatenate([make("normalised", 5, 8, 1), np.full((1000, 8), 0.25, np.float16)])
    search = Neighbourhood(vectors, np.zeros(len(vectors), np.int64), 3)
    numbers, distances = search.nearest(search.place)
    assert numbers[5].tolist() == [6, 7, 8]
    assert numbers[7].tolist() == [5, 6, 8]
    assert numbers[1004].tolist() == [5, 6, 7]
    assert (distances[5:] == 0).all()


def test_only_what_is_offered_is_compared_unless_it_is_too_little() -> None:
    vectors = make("normalised", 50, 8, 2)
    groups = np.zeros(50, np.int64)
    search = Neighbourhood(vectors, groups, 2)
    asked: list[int] = []

    def offer(queries: Half) -> Ids:
        asked.append(len(queries))
        return np.tile(np.array([0, 1, 2, 3, 4, 5, 6, -1]), (len(queries), 1))

    numbers, _ = search.nearest(np.arange(50), offer)
    assert asked == [50]
    assert set(numbers.ravel()) <= set(range(7))
    few = search.nearest(np.arange(50), lambda queries: offer(queries)[:, :5])
    assert_same(search, few, brute_force(vectors, groups, 2))
