"""How strong the hits of an answer are: a sample of the case tells how near the query lies to pictures at large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from image_similarity.calibration.strength import COHORT, Cohort, cohort_of, expected_false
from image_similarity.errors import CalibrationRefused
from image_similarity.ranking.bounded import Half
from image_similarity.values import SearchResult, Strength

if TYPE_CHECKING:
    from image_similarity.search.answer import Asked, Opened
    from image_similarity.search.query import Query

# Draws the cohort; with it the same case gives the same numbers.
SEED = 1


def draw(databases: Sequence[Opened], asked: Asked) -> Half:
    """Draw vectors, float16 (n, dim), of up to 1,001 pictures from all that pass every filter but that of scenes.

    The filter of scenes leaves those that look like the query: they cannot tell how near pictures at large lie to it.
    """
    rows = [
        np.flatnonzero(opened.shelf.counting(opened.connection, asked.places))
        for opened in databases
    ]
    ends = np.cumsum([len(each) for each in rows])
    total = int(ends[-1])
    random = np.random.default_rng(SEED)
    # One more, in place of the query's own.
    drawn = np.sort(random.choice(total, min(total, COHORT + 1), replace=False))
    parts = []
    for opened, here, end in zip(databases, rows, ends.tolist(), strict=True):
        at = drawn[(drawn >= end - len(here)) & (drawn < end)] - (end - len(here))
        parts.append(opened.shelf.vectors(opened.connection, here[at]))
    return np.concatenate(parts)


def strengthen(result: SearchResult, query: Query, sample: Half, asked: Asked) -> SearchResult:
    """Return the result with the numbers of unrelated pictures expected as close as its hits, cut off where asked.

    Raises:
        CalibrationRefused: The model has no reference table here.
    """
    table = result.distances
    if table is None:
        raise CalibrationRefused(
            f"{result.model.name} has no reference table of distances on this machine, "
            "so nothing can be said of how strong its hits are",
            hint="docs/distances.md says how one is made",
        )
    cohort = _cohort(query, sample) if table.tail else None
    searched = result.filter.searched + result.filter.hidden
    hits = [
        replace(hit, expected_false=expected_false(table, cohort, hit.distance, searched))
        for hit in result.hits
    ]
    most = asked.request.max_expected_false
    kept = [hit for hit in hits if most is None or (hit.expected_false or 0.0) <= most]
    return replace(
        result,
        hits=tuple(kept),
        strength=Strength(searched, cohort.count if cohort else 0, most, len(hits) - len(kept)),
    )


def _cohort(query: Query, sample: Half) -> Cohort | None:
    """The cohort of a query; its own content, at a distance of zero, and copies of it are none of it."""
    difference = sample.astype(np.float64) - query.vector.astype(np.float64)
    distances = np.sqrt((difference * difference).sum(axis=1))
    return cohort_of(distances[distances > 0][:COHORT])
