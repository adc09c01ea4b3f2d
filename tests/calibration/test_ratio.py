"""Likelihood ratios: near the truth where it is known, bounded, falling with distance, and honestly priced."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from image_similarity.calibration.ratio import Line, cllr, cllr_min, costs, fit, ratio_at
from tests.reports.samples import CALIBRATION

Cases = tuple[np.ndarray, np.ndarray, np.ndarray]


def gaussian_cases(near: float, far: float, spread: float, *, count: int = 20_000) -> Cases:
    """Distances of two Gaussians of one spread: their log LR is linear in distance, and known."""
    random = np.random.default_rng(0)
    same = np.arange(4 * count) < count
    distances = np.where(same, near, far) + spread * random.standard_normal(4 * count)
    return distances, same, np.ones(4 * count)


def true_line(near: float, far: float, spread: float) -> tuple[float, float]:
    """Intercept and slope of log10 LR for two Gaussians of one spread."""
    scale = 2 * spread**2 * math.log(10)
    return (far**2 - near**2) / scale, 2 * (near - far) / scale


def test_where_the_true_ratio_is_known_the_fit_is_near_it() -> None:
    line = fit(*gaussian_cases(0.8, 1.1, 0.15), groups=5_000)
    intercept, slope = true_line(0.8, 1.1, 0.15)
    for distance in (0.5, 0.8, 0.95, 1.1, 1.3):
        found = line.log10_ratios(np.array([distance]))[0]
        assert found == pytest.approx(intercept + slope * distance, abs=0.1)


def test_the_fit_is_logistic_regression_with_both_kinds_weighing_the_same() -> None:
    """Against scikit-learn, which knows no soft targets: with so many groups they hardly differ."""
    distances, same, weights = gaussian_cases(0.8, 1.0, 0.2, count=1_000)
    weights = weights * np.where(distances > 0.9, 2.0, 1.0)
    reference = LogisticRegression(C=math.inf, tol=1e-10)
    share = np.where(same, weights / weights[same].sum(), weights / weights[~same].sum())
    reference.fit(distances[:, None], same, sample_weight=share)
    line = fit(distances, same, weights, groups=10**9)
    assert line.slope * math.log(10) == pytest.approx(reference.coef_[0, 0], rel=1e-3)
    assert line.intercept * math.log(10) == pytest.approx(reference.intercept_[0], rel=1e-3)


def test_kinds_that_do_not_overlap_give_a_finite_line_within_the_bound() -> None:
    distances = np.concatenate([np.full(200, 0.1), np.full(300, 1.2)])
    same = np.arange(500) < 200
    line = fit(distances, same, np.ones(500), groups=200)
    assert math.isfinite(line.slope)
    assert line.slope < 0
    ratios = line.log10_ratios(np.array([0.0, 0.1, 1.2, 2.0]))
    assert np.abs(ratios).max() <= math.log10(200)
    assert ratios[1] == pytest.approx(math.log10(200), abs=0.01)


@pytest.mark.parametrize("distances", [np.full(400, 0.5), np.linspace(0.0, 2.0, 400)[::-1]])
def test_distances_that_say_nothing_or_the_contrary_give_a_ratio_of_one(
    distances: np.ndarray,
) -> None:
    line = fit(distances, np.arange(400) < 200, np.ones(400), groups=200)
    assert (line.intercept, line.slope) == (0.0, 0.0)


@given(
    st.lists(st.tuples(st.floats(0, 2), st.booleans()), min_size=2, max_size=60),
    st.integers(2, 1000),
)
@settings(deadline=None)
def test_a_ratio_is_bounded_and_never_rises_with_distance(
    cases: list[tuple[float, bool]], groups: int
) -> None:
    distances = np.array([distance for distance, _ in cases])
    same = np.array([flag for _, flag in cases])
    same[:2] = (True, False)
    line = fit(distances, same, np.ones(len(same)), groups=groups)
    ratios = line.log10_ratios(np.linspace(0, 2, 101))
    assert (np.diff(ratios) <= 0).all()
    assert np.abs(ratios).max() <= math.log10(groups)


def test_a_useless_score_costs_one_bit_and_a_perfect_one_none() -> None:
    same = np.arange(100) < 50
    assert cllr(costs(np.zeros(100), same), same, np.ones(100)) == pytest.approx(1.0)
    sure = np.where(same, 300.0, -300.0)
    assert cllr(costs(sure, same), same, np.ones(100)) == pytest.approx(0.0)


def test_being_surely_wrong_costs_many_bits() -> None:
    assert costs(np.array([-3.0, 3.0]), np.array([True, False])) == pytest.approx(
        [math.log2(1001), math.log2(1001)]
    )


def test_no_falling_rule_is_cheaper_than_c_llr_min() -> None:
    distances, same, weights = gaussian_cases(0.8, 1.1, 0.15, count=2_000)
    least = cllr_min(distances, same, weights)
    fitted = fit(distances, same, weights, groups=1_000)
    assert least <= cllr(costs(fitted.log10_ratios(distances), same), same, weights)
    # The truth is linear here, so the line must come near the best.
    assert cllr(costs(fitted.log10_ratios(distances), same), same, weights) < least + 0.02


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.booleans(), st.floats(0.1, 3)),
        min_size=2,
        max_size=40,
    )
)
def test_c_llr_min_is_that_of_isotonic_regression(cases: list[tuple[float, bool, float]]) -> None:
    distances, weights = np.array([c[0] for c in cases]), np.array([c[2] for c in cases])
    same = np.array([c[1] for c in cases])
    same[:2] = (True, False)
    share = np.where(same, weights / weights[same].sum(), weights / weights[~same].sum())
    model = IsotonicRegression(increasing=False, y_min=0, y_max=1)
    chance = model.fit(distances, same, sample_weight=share).predict(distances)
    with np.errstate(divide="ignore"):
        bits = -np.log2(np.where(same, chance, 1 - chance))
    assert cllr_min(distances, same, weights) == pytest.approx(float(share @ bits) / 2, abs=1e-9)


def test_a_ratio_says_when_it_stands_at_the_bound() -> None:
    calibration = replace(CALIBRATION, intercept=5.0, slope=-5.0, bound=2.0)
    assert ratio_at(calibration, 0.1).log10 == 2.0
    assert ratio_at(calibration, 0.1).at_bound
    assert ratio_at(calibration, 0.8).log10 == pytest.approx(1.0)
    assert not ratio_at(calibration, 0.8).at_bound
    assert ratio_at(calibration, 2.0).log10 == -2.0
    assert Line(5.0, -5.0, 2.0).log10_ratios(np.array([0.8]))[0] == pytest.approx(1.0)
