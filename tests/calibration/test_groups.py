"""The list of groups: what is read, and how each kind of unsound list is refused."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_similarity.calibration.groups import GroupRow, read_groups
from image_similarity.errors import CalibrationRefused


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "groups.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def test_rows_are_read_with_their_lines_and_the_file_with_its_hash(tmp_path: Path) -> None:
    text = 'path,group\na.jpg,1\n"b,c.jpg", 1 \n\nd.jpg,2\n'
    found = read_groups(write(tmp_path, text))
    assert found.name == "groups.csv"
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert found.rows == (
        GroupRow(2, "a.jpg", "1"),
        GroupRow(3, "b,c.jpg", "1"),
        GroupRow(5, "d.jpg", "2"),
    )


def test_a_name_that_cannot_be_printed_is_made_so(tmp_path: Path) -> None:
    path = tmp_path / "9\u202fPM.csv"
    path.write_text("path,group\na.jpg,1\n")
    assert read_groups(path).name == "9\ufffdPM.csv"


def test_a_spreadsheets_mark_further_columns_and_another_order_do_not_matter(
    tmp_path: Path,
) -> None:
    found = read_groups(write(tmp_path, "\ufeffnote,Group,PATH\r\nx,1,a.jpg\r\n"))
    assert found.rows == (GroupRow(2, "a.jpg", "1"),)


def test_a_picture_that_is_named_twice_in_one_group_is_one_row(tmp_path: Path) -> None:
    assert len(read_groups(write(tmp_path, "path,group\na,1\na,1\n")).rows) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "its first line must name the columns path and group"),
        ("a.jpg,1\nb.jpg,1\n", "its first line must name the columns path and group"),
        ("path,path,group\n", "its first line must name"),
        ("path,group\na.jpg\n", "line 2 lacks a path or a group"),
        ("path,group\na.jpg,1\n,1\n", "line 3 lacks a path or a group"),
        ("path,group\na.jpg, \n", "line 2 lacks"),
        ("path,group\na.jpg,1\na.jpg,2\n", "lines 2 and 3 put a.jpg in two groups"),
        ('path,group\n"a.jpg,1\n', "line 2: unexpected end of data"),
        (b"path,group\n\xff.jpg,1\n", "it is not UTF-8 text"),
        ("path,group\n" + "x" * 200_000 + ",1\n", "line 2: field larger than"),
    ],
)
def test_an_unsound_list_is_refused_with_its_reason(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    with pytest.raises(CalibrationRefused) as caught:
        read_groups(write(tmp_path, text))
    assert reason in caught.value.message
    assert "groups.csv is no list of groups" in caught.value.message
    assert caught.value.hint


@given(st.text() | st.binary())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_list_holds_nothing_but_a_refusal_comes_of_it(
    tmp_path: Path, content: str | bytes
) -> None:
    head = "path,group\n"
    text = (
        head + content.encode("utf-8", "replace").decode()
        if isinstance(content, str)
        else head.encode() + content
    )
    with contextlib.suppress(CalibrationRefused):
        for row in read_groups(write(tmp_path, text)).rows:
            assert row.picture
            assert row.group
