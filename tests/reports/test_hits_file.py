"""Hits read back from a file."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.errors import UsageError
from image_similarity.reports import rows, searches
from image_similarity.reports.hits_file import LONGEST_LINE, read_hits
from image_similarity.reports.rows import COLUMNS
from image_similarity.values import AsClose, Excluded, Fusion, LikelihoodRatio, Share
from tests.reports.samples import CALIBRATION, TABLE, on_disk, sample_hit, sample_result

AS_CLOSE = AsClose(Share(3, 1500, 0.0005, 0.006), Share(41, 1500, 0.02, 0.037))
STRONG = {"as_close": AS_CLOSE, "ratio": LikelihoodRatio(1.3, at_bound=False)}


def written(*results: Any) -> bytes:
    stream = io.StringIO()
    for result in results:
        rows.write_jsonl(rows.hit_rows(result, on_disk), stream)
    return stream.getvalue().encode()


def read(text: bytes) -> list[rows.Row]:
    return read_hits(io.BytesIO(text), "hits.jsonl")


def test_what_a_query_wrote_is_read_as_it_was() -> None:
    result = sample_result(
        sample_hit(1, "\udcff\u202e.jpg", **STRONG),
        sample_hit(2),
        distances=TABLE,
        calibration=CALIBRATION,
    )
    found = read(written(result))
    assert found == json.loads(f"[{','.join(written(result).decode().splitlines())}]")


def test_a_search_from_a_file_says_what_the_search_itself_said() -> None:
    result = sample_result(sample_hit(1, **STRONG), distances=TABLE, calibration=CALIBRATION)
    direct = searches.from_result(result, on_disk)
    (again,) = searches.from_rows(read(written(result)))
    assert again.strength == direct.strength
    assert set(again.pairs) <= set(direct.pairs)
    assert [searches.hit_text(row) for row in again.rows] == [
        searches.hit_text(row) for row in direct.rows
    ]


def test_a_search_from_a_file_says_what_was_left_out_of_it() -> None:
    excluded = Excluded(tags=("seen",), taken_from="2024", taken_to="2024-03", hidden_undated=7)
    fusion = Fusion((("q", "ab" * 32),), (("n", "cd" * 32),), depth=100, constant=60, left_out=1)
    result = sample_result(sample_hit(1), excluded=excluded, fusion=fusion)
    (found,) = searches.from_rows(read(written(result)))
    said = dict(found.pairs)
    assert said["Only pictures"] == "tagged seen; taken from 2024 to 2024-03 (EXIF)"
    assert said["Hidden without a date"] == "7"
    assert said["Left out"] == f"what is nearer to {'cd' * 32} than to every query"


def test_hits_of_several_queries_are_put_together_by_query_and_rank() -> None:
    first, second = (
        sample_result(sample_hit(2), sample_hit(1)),
        sample_result(sample_hit(3), query="other.jpg", sha256="cd" * 32),
    )
    lines = written(first, second).splitlines(keepends=True)
    found = read(b"".join([lines[0], lines[2], b"\n", lines[1]]))
    assert [(row["query"], row["rank"]) for row in found] == [
        ("query.jpg", 1),
        ("query.jpg", 2),
        ("other.jpg", 3),
    ]


def test_near_duplicates_have_no_rank_and_stand_behind_the_hits() -> None:
    near = {**HIT, "rank": None, "distance": None, "similarity": None, "pdq_distance": 12}
    fused = {**HIT, "query_sha256": f"{'ab' * 32} + {'cd' * 32}", "query": "two"}
    found = read("\n".join(map(json.dumps, (near, HIT, fused))).encode())
    assert [row["rank"] for row in found] == [1, None, 1]
    said = searches.hit_text(found[1])
    assert said.startswith("near duplicate of the query query.jpg")
    assert "PDQ distance 12 of 256" in said
    assert "model" not in said


HIT = json.loads(written(sample_result(sample_hit())))


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": "AB" * 32},
        {"sha256": None},
        {"query_sha256": "../x"},
        {"query": None},
        {"rank": 0},
        {"rank": True},
        {"rank": 10**30},
        {"distance": None},
        {"rank": None},
        {"rank": None, "distance": None},
        {"query_sha256": f"{'ab' * 32} + "},
        {"distance": "near"},
        {"distance": 1e300},
        {"scenes_searched": "bedroom"},
        {"searched_tags": "seen"},
        {"taken_from": 2024},
        {"hidden_undated": "many"},
        {"reference": ["x"]},
        {"unrelated_interval": [1]},
        {"tags": [{"a": 1}]},
        {"hidden": {}},
    ],
)
def test_a_line_that_is_no_hit_is_named(changed: dict[str, Any]) -> None:
    text = written(sample_result(sample_hit())) + json.dumps({**HIT, **changed}).encode()
    with pytest.raises(UsageError, match=r"hits\.jsonl: line 2 is no hit"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"null",
        b"[" * 100_000,
        b'{"rank": NaN}',
        b'"' + b"a" * LONGEST_LINE + b'"',
    ],
)
def test_a_file_of_another_kind_is_refused(text: bytes) -> None:
    with pytest.raises(UsageError, match="line 1 is no hit"):
        read(text)


def test_a_file_without_hits_is_refused() -> None:
    with pytest.raises(UsageError, match="holds no hits"):
        read(b"\n\n")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=4))
def test_whatever_is_read_can_be_told(changed: dict[str, Any]) -> None:
    try:
        found = read(json.dumps({**HIT, **changed}).encode())
    except UsageError:
        return
    (search,) = searches.from_rows(found)
    assert all(isinstance(value, str) for pair in search.pairs for value in pair)
    for row in search.rows:
        assert searches.hit_text(row)
    rows.write_csv(iter(search.rows), io.StringIO(), COLUMNS)
