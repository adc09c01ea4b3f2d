"""A report as CSV with its account in a file beside it, or as JSON Lines that hold both."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from image_similarity.reports import rows
from image_similarity.reports.about import About, parts
from image_similarity.reports.rows import FILE_COLUMNS, SEARCH_COLUMNS, Row
from image_similarity.reports.searches import Entry, Search

# By these a file is known as a report; see `target`.
CSV_MARK = ",".join(FILE_COLUMNS[:8])
JSONL_MARK = '{"record": "about", "program": "image_similarity"'
ABOUT_MARK = '{"program": "image_similarity"'


def write_csv(stream: TextIO, entries: Iterable[Entry], searches: Sequence[Search]) -> None:
    """Write one row for each place of each picture, or of each hit; what belongs to hits stands in front.

    Cells are escaped as `text.cell` says, so JSON Lines is the form that loses nothing.
    """
    columns = (*(SEARCH_COLUMNS if searches else ()), *FILE_COLUMNS)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in _rows(entries):
        writer.writerow([rows.csv_value(row[column]) for column in columns])


def write_jsonl(stream: TextIO, entries: Iterable[Entry], about: About) -> None:
    """Write one object a line: what the report is, one for each place of each picture or hit, and the audit head."""
    first = {"record": "about", "program": "image_similarity", **_about(about)}
    stream.write(rows.json_text(first) + "\n")
    rows.write_jsonl(({"record": "file", **row} for row in _rows(entries)), stream)
    heads = [each.head for each in about.coverages]
    stream.write(rows.json_text({"record": "end", "audit_heads": heads}) + "\n")


def write_about(stream: TextIO, about: About) -> None:
    """Write what a report says beside its pictures as one JSON object, the audit heads last."""
    heads = [each.head for each in about.coverages]
    value = {"program": "image_similarity", **_about(about), "audit_heads": heads}
    stream.write(rows.json_text(value) + "\n")


def _about(about: About) -> Row:
    return {
        "title": about.title,
        "written": about.written,
        "parts": [
            {"title": part.title, "lines": [list(pair) for pair in part.pairs]}
            for part in parts(about)
        ],
        "databases": about.coverages,
    }


def _rows(entries: Iterable[Entry]) -> Iterator[Row]:
    for entry in entries:
        for hit in entry.hits or ({},):
            for place in rows.place_rows(entry.image):
                yield {**hit, **place}
