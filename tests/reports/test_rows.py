"""Search results as rows for other programs."""

from __future__ import annotations

import csv
import io
import json
from types import MappingProxyType

from image_similarity.reports import rows
from image_similarity.values import MeasuredRecall, Place
from tests.reports.samples import MODEL, sample_hit, sample_image, sample_result


def absolute(place: Place) -> str:
    return f"{place.root}/{place.path}"


def test_a_row_says_where_the_hit_is_and_how_it_came_about() -> None:
    result = sample_result(sample_hit(identical=True, gone_since="2026-02-03T00:00:00Z"))
    (row,) = rows.hit_rows(result, absolute)
    said = {
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
        "k": 5,
        "searched": 40,
        "found_by": "embedding",
        "known_searched": "mark",
    }
    assert {name: row[name] for name in said} == said
    # Of what was not asked for, nothing is said.
    assert not any(value for name, value in row.items() if name not in said)


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


def test_a_place_is_a_row_with_what_is_known_of_its_content() -> None:
    first, second = rows.place_rows(sample_image())
    assert tuple(first) == rows.FILE_COLUMNS
    assert (first["path"], first["modified"]) == (
        "/evidence/rooms/a.jpg",
        "2020-09-13T12:26:40.123456Z",
    )
    assert (first["accessed"], first["gone_since"]) == (None, None)
    assert (first["tags"], first["notes"], first["category"]) == (
        ["room"],
        ["ask about the lamp"],
        "2",
    )
    assert (first["exif_make"], first["exif_latitude"], first["exif_lens"]) == (
        "Maker",
        -33.5,
        None,
    )
    assert second["relative_path"] == "copies/rooms/a.jpg"
    assert second["gone_since"] == "2026-02-03T00:00:00Z"


def test_a_time_that_is_no_date_is_unknown() -> None:
    assert rows.utc(0) == "1970-01-01T00:00:00Z"
    assert rows.utc(-1) == "1969-12-31T23:59:59.999999Z"
    assert rows.utc(2**63 - 1) == "2262-04-11T23:47:16.854775Z"
    assert [rows.utc(ns) for ns in (None, 10**21, -(10**21))] == [None] * 3
