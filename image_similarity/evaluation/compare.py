"""Two models on the same queries: paired differences, queries won and lost, and where the second is worse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from image_similarity.errors import InvalidSetting
from image_similarity.evaluation.bootstrap import Difference, differences, gains
from image_similarity.evaluation.measures import Outcomes
from image_similarity.evaluation.results import Evaluation, ModelResult

REGRESSIONS = 10
# A result says what it was measured on; these must agree, or the queries are not the same.
_SAME = ("digest", "edits", "unmatched", "gallery", "reduce", "seed")


@dataclass(frozen=True, slots=True)
class Regression:
    """A query that the second model does worse, and by how much in the main measure of its task."""

    task: str
    query: str
    loss: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Model `second` against model `first`; all differences are the second's value less the first's."""

    first: str
    second: str
    differences: tuple[Difference, ...]
    regressions: tuple[Regression, ...]


def compare(
    first: ModelResult, second: ModelResult, *, resamples: int = 1000, seed: int = 1
) -> Comparison:
    """Return how two models differ in every measure that both have.

    Raises:
        InvalidSetting: they share no task, or were not asked the same queries.
    """
    of_second = {each.task: each for each in second.outcomes}
    shared = [(each, of_second[each.task]) for each in first.outcomes if each.task in of_second]
    if not shared:
        raise InvalidSetting(f"{first.name} and {second.name} were measured in no common task")
    found: list[Difference] = []
    worst: list[Regression] = []
    for one, other in shared:
        if one.queries != other.queries:
            raise InvalidSetting(
                f"{first.name} and {second.name} were asked different queries in the task {one.task}",
                hint="evaluate both in one run, or with the same files, edits and seed",
            )
        found += differences(one, other, resamples=resamples, seed=seed)
        worst += _regressions(one, other)
    return Comparison(first.name, second.name, tuple(found), tuple(worst))


def check_same_task(first: Evaluation, second: Evaluation) -> None:
    """Refuse two results that were not measured on the same pictures in the same way.

    Raises:
        InvalidSetting: naming what differs.
    """
    for name in _SAME:
        one, other = first.setting.get(name), second.setting.get(name)
        if one != other:
            what = (
                "the files, their classes or the pairs"
                if name == "digest"
                else f"{name} ({one} and {other})"
            )
            raise InvalidSetting(
                f"the two results cannot be compared: they differ in {what}",
                hint="evaluate both models on the same task",
            )


def _regressions(one: Outcomes, other: Outcomes) -> list[Regression]:
    """The ten queries of a task that lost most, the worst first, equal ones by name."""
    gain = gains(one, other)
    rows = [int(row) for row in np.flatnonzero(np.nan_to_num(gain) < 0)]
    rows.sort(key=lambda row: (gain[row], one.queries[row]))
    return [Regression(one.task, one.queries[row], -float(gain[row])) for row in rows[:REGRESSIONS]]
