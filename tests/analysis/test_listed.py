"""A list of pictures is read, or refused in one line; whatever its bytes are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.analysis.listed import ListedRow, read_list
from image_similarity.errors import UsageError

CELLS = st.sampled_from(
    ["path", "id", ",", "\n", "\r\n", '"', "a.png", "0" * 64, "\ufeff", "\0", ";", "é", "../" * 9]
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("listed") / "list.csv"


@settings(deadline=None)
@given(st.binary(max_size=200) | st.lists(CELLS, max_size=30).map(lambda c: "".join(c).encode()))
def test_any_bytes_are_a_list_or_refused_in_one_line(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        found = read_list(path)
    except UsageError as refused:
        assert refused.message.startswith("list.csv is no list of pictures: ")
        assert "\n" not in refused.message
    else:
        assert found.rows
        assert len({row.id for row in found.rows}) == len(found.rows)


def test_columns_stand_in_any_order_beside_others(path: Path) -> None:
    path.write_text('\ufeffnote,ID,Path\n,7,"a, b.png"\n\n,8,c.png\n', encoding="utf-8")
    assert read_list(path).rows == (ListedRow(2, "a, b.png", "7"), ListedRow(4, "c.png", "8"))
