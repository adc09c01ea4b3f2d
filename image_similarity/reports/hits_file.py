"""Hits as `query --format json` wrote them, read back: the rows of searches that were made before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from image_similarity.errors import UsageError
from image_similarity.reports.rows import COLUMNS, Row

_SHA256 = re.compile("[0-9a-f]{64}")
# Of several queries that became one list.
_QUERY_SHA256 = re.compile(r"[0-9a-f]{64}( \+ [0-9a-f]{64})*")
# A row is below 10 kB; whatever is longer was never written by us, and must not fill the memory.
LONGEST_LINE = 1_000_000
_GREATEST = 1e12
_TEXTS = ("query", "model", "model_fingerprint")
_TEXTS_OR_NONE = (
    "search",
    "scene_filter",
    "reference",
    "calibration",
    "taken_from",
    "taken_to",
)
_LISTS = ("scenes_searched", "searched_tags", "ruled_out")
_INTERVALS = ("unrelated_interval", "same_scene_interval")
_NUMBERS = (
    "rank",
    "distance",
    "similarity",
    "hidden",
    "hidden_nearer",
    "unrelated_as_close",
    "unrelated_pairs",
    "same_scene_as_close",
    "same_scene_pairs",
    "log10_lr",
    "recall",
    "k",
    "max_distance",
    "searched",
    "expected_false",
    "expected_false_among",
    "fused_score",
    "fused_best_rank",
    "fused_query",
    "pdq_distance",
    "inliers",
    "distance_rank",
    "hidden_known",
    "hidden_irrelevant",
    "hidden_undated",
)
_HINT = "give what `image-similarity query --format json` wrote"


def read_hits(lines: Iterable[bytes], name: str) -> list[Row]:
    """Return the rows of a hits file, by query in the order of the file, those of one kind by rank.

    Columns that it lacks are None.

    Args:
        lines: The file, opened in binary mode.
        name: What to call it in an error.

    Raises:
        UsageError: A line is no hit; the message has its number.
    """
    rows: list[Row] = []
    queries: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line)
        if row is None:
            raise UsageError(f"{name}: line {number} is no hit", hint=_HINT)
        queries.setdefault((row["query"], row["query_sha256"]), len(queries))
        rows.append(row)
    if not rows:
        raise UsageError(f"{name} holds no hits", hint=_HINT)
    # Near duplicates, which have ranks of their own, stand behind the hits by distance.
    return sorted(
        rows,
        key=lambda row: (
            queries[row["query"], row["query_sha256"]],
            row["rank"] is None,
            row["rank"] or 0,
        ),
    )


def _row(line: bytes) -> dict[str, Any] | None:
    """A line as a row, or None if it is none; what other programs put beside our columns is left out."""
    try:
        value = json.loads(line) if len(line) <= LONGEST_LINE else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    row = {column: value.get(column) for column in COLUMNS}
    sound = (
        _is(_SHA256, row["sha256"])
        and _is(_QUERY_SHA256, row["query_sha256"])
        and all(isinstance(row[name], str) for name in _TEXTS)
        and all(isinstance(row[name], str | None) for name in _TEXTS_OR_NONE)
        and all(isinstance(row[name], list | None) for name in _LISTS)
        and all(row[name] is None or _is_number(row[name]) for name in _NUMBERS)
        and all(row[name] is None or _is_interval(row[name]) for name in _INTERVALS)
        and _is_ranked(row)
    )
    return row if sound and all(map(_is_plain, row.values())) else None


def _is(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_ranked(row: Row) -> bool:
    """A hit has a rank and a distance, a near duplicate neither, but a distance between PDQ hashes."""
    if row["rank"] is None:
        return row["distance"] is None and row["pdq_distance"] is not None
    return type(row["rank"]) is int and row["rank"] > 0 and row["distance"] is not None


def _is_number(value: object) -> bool:
    """Whether a value is a number of a size that a hit may have; not a number is none."""
    return type(value) in (int, float) and -_GREATEST < value < _GREATEST  # type: ignore[operator]


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_plain(value: object) -> bool:
    """Whether a value is one that a row may hold: a text, a number, nothing, or a list of such."""
    if isinstance(value, list):
        return all(not isinstance(each, list | dict) and _is_plain(each) for each in value)
    return value is None or isinstance(value, str | bool) or _is_number(value)
