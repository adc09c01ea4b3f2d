"""The layout of a map as a file."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.errors import UsageError
from image_similarity.reports import map_layout
from image_similarity.reports.map_layout import Layout, MapPoint, Position
from tests.reports import maps

MODEL = "f1" * 32


def written(points: list[MapPoint], model: str = "builtin") -> str:
    stream = io.StringIO()
    positions = {each.sha256: each.position for each in points}
    map_layout.write(stream, Layout(model, MODEL, 30.0, 7, positions), points)
    return stream.getvalue()


def read(text: str, folder: Path) -> Layout:
    path = folder / "layout.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return map_layout.read(path)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    points = maps.points(5)
    layout = read(written(points), tmp_path)
    assert layout.positions == {each.sha256: each.position for each in points}
    assert list(layout.positions) == [each.sha256 for each in points]
    assert (layout.model, layout.fingerprint, layout.perplexity, layout.seed) == (
        "builtin", MODEL, 30.0, 7,
    )  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1), st.floats(-1e30, 1e30), st.booleans())
def test_no_name_disturbs_the_positions(
    tmp_path_factory: pytest.TempPathFactory, name: str, x: float, mapped: bool
) -> None:
    point = maps.point(1, name, scene=name, source=name)
    point = MapPoint(Position(x, -x, mapped), point.sha256, point.places, point.scene)
    layout = read(written([maps.point(0), point]), tmp_path_factory.mktemp("layout"))
    assert layout.positions[point.sha256] == point.position


def test_a_name_never_starts_a_formula() -> None:
    assert ",'=1+1," in written([maps.point(0, "=1+1")])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "its first line"),
        (lambda text: "\0\n", "its first line"),
        (lambda text: text.partition("\n")[0] + "\n", "no positions"),
        (lambda text: text.replace("true", "perhaps"), "line 2"),
        (lambda text: text + "1,2,3\n", "line 7 has 3 cells"),
        (lambda text: text.replace("0.0,0.0,", "nan,0.0,"), "line 2 has 'nan'"),
        (lambda text: text.replace("0.0,0.0,", "1e999,0.0,"), "line 2 has '1e999'"),
        (lambda text: text.replace("0.0,0.0,", "left,0.0,"), "left"),
        (lambda text: text.replace("5feceb", "XXXXXX"), "line 2 names no SHA-256"),
        (lambda text: text.replace(",7\n", ",8\n", 1), "line 3 is of another computation"),
        (lambda text: text.replace("f1f1", "zz"), "fingerprint"),
        (lambda text: text.replace(",7\n", ",4294967296\n"), "seed that a map can be made with"),
        (lambda text: re.sub(r",[0-9.]+,7\n", ",0,7\n", text), "no perplexity"),
    ],
)
def test_a_file_that_is_no_layout_is_refused_with_its_line(
    change: object, said: str, tmp_path: Path
) -> None:
    assert callable(change)
    with pytest.raises(UsageError, match=r"layout.csv is no layout of a map: ") as caught:
        read(change(written(maps.points(5))), tmp_path)
    assert said in caught.value.message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "layout.csv").write_bytes(b"x,y\xff\xfe")
    with pytest.raises(UsageError, match="no layout of a map"):
        map_layout.read(tmp_path / "layout.csv")
