"""From distances to likelihood ratios: a weighted logistic regression, its bounds, and what it costs to be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from image_similarity.values import Calibration, LikelihoodRatio

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_MAX_STEPS = 100
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Line:
    """log10 LR = `intercept` + `slope` x distance, kept within +-`bound`; `slope` is never positive."""

    intercept: float
    slope: float
    bound: float

    def log10_ratios(self, distances: Floats) -> Floats:
        """Return the log10 of the likelihood ratio at each distance (N,)."""
        return np.clip(self.intercept + self.slope * distances, -self.bound, self.bound)


def ratio_at(calibration: Calibration, distance: float) -> LikelihoodRatio:
    """Return the likelihood ratio of one distance."""
    value = calibration.intercept + calibration.slope * distance
    bound = calibration.bound
    return LikelihoodRatio(
        log10=min(max(value, -bound), bound), at_bound=not -bound < value < bound
    )


def fit(distances: Floats, same: Flags, weights: Floats, *, groups: int) -> Line:
    """Return the line from distance to log10 LR, by logistic regression.

    Both kinds of pairs weigh the same in sum, so the log-odds of the regression are log likelihood ratios (Morrison,
    "Tutorial on logistic-regression calibration and fusion", 2013). Targets are those of Platt ("Probabilistic outputs
    for support vector machines", 1999) for as many cases as there are groups: they keep the line finite where the two
    kinds do not overlap. No ratio leaves 1/groups to groups: pairs of one group are not independent of each other, and
    what so many independent cases never showed may still happen once in as many.

    Args:
        distances: (N,), one a pair.
        same: (N,), whether the pair is of one group; both kinds must occur.
        weights: (N,), positive; only those of one kind are compared with each other.
        groups: number of groups that the pairs come from.
    """
    share = np.where(same, weights / weights[same].sum(), weights / weights[~same].sum()) / 2
    bound = math.log10(groups)
    centre, scale = float(share @ distances), float(distances.std())
    if scale == 0.0:
        return Line(0.0, 0.0, bound)
    standard = (distances - centre) / scale
    target = np.where(same, (groups + 1) / (groups + 2), 1 / (groups + 2))
    intercept, slope = _minimise(standard, target, share)
    if slope >= 0.0:
        # A larger distance must never speak for the same source: then distances say nothing.
        return Line(0.0, 0.0, bound)
    slope /= scale * math.log(10)
    return Line(intercept / math.log(10) - slope * centre, slope, bound)


def _minimise(x: Floats, target: Floats, share: Floats) -> tuple[float, float]:
    """Return intercept and slope of least cross-entropy, by Newton's method with halved steps; it is convex."""

    def loss(at: Floats) -> float:
        logit = at[0] + at[1] * x
        return float(share @ (np.logaddexp(0.0, logit) - target * logit))

    design = np.stack([np.ones_like(x), x])
    found = np.zeros(2)
    current = loss(found)
    for _ in range(_MAX_STEPS):
        chance = 0.5 * (1 + np.tanh((found[0] + found[1] * x) / 2))
        gradient = design @ (share * (chance - target))
        curvature = (design * (share * chance * (1 - chance))) @ design.T
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        while (after := loss(found - step)) > current and np.abs(step).max() > _TOLERANCE:
            step = step / 2
        found, current = found - step, min(after, current)
        if np.abs(step).max() <= _TOLERANCE:
            break
    return float(found[0]), float(found[1])


def costs(log10_ratios: Floats, same: Flags) -> Floats:
    """Return what each ratio costs in bits (N,): log2(1 + 1/LR) where the pair is of one group, else log2(1 + LR)."""
    signed = np.where(same, -log10_ratios, log10_ratios) * math.log(10)
    bits: Floats = np.logaddexp(0.0, signed) / math.log(2)
    return bits


def cllr(cost: Floats, same: Flags, weights: Floats) -> float:
    """Return the mean of the two kinds' mean costs in bits (Brümmer and du Preez, 2006): 0 perfect, 1 says nothing."""
    means = [float(np.average(cost[kind], weights=weights[kind])) for kind in (same, ~same)]
    return sum(means) / 2


def cllr_min(distances: Floats, same: Flags, weights: Floats) -> float:
    """Return the least C_llr that any rule can reach for which a larger distance never speaks more for the same.

    Found by pooling adjacent violators (PAV); what C_llr has above it is the fault of the calibration.
    """
    share = np.where(same, weights / weights[same].sum(), weights / weights[~same].sum()) / 2
    # Farthest first, so that the share of `same` rises; equal distances are one step.
    levels, place = np.unique(-distances, return_inverse=True)
    of_same = np.bincount(place, weights=np.where(same, share, 0.0), minlength=len(levels))
    of_both = np.bincount(place, weights=share, minlength=len(levels))
    blocks: list[tuple[float, float]] = []
    for one, both in zip(of_same.tolist(), of_both.tolist(), strict=True):
        block = (one, both)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1])
        blocks.append(block)
    return sum(_entropy(one, both) for one, both in blocks)


def _entropy(one: float, both: float) -> float:
    """Return the bits that a block with this much weight of one kind costs; rounding may leave a hair below 0."""
    parts = (max(one, 0.0), max(both - one, 0.0))
    return sum(part * math.log2(both / part) for part in parts if part > 0.0)
