"""Text that shows what is in it."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.reports.text import cell, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("Zürich 東京 🙂.jpg", "Zürich 東京 🙂.jpg"),
        ("red\x1b[31m", "red\\x1b[31m"),
        ("two\nlines\ttab\r", "two\\x0alines\\x09tab\\x0d"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("c1\x9b31m", "c1\\x9b31m"),
        ("lone\udcff", "lone\\udcff"),
    ],
)
def test_what_could_deceive_is_escaped_and_nothing_else(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(text).encode("utf-8")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b"])
def test_a_cell_never_starts_a_formula(start: str) -> None:
    assert str(cell(start + "1+1")).startswith("'")


def test_numbers_stay_numbers_in_a_cell() -> None:
    assert cell(-0.25) == -0.25
    assert cell(None) is None
    assert cell("a=b") == "a=b"


@given(st.text(alphabet=st.sampled_from("=+-@;\t\r\n\"' a,\uff1d")))
def test_no_cell_starts_a_formula_also_where_semicolons_separate(text: str) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(["first", cell(text)])
    for separator in ",;":
        for row in csv.reader(stream.getvalue().splitlines(), delimiter=separator):
            for each in row:
                assert not re.match('["\\s]*[=+@\\-\t\r\uff1d]', each)
