"""Text in pictures fits, and shows what is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.reports.lettering import fitting, font, readable, wrapped


@pytest.mark.parametrize(
    "label", ["", "\u202egpj.exe", "日本" * 90, "x" * 5000, "a\nb\x1b[31m", "  ", "é" * 400]
)
def test_any_name_fits_and_is_printable(label: str) -> None:
    found = fitting(label, font(13), 620)
    assert font(13).getlength(found) <= 620
    assert found.isprintable()


def test_letters_that_the_font_lacks_are_escapes_and_not_empty_boxes() -> None:
    assert readable("Küche 日") == "Küche \\u65e5"
    assert readable("\u202e") == "\\u202e"


def test_a_path_keeps_both_of_its_ends() -> None:
    found = fitting("disk-07:" + "deep/" * 50 + "IMG_0001.jpg", font(13), 200)
    assert found.startswith("disk-07:") and found.endswith("0001.jpg") and " ... " in found


@given(st.text(max_size=200))
def test_lines_are_no_longer_than_they_may_be(text: str) -> None:
    for line in wrapped([text], font(12), 180):
        assert font(12).getlength(line) <= 180
        assert line.isprintable()
