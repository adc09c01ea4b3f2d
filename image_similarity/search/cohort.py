"""How strong the hits of an answer are: a sample of the case tells how near the query lies to pictures at large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from image_similarity.calibration.strength import COHORT, Cohort, cohort_of, expected_false
from image_similarity.errors import CalibrationRefused
from image_similarity.ranking.bounded import Half, Rows
from image_similarity.search import in_server
from image_similarity.values import SearchResult, Strength

if TYPE_CHECKING:
    from image_similarity.search.query import Query
    from image_similarity.search.seen import Asked, Opened

# Draws the cohort; with it the same case gives the same numbers.
SEED = 1


def draw(databases: Sequence[Opened], asked: Asked) -> Half:
    """Draw vectors, float16 (n, dim), of up to 1,001 pictures from all that pass every filter but that of scenes.

    The filter of scenes leaves those that look like the query: they cannot tell how near pictures at large lie to it.
    """
    rows = [None if asked.in_server(opened) else _placed(opened, asked) for opened in databases]
    numbers = [
        in_server.count_placed(opened, asked) if here is None else len(here)
        for opened, here in zip(databases, rows, strict=True)
    ]
    ends = np.cumsum(numbers)
    total = int(ends[-1])
    random = np.random.default_rng(SEED)
    # One more, in place of the query's own.
    drawn = np.sort(random.choice(total, min(total, COHORT + 1), replace=False))
    parts = []
    for opened, here, number, end in zip(databases, rows, numbers, ends.tolist(), strict=True):
        at = drawn[(drawn >= end - number) & (drawn < end)] - (end - number)
        parts.append(
            in_server.vectors_placed(opened, asked, at.tolist())
            if here is None
            else opened.shelf.vectors(opened.connection, here[at])
        )
    return np.concatenate(parts)


def _placed(opened: Opened, asked: Asked) -> Rows:
    return np.flatnonzero(opened.shelf.counting(opened.connection, asked.places))


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
