"""How many unrelated pictures are expected as close as a hit: true on pictures apart, and monotone."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.calibration.reference import measure_distances
from image_similarity.calibration.strength import (
    COHORT,
    LEAST_COHORT,
    Cohort,
    cohort_of,
    expected_false,
)
from image_similarity.calibration.tail import measure_tail
from image_similarity.values import DISTANCE_STEPS, TAIL_STEPS, DistanceTable

COUNTS = tuple(min(step, 150) for step in range(DISTANCE_STEPS + 1))


def table(tail: tuple[float, ...] = ()) -> DistanceTable:
    return DistanceTable("f" * 64, "made up", 300, COUNTS, COUNTS, tail)


def scenes_of(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of `count` pictures in 40 scenes, as (N, 32) and labels (N,); some pictures lie nearer to all others."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, 32))
    labels = random.integers(0, 40, count)
    vectors = 0.45 * centres[labels] + random.standard_normal((count, 32))
    vectors[:, 0] += random.gamma(2.0, 0.7, count)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


@cache
def reference() -> DistanceTable:
    vectors, labels = scenes_of(1200, seed=1)
    return measure_distances(vectors, labels, fingerprint="f" * 64, made_on="made up")


@pytest.mark.parametrize("wanted", [0.3, 1.0, 3.0, 10.0, 30.0])
def test_what_is_expected_is_within_a_factor_of_two_of_what_is_seen_in_a_case_apart(
    wanted: float,
) -> None:
    case, scenes = scenes_of(1500, seed=2)
    random = np.random.default_rng(3)
    seen = []
    for query in range(120):
        distances = np.linalg.norm(case - case[query], axis=1)
        others = np.delete(np.arange(len(case)), query)
        cohort = cohort_of(distances[random.choice(others, 500, replace=False)])
        nearest = np.sort(distances[others])[:200]
        within = [
            d for d in nearest if expected_false(reference(), cohort, d, len(others)) <= wanted
        ]
        unrelated = scenes != scenes[query]
        seen.append(np.count_nonzero(unrelated & (distances <= max(within, default=0.0))))
    assert wanted / 2 <= np.mean(seen) <= wanted * 2


@given(
    st.lists(st.floats(0.0, 2.0), min_size=2, max_size=20),
    st.floats(-0.8, 0.9),
    st.floats(0.01, 1.0),
    st.booleans(),
)
def test_it_never_falls_as_the_distance_grows(
    distances: list[float], mean: float, spread: float, with_cohort: bool
) -> None:
    cohort = Cohort(1000, mean, spread) if with_cohort else None
    found = [expected_false(reference(), cohort, d, 10_000) for d in sorted(distances)]
    assert found == sorted(found)
    assert all(0 <= each <= 10_000 for each in found)


@given(st.lists(st.floats(-9, 9), min_size=TAIL_STEPS, max_size=TAIL_STEPS).map(sorted))
def test_any_tail_that_a_file_may_hold_gives_numbers_that_never_fall(tail: list[float]) -> None:
    cohort = Cohort(1000, 0.0, 0.2)
    found = [
        expected_false(table(tuple(tail)), cohort, d / 100, 1000) for d in range(DISTANCE_STEPS)
    ]
    assert found == sorted(found)
    assert all(0 <= each <= 1000 for each in found)


def test_the_same_vector_is_expected_of_no_unrelated_picture() -> None:
    assert expected_false(reference(), Cohort(1000, 0.0, 0.2), 0.0, 10**9) == 0.0


def test_without_a_cohort_it_is_the_upper_end_of_the_tables_interval() -> None:
    assert expected_false(table(), None, 0.0, 1000) == pytest.approx(1000 * 3 / 150)
    assert expected_false(table(), None, 2.0, 1000) == pytest.approx(1000)
    assert expected_false(table(), Cohort(1000, 0, 1), 0.0, 1000) == pytest.approx(1000 * 3 / 150)


@pytest.mark.parametrize("distance", [-0.1, float("nan")])
def test_what_is_no_distance_is_refused(distance: float) -> None:
    with pytest.raises(ValueError, match="is no distance"):
        expected_false(reference(), None, distance, 10)


def test_a_cohort_needs_enough_pictures_that_differ() -> None:
    assert cohort_of(np.linspace(0.5, 1.5, LEAST_COHORT - 1)) is None
    assert cohort_of(np.full(COHORT, 1.2)) is None
    assert cohort_of(np.append(np.full(LEAST_COHORT, 1.2), np.nan)) is None
    found = cohort_of(np.linspace(0.5, 1.5, COHORT))
    assert found is not None and found.count == COHORT


def test_many_versions_of_the_query_in_its_cohort_hardly_change_what_is_expected() -> None:
    case, _ = scenes_of(1000, seed=5)
    distances = np.linalg.norm(case[1:] - case[0], axis=1)
    copies = np.concatenate([np.full(100, 1e-6), distances])
    plain, burst = cohort_of(distances), cohort_of(copies)
    near = float(np.sort(distances)[2])
    one, other = (expected_false(reference(), each, near, 1000) for each in (plain, burst))
    assert one / 2 <= other <= one * 2


def test_a_tail_needs_enough_pictures() -> None:
    vectors, labels = scenes_of(900, seed=1)
    assert measure_tail(vectors, labels) == ()
    tail = reference().tail
    assert len(tail) == TAIL_STEPS
    assert list(tail) == sorted(tail)
    assert measure_tail(*scenes_of(1200, seed=1)) == tail, "nothing in it is left to chance"
