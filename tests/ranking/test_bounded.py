"""The search by codes gives what brute force in float64 gives, whatever the vectors are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.ranking import bounded, exhaustive, kernels
from image_similarity.ranking.codes import encode
from tests.ranking.hostile import KINDS, Half, distances, make

CASES = given(
    st.sampled_from(KINDS),
    st.integers(1, 120),
    st.integers(1, 70),
    st.integers(1, 15),
    st.booleans(),
    st.integers(0, 2**32),
)


def posed(kind: str, n: int, dim: int, seed: int, *, stored: bool) -> tuple[Half, Half]:
    """Vectors and a query: one of them, or another of the same kind."""
    vectors = make(kind, n + 1, dim, seed)
    return vectors[: n + stored], vectors[n]


@pytest.fixture(params=["simsimd", "numpy"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "_library", lambda name: None)
    else:
        pytest.importorskip("simsimd")


@settings(max_examples=200, deadline=None)
@CASES
def test_every_bound_holds(kind: str, n: int, dim: int, k: int, stored: bool, seed: int) -> None:
    vectors, query = posed(kind, n, dim, seed, stored=stored)
    truth, packed = distances(vectors, query), encode(vectors)
    rows = np.arange(len(vectors))
    for bounds in (
        bounded.bounds_of_codes(bounded.coded(packed), bounded.coded_query(query)),
        bounded.bounds_of_decoded(packed, rows, query),
        bounded.bounds_of_vectors(vectors, query),
        bounded.bounds_of_rows(vectors, query),
    ):
        assert (np.abs(truth - bounds.centre) <= bounds.radius * (1 + 1e-7) + 1e-300).all()


@settings(max_examples=200, deadline=None)
@CASES
def test_the_nearest_by_codes_are_those_of_brute_force(
    kind: str, n: int, dim: int, k: int, stored: bool, seed: int
) -> None:
    vectors, query = posed(kind, n, dim, seed, stored=stored)
    packed = encode(vectors)
    bounds = bounded.bounds_of_codes(bounded.coded(packed), bounded.coded_query(query))
    rows = bounded.within_reach(bounds, k, None)
    rows = rows[bounded.within_reach(bounded.bounds_of_decoded(packed, rows, query), k, None)]
    found = [(rows[row], far) for row, far in bounded.nearest(vectors[rows], query, k, None)]
    exact = [exhaustive.exact_distance(vector, query) for vector in vectors]
    limit = sorted(exact)[min(k, len(exact)) - 1]
    expected = [(row, far) for row, far in enumerate(exact) if far <= limit]
    assert set(expected) <= set(found)
    assert all(exact[row] == far for row, far in found)


@settings(max_examples=100, deadline=None)
@CASES
def test_those_nearer_than_a_distance_are_counted_exactly(
    kind: str, n: int, dim: int, k: int, stored: bool, seed: int
) -> None:
    vectors, query = posed(kind, n, dim, seed, stored=stored)
    exact = [exhaustive.exact_distance(vector, query) for vector in vectors]
    packed = encode(vectors)
    bounds = bounded.bounds_of_codes(bounded.coded(packed), bounded.coded_query(query))
    for border in {exact[0], sorted(exact)[len(exact) // 2], 0.0, np.inf}:
        sure, unsure = bounded.split_at(bounds, border)
        counted = sure + bounded.count_nearer(vectors[unsure], query, border)
        assert counted == sum(far < border for far in exact)


def test_few_of_many_must_be_looked_at() -> None:
    """What makes it fast: of clustered vectors nearly all are excluded by their codes."""
    random = np.random.default_rng(5)
    centres = random.standard_normal((500, 64))
    vectors = centres[random.integers(500, size=20_000)] + 0.8 * random.standard_normal(
        (20_000, 64)
    )
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    packed = encode(vectors)
    bounds = bounded.bounds_of_codes(bounded.coded(packed), bounded.coded_query(vectors[7]))
    rows = bounded.within_reach(bounds, 10, None)
    closer = bounded.bounds_of_decoded(packed, rows, vectors[7])
    assert len(rows) < 200
    assert len(bounded.within_reach(closer, 10, None)) < 60


def test_the_limit_of_many_values_is_close_and_never_too_small() -> None:
    values = np.random.default_rng(2).random(300_000, dtype=np.float32)
    smallest = np.sort(values)
    for k in (1, 5, 100, 5_000):
        limit = bounded.smallest_limit(values, k)
        assert smallest[k - 1] <= limit <= smallest[min(len(values) - 1, 2 * k + 5)]


def test_vectors_that_are_not_numbers_are_never_near() -> None:
    vectors = make("random", 5, 8, 1)
    vectors[2, 3] = np.nan
    vectors[4, 0] = np.inf
    with np.errstate(invalid="ignore"):
        bounds = bounded.bounds_of_vectors(vectors, vectors[0])
        assert bounded.within_reach(bounds, 5, None).tolist() == [0, 1, 3]
        assert [row for row, _ in bounded.nearest(vectors, vectors[0], 5, None)] == [0, 1, 3]
    broken = bounded.coded_query(vectors[2])
    packed = encode(vectors[[0, 1, 3]])
    assert not len(
        bounded.within_reach(bounded.bounds_of_codes(bounded.coded(packed), broken), 2, None)
    )


def test_a_maximum_distance_bounds_the_rows_too() -> None:
    vectors = make("random", 50, 8, 1)
    truth = np.array([exhaustive.exact_distance(each, vectors[0]) for each in vectors])
    border = float(np.sort(truth)[9])
    found = bounded.nearest(vectors, vectors[0], 50, border)
    assert [row for row, _ in found] == np.flatnonzero(truth <= border).tolist()
