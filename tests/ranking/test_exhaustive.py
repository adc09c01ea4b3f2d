"""The ranking is what a plain float64 comparison of every vector gives."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from image_similarity.ranking import bounded, exhaustive
from tests.ranking import hostile

GOLDEN = [
    "0x0.0p+0",
    "0x1.770e0d4f41c11p+0",
    "0x1.5a479ca9257a5p+0",
    "0x1.5e30f8833598bp+0",
    "0x1.7ad41d0516c88p+0",
    "0x1.68ec9d39e09d2p+0",
    "0x1.4537d69a21089p+0",
    "0x1.6571186afe48ep+0",
]


def unit_vectors(count: int, dim: int, seed: int) -> npt.NDArray[np.float16]:
    values = np.random.default_rng(seed).standard_normal((count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16)


def brute_force(vectors: npt.NDArray[np.float16], query: npt.NDArray[np.float16]) -> list[float]:
    return [
        math.sqrt(math.fsum((float(a) - float(b)) ** 2 for a, b in zip(row, query, strict=True)))
        for row in vectors
    ]


def test_the_distance_to_itself_is_exactly_zero() -> None:
    (vector,) = unit_vectors(1, 256, seed=1)
    assert exhaustive.exact_distance(vector, vector) == 0.0


@given(
    vectors=st_numpy.arrays(
        np.float16,
        st.tuples(st.integers(1, 40), st.just(8)),
        elements=st.floats(-1, 1, width=16),
    ),
    k=st.integers(1, 50),
    furthest=st.none() | st.floats(0, 3),
)
@settings(deadline=None)
def test_no_one_of_the_nearest_is_ever_missed(
    vectors: npt.NDArray[np.float16], k: int, furthest: float | None
) -> None:
    """Zero vectors, duplicates and ties included; the query is the first vector."""
    query = vectors[0]
    exact = brute_force(vectors, query)
    rows = bounded.within_reach(bounded.bounds_of_vectors(vectors, query), k, furthest)
    found = [(rows[at], far) for at, far in bounded.nearest(vectors[rows], query, k, furthest)]
    allowed = [d for d in exact if furthest is None or d <= furthest]
    border = sorted(allowed)[:k][-1] if allowed else -1.0
    wanted = {row for row, distance in enumerate(exact) if distance <= border}
    assert wanted <= {row for row, _ in found}
    assert all(exact[row] == far for row, far in found)


def test_the_float32_pass_is_near() -> None:
    vectors = unit_vectors(2000, 4096, seed=2)
    query = unit_vectors(1, 4096, seed=3)[0]
    squared = exhaustive.squared_distances(vectors, query)
    exact = np.array([exhaustive.exact_distance(vector, query) ** 2 for vector in vectors[:200]])
    assert np.abs(squared[:200] - exact).max() < 1e-5


def test_blocks_give_the_same_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit_vectors(100, 32, seed=4)
    whole = exhaustive.squared_distances(vectors, vectors[5])
    monkeypatch.setattr(exhaustive, "AT_ONCE", 7 * 32)
    blocked = exhaustive.squared_distances(vectors, vectors[5])
    assert np.abs(whole - blocked).max() < 1e-5


def test_those_nearer_than_a_hit_are_counted_exactly() -> None:
    vectors = unit_vectors(300, 64, seed=5)
    query = vectors[0]
    exact = brute_force(vectors, query)
    for distance in (0.0, sorted(exact)[10], sorted(exact)[150], math.inf):
        counted = bounded.count_nearer(vectors, query, distance)
        assert counted == sum(value < distance for value in exact)


def test_in_an_empty_gallery_nothing_is_near() -> None:
    empty, query = np.empty((0, 4), np.float16), np.ones(4, np.float16)
    bounds = bounded.bounds_of_vectors(empty, query)
    assert bounded.within_reach(bounds, 5, None).tolist() == []
    assert bounded.nearest(empty, query, 5, None) == []


@given(kind=st.sampled_from(hostile.KINDS), seed=st.integers(0, 2**32), dim=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_a_distance_does_not_depend_on_the_order_of_the_dimensions(
    kind: str, seed: int, dim: int
) -> None:
    vector, query = hostile.make(kind, 2, dim, seed)
    shuffled = np.random.default_rng(seed).permutation(dim)
    found = exhaustive.exact_distance(vector, query)
    assert found == exhaustive.exact_distance(vector[shuffled], query[shuffled])
    assert found == exhaustive.exact_distance(query, vector)


@given(seed=st.integers(0, 2**32), dim=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_the_square_of_a_distance_of_unit_vectors_is_the_true_one_rounded_once(
    seed: int, dim: int
) -> None:
    vector, query = hostile.make("normalised", 2, dim, seed)
    pairs = zip(vector.tolist(), query.tolist(), strict=True)
    true = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs)
    assert exhaustive.exact_distance(vector, query) == math.sqrt(float(true))


def test_distances_are_those_of_every_other_machine() -> None:
    """Bit by bit; the vectors come of SHA-256, so no generator of random numbers has a say in them."""
    data = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(64))
    vectors = (
        np.frombuffer(data, dtype=np.uint8).reshape(8, 256).astype(np.float64) - 127.5
    ) / 1200
    found = [
        exhaustive.exact_distance(row, vectors[0].astype(np.float16)).hex()
        for row in vectors.astype(np.float16)
    ]
    assert found == GOLDEN


@given(
    kind=st.sampled_from(hostile.KINDS),
    n=st.integers(1, 30),
    dim=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_many_distances_at_once_are_the_same_floats_as_one_by_one(
    kind: str, n: int, dim: int, seed: int
) -> None:
    vectors = hostile.make(kind, n, dim, seed)
    found = exhaustive.exact_distances(vectors, vectors[0]).tolist()
    assert found == [exhaustive.exact_distance(row, vectors[0]) for row in vectors]
