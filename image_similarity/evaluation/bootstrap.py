"""Intervals by resampling the queries: of one model's figures, and of the difference of two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from image_similarity.evaluation.measures import Float64, Ints, Outcomes, Statistic, statistics

CONFIDENCE = 0.95
# Weights that are held at once: 32 MB.
_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure of one model with its 95 % interval; shares between 0 and 1.

    `queries` counts the queries behind it and `groups` what was resampled; `value` is None if there were none.
    """

    task: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    queries: int
    groups: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Model B less model A in one measure, with the 95 % interval of the paired difference.

    `won` counts the queries that B does better, `lost` those that it does worse. `p` is that of a randomisation test.
    The four are None for measures that pool the scores of all queries and so have no value of a single one.
    """

    task: str
    measure: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    won: int | None
    lost: int | None
    tied: int | None
    queries: int


def figures(outcomes: Outcomes, *, resamples: int, seed: int) -> list[Figure]:
    """Return every measure of a task with its interval.

    The interval is the percentile bootstrap's, over groups of queries (Efron and Tibshirani, 1993), widened to hold the
    value itself, which a bias can leave outside. Where a share of 0 or 1 leaves the bootstrap nothing to vary, the
    exact binomial bound for as many groups stands instead (Clopper and Pearson, 1934): 60 of 60 is no proof of 100 %.
    Of measures that pool all queries those groups count that have a match. A single group says nothing of others: any
    share is possible.
    """
    at_stake = outcomes.columns.get("matched", np.ones(len(outcomes.queries))) > 0
    found = statistics(outcomes)
    drawn = _resampled(outcomes.groups, found, resamples=resamples, seed=seed)
    result = []
    for statistic, values in zip(found, drawn, strict=True):
        groups = len(np.unique(outcomes.groups[statistic.among]))
        value = _whole(statistic, len(outcomes.queries))
        low, high = _interval(value, values)
        if value is not None and low == high and value in (0, 1):
            low, high = _exact(value, len(np.unique(outcomes.groups[statistic.among & at_stake])))
        elif value is not None and groups == 1:
            low, high = 0.0, 1.0
        result.append(
            Figure(
                outcomes.task,
                statistic.name,
                value,
                low,
                high,
                int(statistic.among.sum()),
                groups,
            )
        )
    return result


def differences(
    first: Outcomes, second: Outcomes, *, resamples: int, seed: int
) -> list[Difference]:
    """Return for every measure of a task how the second model differs from the first on the same queries."""
    result = []
    a, b = statistics(first), statistics(second)
    drawn_a = _resampled(first.groups, a, resamples=resamples, seed=seed)
    drawn_b = _resampled(second.groups, b, resamples=resamples, seed=seed)
    for one, other, one_drawn, other_drawn in zip(a, b, drawn_a, drawn_b, strict=True):
        values = _whole(one, len(first.queries)), _whole(other, len(first.queries))
        difference = None if None in values else float(values[1]) - float(values[0])  # type: ignore[arg-type]
        low, high = _interval(difference, other_drawn - one_drawn)
        won, lost, tied, p = _paired(one, other, first.groups, resamples=resamples, seed=seed)
        result.append(
            Difference(
                first.task,
                one.name,
                *values,
                difference,
                low,
                high,
                p,
                won,
                lost,
                tied,
                int(one.among.sum()),
            )
        )
    return result


def gains(first: Outcomes, second: Outcomes) -> Float64:
    """Return by how much the second model is better in the main measure of the task, query by query; NaN where none.

    Tasks whose main measure pools all queries have NaN everywhere.
    """
    one, other = statistics(first)[0], statistics(second)[0]
    if one.values is None or other.values is None:
        return np.full(len(first.queries), np.nan)
    sign = -1 if one.lower_is_better else 1
    return np.where(one.among, sign * (other.values - one.values), np.nan)


def _whole(statistic: Statistic, queries: int) -> float | None:
    value = statistic.of(np.ones((1, queries)))[0]
    return None if np.isnan(value) else float(value)


def _resampled(groups: Ints, found: list[Statistic], *, resamples: int, seed: int) -> list[Float64]:
    """Each statistic (resamples,) of the same resamples."""
    drawn: list[list[Float64]] = [[] for _ in found]
    for weights in _weights(groups, resamples=resamples, seed=seed):
        for values, statistic in zip(drawn, found, strict=True):
            values.append(statistic.of(weights))
    return [np.concatenate(values) if values else np.empty(0) for values in drawn]


def _weights(groups: Ints, *, resamples: int, seed: int) -> Iterator[Float64]:
    """How often each query is drawn, (B, N) at a time; the queries of a group are drawn together."""
    _, member = np.unique(groups, return_inverse=True)
    if len(groups) == 0:
        return
    count = int(member.max()) + 1
    generator = np.random.default_rng(seed)
    block = max(1, _AT_ONCE // len(groups))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        draws = generator.integers(0, count, (rows, count))
        drawn = np.stack([np.bincount(row, minlength=count) for row in draws])
        yield drawn[:, member].astype(np.float64)


def _interval(value: float | None, drawn: Float64) -> tuple[float | None, float | None]:
    drawn = drawn[np.isfinite(drawn)]
    if value is None or len(drawn) == 0:
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return min(float(low), value), max(float(high), value)


def _exact(value: float, groups: int) -> tuple[float, float]:
    """The exact two-sided bound of a share that is 0 or 1 in all of `groups` trials."""
    bound = ((1 - CONFIDENCE) / 2) ** (1 / max(1, groups))
    return (bound, 1.0) if value == 1 else (0.0, 1 - bound)


def _paired(
    one: Statistic, other: Statistic, groups: Ints, *, resamples: int, seed: int
) -> tuple[int | None, int | None, int | None, float | None]:
    """Queries won, lost and tied, and the p of swapping the models group by group at random."""
    if one.values is None or other.values is None:
        return None, None, None, None
    inside = one.among & other.among
    gap = (other.values - one.values)[inside] * (-1 if one.lower_is_better else 1)
    won, lost = int((gap > 0).sum()), int((gap < 0).sum())
    _, member = np.unique(groups[inside], return_inverse=True)
    sums = np.bincount(member, weights=gap)
    p = _randomised(sums[sums != 0], resamples=resamples, seed=seed)
    return won, lost, len(gap) - won - lost, p


def _randomised(sums: Float64, *, resamples: int, seed: int) -> float:
    """The two-sided p of a sum under random signs, counting the one observed."""
    seen = abs(sums.sum()) - 1e-12
    generator = np.random.default_rng([seed, 1])
    as_extreme, block = 0, max(1, _AT_ONCE // max(1, len(sums)))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        signs: NDArray[np.int8] = generator.integers(0, 2, (rows, len(sums)), dtype=np.int8) * 2 - 1
        as_extreme += int((np.abs(signs @ sums) >= seen).sum())
    return (as_extreme + 1) / (resamples + 1)
