"""A report as CSV and as JSON Lines."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.reports import searches, tables
from image_similarity.reports.rows import FILE_COLUMNS, SEARCH_COLUMNS
from image_similarity.reports.searches import Entry
from tests.reports.samples import (
    HEAD,
    HOSTILE,
    on_disk,
    sample_about,
    sample_hit,
    sample_image,
    sample_result,
)

FORMULA = re.compile('["\\s]*[=+@\\-\t\r\uff1d]')


def as_csv(*entries: Entry, found: searches.Search | None = None) -> str:
    stream = io.StringIO()
    tables.write_csv(stream, entries, [found] if found else [])
    return stream.getvalue()


def as_jsonl(*entries: Entry) -> list[dict[str, object]]:
    stream = io.StringIO()
    tables.write_jsonl(stream, entries, sample_about())
    assert stream.getvalue().isascii()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_selection_is_one_row_for_each_place() -> None:
    found = list(csv.DictReader(as_csv(Entry(sample_image())).splitlines()))
    assert tuple(found[0]) == FILE_COLUMNS
    assert [row["relative_path"] for row in found] == ["rooms/a.jpg", "copies/rooms/a.jpg"]
    assert found[0]["exif_latitude"] == "-33.5"


def test_of_a_search_each_row_says_which_hit_it_is() -> None:
    search = searches.from_result(sample_result(sample_hit()), on_disk)
    entry = Entry(sample_image(), search.rows)
    found = list(csv.DictReader(as_csv(entry, found=search).splitlines()))
    assert tuple(found[0]) == (*SEARCH_COLUMNS, *FILE_COLUMNS)
    assert [(row["rank"], row["distance"]) for row in found] == [("1", "0.25")] * 2


def test_a_csv_is_known_by_its_beginning() -> None:
    search = searches.from_result(sample_result(sample_hit()), on_disk)
    for text in (as_csv(), as_csv(found=search)):
        assert tables.CSV_MARK in text[:1000]


@settings(deadline=None)
@given(st.text(min_size=1) | st.sampled_from([HOSTILE, "\t=1", "+1;=2", "\uff1d1", '"=1', "-"]))
def test_no_cell_of_the_evidence_starts_a_formula_in_any_spreadsheet(text: str) -> None:
    image = sample_image(1, text, exif={"make": text, "latitude": -1.5})
    image = replace(
        image,
        places=tuple(replace(place, source=text, root=text) for place in image.places),
        decisions=tuple(replace(each, value=text) for each in image.decisions),
        known=tuple(replace(each, list=text) for each in image.known),
    )
    search = searches.from_result(sample_result(sample_hit(), query=text), on_disk)
    written = as_csv(Entry(image, search.rows), found=search)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x1b]", written)
    for separator in ",;":
        for row in csv.reader(written.splitlines(), delimiter=separator):
            for cell in row:
                assert not FORMULA.match(cell) or is_number(cell)
    header, *rest = csv.reader(written.splitlines())
    assert [len(row) for row in rest] == [len(header)] * 2


def is_number(cell: str) -> bool:
    return re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell) is not None


def test_json_lines_say_what_they_are_keep_names_exactly_and_end_with_the_audit_head() -> None:
    first, *files, last = as_jsonl(Entry(sample_image(1, HOSTILE)))
    assert (first["record"], first["program"]) == ("about", "image_similarity")
    assert [part["title"] for part in first["parts"]] == [  # type: ignore[attr-defined]
        "Case",
        "This report",
        "What was searched",
        "What was not searched",
        "Audit chain",
    ]
    assert [row["relative_path"] for row in files] == [HOSTILE, f"copies/{HOSTILE}"]
    assert last["record"] == "end"
    assert last["audit_heads"][0]["digest"] == HEAD.digest  # type: ignore[index]


def test_json_lines_are_known_by_their_beginning() -> None:
    stream = io.StringIO()
    tables.write_jsonl(stream, [], sample_about())
    assert stream.getvalue().startswith(tables.JSONL_MARK)


def test_what_stands_beside_a_csv_ends_with_the_audit_head() -> None:
    stream = io.StringIO()
    tables.write_about(stream, sample_about())
    about = json.loads(stream.getvalue())
    assert list(about)[-1] == "audit_heads"
    assert about["databases"][0]["facts"]["number"] == "17/2026"
    assert stream.getvalue().startswith(tables.ABOUT_MARK)
