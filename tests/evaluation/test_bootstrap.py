"""Intervals hold the value, repeat with the seed, and know what they resample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.evaluation.bootstrap import differences, figures, gains
from image_similarity.evaluation.measures import Outcomes


def retrieval(values: np.ndarray, groups: np.ndarray | None = None) -> Outcomes:
    names = ("recall@1", "recall@5", "recall@10", "precision@5", "mAP@R")
    queries = tuple(f"picture {number}" for number in range(len(values)))
    numbers = np.arange(len(values)) if groups is None else groups
    columns = {name: values.astype(float) for name in names}
    return Outcomes("retrieval", "retrieval", queries, numbers, columns)


def copies(random: np.random.Generator, count: int) -> Outcomes:
    matched = (random.random(count) < 0.7).astype(float)
    correct = matched * (random.random(count) < 0.8)
    columns = {"score": random.random(count), "correct": correct, "matched": matched}
    columns["edit: mirror"] = (np.arange(count) % 2).astype(float)
    queries = tuple(map(str, range(count)))
    return Outcomes("copies easy", "copies", queries, np.arange(count) // 3, columns)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 60))
def test_the_interval_contains_the_value(seed: int, count: int) -> None:
    outcomes = copies(np.random.default_rng(seed), count)
    for figure in figures(outcomes, resamples=50, seed=1):
        if figure.value is not None:
            assert figure.low is not None and figure.high is not None
            assert 0 <= figure.low <= figure.value <= figure.high <= 1 + 1e-12


def test_every_resample_counts_also_those_without_the_best_answer() -> None:
    """With one wrong answer at the top, the low end is what is found where it is drawn, the high end where not."""
    count = 40
    correct = np.array([0.0] + [1.0] * (count - 1))
    columns = {"score": np.linspace(1, 0.1, count), "correct": correct, "matched": correct}
    outcomes = Outcomes("pairs", "pairs", tuple(map(str, range(count))), np.arange(count), columns)
    found = figures(outcomes, resamples=400, seed=1)[0]
    assert found.value is not None and found.value < 0.93
    assert found.high == 1.0


def test_a_pooled_measure_without_a_mistake_is_no_proof_of_100_per_cent() -> None:
    """Only the groups that have a match bear the bound: 20 of these 30 photographs."""
    matched = (np.arange(90) < 60).astype(float)
    columns = {"score": matched - np.arange(90) / 1000, "correct": matched, "matched": matched}
    queries = tuple(map(str, range(90)))
    outcomes = Outcomes("copies easy", "copies", queries, np.arange(90) // 3, columns)
    for each in figures(outcomes, resamples=50, seed=1):
        assert (each.value, each.high) == (1.0, 1.0)
        assert each.low == pytest.approx(0.025 ** (1 / 20))


def test_one_group_says_nothing_of_others() -> None:
    found = figures(retrieval(np.array([1.0, 0, 0]), np.zeros(3, int)), resamples=50, seed=1)[0]
    assert (found.value, found.low, found.high) == (pytest.approx(1 / 3), 0.0, 1.0)


def test_the_same_seed_gives_the_same_intervals() -> None:
    outcomes = copies(np.random.default_rng(3), 40)
    assert figures(outcomes, resamples=80, seed=2) == figures(outcomes, resamples=80, seed=2)


def test_the_interval_is_that_of_the_normal_approximation_where_that_holds() -> None:
    values = np.array([1.0] * 700 + [0.0] * 300)
    first = figures(retrieval(values), resamples=2000, seed=1)[0]
    half = 1.96 * (0.7 * 0.3 / 1000) ** 0.5
    assert first.value == pytest.approx(0.7)
    assert first.low == pytest.approx(0.7 - half, abs=0.004)
    assert first.high == pytest.approx(0.7 + half, abs=0.004)


def test_queries_of_one_photograph_are_resampled_together() -> None:
    values = np.repeat(np.array([1.0, 0.0] * 10), 30)
    alone = figures(retrieval(values), resamples=500, seed=1)[0]
    together = figures(retrieval(values, np.arange(600) // 30), resamples=500, seed=1)[0]
    assert together.groups == 20
    assert together.high - together.low > 3 * (alone.high - alone.low)  # type: ignore[operator]


def test_all_right_is_no_proof_of_100_per_cent() -> None:
    first = figures(retrieval(np.ones(60)), resamples=50, seed=1)[0]
    assert (first.value, first.high) == (1.0, 1.0)
    assert first.low == pytest.approx(0.025 ** (1 / 60))
    none = figures(retrieval(np.zeros(60)), resamples=50, seed=1)[0]
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 60))


def test_a_measure_without_queries_has_no_value() -> None:
    outcomes = copies(np.random.default_rng(3), 40)
    outcomes.columns["matched"][:] = 0
    assert {each.value for each in figures(outcomes, resamples=10, seed=1)} == {None}


def test_a_model_does_not_differ_from_itself() -> None:
    outcomes = copies(np.random.default_rng(5), 30)
    for each in differences(outcomes, outcomes, resamples=100, seed=1):
        assert (each.difference, each.low, each.high) == (0, 0, 0)
        assert each.p in (None, 1.0)
        assert each.won in (None, 0)


def test_won_lost_and_p_say_how_two_models_differ() -> None:
    first, second = np.zeros(20), np.zeros(20)
    second[:9], first[9] = 1, 1
    found = differences(retrieval(first), retrieval(second), resamples=2000, seed=1)[0]
    assert (found.won, found.lost, found.tied) == (9, 1, 10)
    assert found.difference == pytest.approx(0.4)
    # Of 10 signs, 9 or 10 equal: 22 of 1,024.
    assert found.p == pytest.approx(22 / 1024, abs=0.01)
    assert found.low is not None and found.low > 0


def test_the_sign_of_a_gain_is_that_of_the_better_model_also_where_less_is_better() -> None:
    def lost(values: list[float]) -> Outcomes:
        columns = {"auto loses": np.array(values)}
        return Outcomes("scene filter easy", "scene filter", ("a", "b"), np.arange(2), columns)

    assert gains(lost([1, 0]), lost([0, 0])).tolist() == [1, 0]
    found = differences(lost([1, 0]), lost([0, 0]), resamples=20, seed=1)[0]
    assert (found.won, found.lost, found.difference) == (1, 0, -0.5)
