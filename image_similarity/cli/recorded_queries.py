"""Queries on a case that has a number are entries of its audit chain; on other databases they leave no trace."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from image_similarity.case import Case
from image_similarity.cli import output
from image_similarity.reports.rows import json_text
from image_similarity.values import SearchResult

# What says how the work was done, not what was asked.
_NOT_ASKED = ("device", "runtime", "with_basis", "calibration")


class RecordedQueries:
    """Takes results once they are shown; where one cannot be recorded that is said once, and the answer stands."""

    def __init__(self, cases: Sequence[Case], given: Mapping[str, Any]) -> None:
        self._cases = [case for case in cases if case.facts().number]
        self._asked = {
            name: json.loads(json_text(value))
            for name, value in given.items()
            if name not in _NOT_ASKED and value not in (None, False, ())
        }

    def add(self, result: SearchResult) -> None:
        """Record one result in each case that has a number."""
        for case in list(self._cases):
            refused = case.record_query(result, **self._asked)
            if refused:
                output.note(f"{case.path}: {refused}")
                self._cases.remove(case)
