"""Search results as rows for other programs."""

from __future__ import annotations

import csv
import io
import json
from types import MappingProxyType

from image_similarity.reports import rows
from image_similarity.values import MeasuredRecall, Place
from tests.reports.samples import MODEL, sample_hit, sample_result


def absolute(place: Place) -> str:
    return f"{place.root}/{place.path}"


def test_a_row_says_where_the_hit_is_and_how_it_came_about() -> None:
    result = sample_result(sample_hit(identical=True, gone_since="2026-02-03T00:00:00Z"))
    assert list(rows.hit_rows(result, absolute)) == [
        {
            "query": "query.jpg",
            "query_sha256": "ab" * 32,
            "rank": 1,
            "distance": 0.25,
            "similarity": 0.9,
            "path": "/evidence/rooms/a.jpg",
            "relative_path": "rooms/a.jpg",
            "source": "disk-07",
            "database": "case.db",
            "sha256": "01" * 32,
            "scene": "bedroom",
            "scene_probability": 0.875,
            "identical": True,
            "partial": False,
            "gone": True,
            "model": "builtin",
            "model_fingerprint": MODEL.fingerprint,
            "search": "exhaustive",
            "scenes_searched": ["bedroom"],
            "hidden": 10,
            "hidden_nearer": 2,
            "scene_filter": "auto",
            "unrelated_as_close": None,
            "unrelated_pairs": None,
            "unrelated_interval": None,
            "same_scene_as_close": None,
            "same_scene_pairs": None,
            "same_scene_interval": None,
            "log10_lr": None,
            "log10_lr_at_bound": None,
            "recall": None,
        }
    ]


def test_a_row_of_an_approximate_search_carries_its_recall() -> None:
    recall = MeasuredRecall(found=498, total=500, queries=50, at=10)
    result = sample_result(sample_hit(), search="approximate", recall=recall)
    (row,) = rows.hit_rows(result, absolute)
    assert (row["search"], row["recall"]) == ("approximate", 0.996)


def test_the_columns_are_the_fields_of_a_row() -> None:
    (row,) = rows.hit_rows(sample_result(sample_hit()), absolute)
    assert tuple(row) == rows.COLUMNS


def test_json_lines_are_ascii_also_for_names_that_are_no_text() -> None:
    stream = io.StringIO()
    hits = [sample_hit(1, "\udcff\n\u202e.jpg"), sample_hit(2, "é.jpg", scenes=())]
    rows.write_jsonl(rows.hit_rows(sample_result(*hits), absolute), stream)
    lines = stream.getvalue().splitlines()
    assert stream.getvalue().isascii()
    assert [json.loads(line)["relative_path"] for line in lines] == ["\udcff\n\u202e.jpg", "é.jpg"]
    assert json.loads(lines[1])["scene"] is None


def test_csv_cells_are_safe_to_open_in_a_spreadsheet() -> None:
    stream = io.StringIO()
    result = sample_result(sample_hit(1, '=HYPERLINK("x")', similarity=-0.5), query="@query\n.jpg")
    rows.write_csv(rows.hit_rows(result, absolute), stream, rows.COLUMNS)
    header, values = list(csv.reader(io.StringIO(stream.getvalue())))
    row = dict(zip(header, values, strict=True))
    assert row["relative_path"] == '\'=HYPERLINK("x")'
    assert row["query"] == "'@query\\x0a.jpg"
    assert row["similarity"] == "-0.5"
    assert row["scenes_searched"] == "bedroom"
    assert row["identical"] == "false"


def test_records_become_plain_json_at_every_depth() -> None:
    value = {"a": MappingProxyType({"b": (1, float("nan"))}), "hit": sample_hit()}
    decoded = json.loads(rows.json_text(value))
    assert decoded["a"] == {"b": [1, None]}
    assert decoded["hit"]["image"]["scenes"] == [{"name": "bedroom", "probability": 0.875}]
