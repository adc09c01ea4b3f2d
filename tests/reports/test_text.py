"""Text that shows what is in it."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_never_starts_a_formula(start: str) -> None:
    assert str(cell(start + "1+1")).startswith("'")


def test_numbers_stay_numbers_in_a_cell() -> None:
    assert cell(-0.25) == -0.25
    assert cell(None) is None
    assert cell("a=b") == "a=b"
