"""How many unrelated pictures a search is expected to bring as close as a hit: the reference table, scaled to a case.

A distance is first said in the query's own terms, as speaker recognition does with its scores (Z-norm: Auckenthaler,
Carey and Lloyd-Thomas, "Score normalization for text-independent speaker verification systems", 2000): how many
standard deviations -log(distance) lies above its mean over a cohort, a sample of the pictures of the case, of which the
farther half counts. Of the reference pictures, each against all others, it is known which are unrelated and so how
often these reach such a score. Times the number of pictures searched that is the number expected. The logarithm makes a
distance of 0 infinitely far out, and what is expected never falls as the distance grows, so no order of hits changes.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np

from image_similarity.calibration.reference import as_close
from image_similarity.calibration.tail import LEAST_SPREAD, PER_DECADE, Floats, moments
from image_similarity.values import DistanceTable

# Pictures that tell how near a query lies to those of a case. On held-out pictures 300 and 1,000 predicted alike, 100
# did not.
COHORT = 1_000
LEAST_COHORT = 300


@dataclass(frozen=True, slots=True)
class Cohort:
    """A sample of `count` pictures of a case, with the `tail.moments` of their distances to one query."""

    count: int
    mean: float
    spread: float


def cohort_of(distances: Floats) -> Cohort | None:
    """Return the cohort of a query from its distances (n,) to sampled pictures; None if too few, or all alike."""
    known = distances[np.isfinite(distances)]
    if len(known) < LEAST_COHORT:
        return None
    mean, spread = moments(known)
    return Cohort(len(known), mean, spread) if spread > LEAST_SPREAD else None


def expected_false(
    table: DistanceTable, cohort: Cohort | None, distance: float, searched: int
) -> float:
    """Return about how many of the `searched` pictures come this close although they are unrelated to the query.

    Never falls as the distance grows. Without a cohort, or with a table that has no tail, it is the most that the
    table's 95 % interval allows.

    Raises:
        ValueError: the distance is negative or not a number.
    """
    if not distance >= 0:
        raise ValueError(f"{distance} is no distance")
    if cohort is None or not table.tail:
        return searched * as_close(table, distance).unrelated.high
    if distance == 0:
        return 0.0
    return searched * _share((-math.log(distance) - cohort.mean) / cohort.spread, table.tail)


def _share(score: float, tail: tuple[float, ...]) -> float:
    """The share of unrelated pairs at a score or above; beyond the tail it falls as over its last power of ten."""
    at = bisect.bisect_right(tail, score)
    last = len(tail) - 1
    if at == 0:
        return 1.0
    if at <= last:
        # Not np.interp, which may fall between two scores that hardly differ.
        steps = at - 1 + min(1.0, (score - tail[at - 1]) / (tail[at] - tail[at - 1]))
    else:
        step = (tail[-1] - tail[-1 - PER_DECADE]) / PER_DECADE
        steps = last if step <= 0 else last + (score - tail[-1]) / step
    return float(10.0 ** (-steps / PER_DECADE))
