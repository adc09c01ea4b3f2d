"""Maps of a database."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_similarity import Case, IndexOptions
from image_similarity.analysis import listed, tsne
from image_similarity.errors import (
    AmbiguousModel,
    DatabaseDamaged,
    ExtraMissing,
    InvalidSetting,
    UnknownModel,
    UnknownSource,
    UsageError,
)
from image_similarity.events import Notice
from image_similarity.reports import map_picture
from image_similarity.store import gallery
from tests.conftest import draw_picture
from tests.search.synthetic import Row, model_info, write_case

INFO = model_info(dim=8)


def rows(count: int, first: int = 0) -> list[Row]:
    """Pictures of three groups, whose files are nowhere."""
    random = np.random.default_rng(0)
    middles = random.standard_normal((3, 8))
    found = []
    for number in range(first, first + count):
        vector = middles[number % 3] + 0.05 * random.standard_normal(8)
        label = ("bedroom", "kitchen", "street")[number % 3]
        found.append(
            Row(f"p{number:03d}", (vector / np.linalg.norm(vector)).tolist(), [(label, 0.9)])
        )
    return found


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write_case(tmp_path / "case.db", rows(24), info=INFO)


@pytest.fixture(scope="module")
def photographed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Path, Path]:
    """A database and its folder: 9 pictures, one of them at two places, two below "rooms"."""
    base = tmp_path_factory.mktemp("photographed")
    folder = base / "evidence"
    (folder / "rooms").mkdir(parents=True)
    for number in range(9):
        below = "rooms/" if number < 2 else ""
        draw_picture(number, (64, 48)).save(folder / f"{below}p,{number}.png")
    shutil.copyfile(folder / "p,5.png", folder / "copy.png")
    with Case.open(base / "case.db") as case:
        options = IndexOptions(models=(str(tiny_model),), scenes=str(tiny_model))
        case.index(folder, options=options)
    return base / "case.db", folder


def draw(database: Path, path: Path, **given: Any) -> Any:
    with Case.open(database, read_only=True) as case:
        return case.map(path, **given)


def data_of(page: Path) -> dict[str, Any]:
    """What the script of a page reads."""
    found = re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


# --- what is written ------------------------------------------------------------------------


def test_a_picture_and_a_page_hold_every_picture(
    photographed: tuple[Path, Path], tmp_path: Path
) -> None:
    database, _ = photographed
    made = draw(database, tmp_path / "map.png", reveal=True)
    assert (made.pictures, made.mapped, made.unseen, made.missing, made.left) == (9, 9, 0, 0, 0)
    assert (made.model, made.tile, made.computed, made.notes) == ("tiny", 64, True, ())
    assert made.size_bytes == (tmp_path / "map.png").stat().st_size
    with Image.open(tmp_path / "map.png") as image:
        assert image.width >= made.columns * map_picture.pitch(64)
    page = draw(database, tmp_path / "map.html", tile=32)
    data = data_of(tmp_path / "map.html")
    assert (page.tile, data["tile"], len(data["hashes"])) == (32, 32, 9)
    assert max(data["sizes"]) == 32
    assert sorted(data["places"]) == [1] * 8 + [2]


def test_the_same_seed_gives_the_same_files(
    photographed: tuple[Path, Path], tmp_path: Path
) -> None:
    database, _ = photographed
    for name in ("a.png", "b.png"):
        draw(database, tmp_path / name, layout=tmp_path / f"{name}.csv")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png.csv").read_bytes() == (tmp_path / "b.png.csv").read_bytes()


def test_pictures_whose_files_are_gone_are_counted(database: Path, tmp_path: Path) -> None:
    made = draw(database, tmp_path / "map.html")
    assert (made.pictures, made.unseen) == (24, 24)
    assert set(data_of(tmp_path / "map.html")["sizes"]) == {0}


def test_what_was_written_is_in_the_audit_chain(database: Path, tmp_path: Path) -> None:
    made = draw(database, tmp_path / "map.png", layout=tmp_path / "layout.csv")
    assert made.notes == ()
    with Case.open(database, read_only=True) as case:
        entries = [json.loads(entry.detail) for entry in case.audit() if entry.action == "export"]
    assert [(each["kind"], Path(each["path"]).name) for each in entries] == [
        ("layout", "layout.csv"),
        ("map", "map.png"),
    ]


def test_what_is_selected_on_a_page_is_a_list_that_other_commands_take(
    photographed: tuple[Path, Path], tmp_path: Path
) -> None:
    """The page writes root, path and SHA-256 as here, each cell in quotation marks."""
    database, _ = photographed
    draw(database, tmp_path / "map.html")
    data = data_of(tmp_path / "map.html")
    with (tmp_path / "selection.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(["path", "id", "source"])
        for number in range(9):
            name, _, root = data["sources"][data["source"][number]]
            writer.writerow([f"{root}/{data['paths'][number]}", data["hashes"][number], name])
    with Case.open(database, read_only=True) as case, case._catalog.reading() as connection:
        places = gallery.PlaceFilter()
        ids = gallery.ids_of(connection, data["hashes"])
        chosen = listed.read_list(tmp_path / "selection.csv")
        found = listed.find(connection, chosen, places, set(ids.values()))
    assert found.missing == ()
    assert found.ids == {ids[sha256]: sha256 for sha256 in data["hashes"]}


# --- what is chosen -------------------------------------------------------------------------


def test_a_folder_or_a_source_alone_can_be_mapped(database: Path, tmp_path: Path) -> None:
    write_case(database, rows(5, first=100), info=INFO, source="phone")
    assert draw(database, tmp_path / "a.html", sources=["phone"]).pictures == 5
    assert draw(database, tmp_path / "b.html").pictures == 29
    with pytest.raises(UnknownSource, match="no source 'tablet'"):
        draw(database, tmp_path / "c.html", sources=["tablet"])
    with pytest.raises(UsageError, match="0 pictures with a vector"):
        draw(database, tmp_path / "c.html", under="nowhere")


def test_the_model_must_be_clear(database: Path, tmp_path: Path) -> None:
    write_case(database, rows(6, first=100), info=model_info("other", 8))
    with pytest.raises(AmbiguousModel):
        draw(database, tmp_path / "map.html")
    with pytest.raises(UnknownModel):
        draw(database, tmp_path / "map.html", model="third")
    assert draw(database, tmp_path / "map.html", model="other").pictures == 6


def test_pictures_beyond_the_sample_are_mapped_by_their_neighbours_and_said_to_be(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tsne, "MOST_MAPPED", 12)
    made = draw(database, tmp_path / "map.html")
    assert (made.pictures, made.mapped) == (24, 12)
    assert len(data_of(tmp_path / "map.html")["unmapped"]) == 12
    assert "12 mapped, 12 placed by their nearest" in (tmp_path / "map.html").read_text("utf-8")


def test_that_it_takes_time_is_said_before(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image_similarity.analysis.map._SOON", 20)
    events: list[Any] = []
    draw(database, tmp_path / "map.html", on_event=events.append)
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert notice.startswith("laying out 24 pictures.")
    assert "--layout" in notice


# --- the layout -----------------------------------------------------------------------------


def test_a_layout_is_drawn_again_without_computing(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = tmp_path / "layout.csv"
    first = draw(database, tmp_path / "a.html", layout=layout, perplexity=4, seed=9)
    before = layout.read_bytes()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    again = draw(database, tmp_path / "b.html", layout=layout)
    assert (first.computed, again.computed) == (True, False)
    assert (again.perplexity, again.seed) == (4, 9)
    assert data_of(tmp_path / "a.html") == data_of(tmp_path / "b.html")
    assert layout.read_bytes() == before


@pytest.mark.parametrize(
    "given", [{"perplexity": 5}, {"seed": 2}, {"model": "other"}, {"model": "toy@ffff"}]
)
def test_a_layout_of_another_computation_is_not_drawn_as_this_one(
    given: dict[str, Any], database: Path, tmp_path: Path
) -> None:
    layout = tmp_path / "layout.csv"
    draw(database, tmp_path / "a.html", layout=layout)
    with pytest.raises(UsageError, match="was computed with"):
        draw(database, tmp_path / "b.html", layout=layout, **given)
    same = {"perplexity": 30, "seed": 1, "model": "toy"}
    assert draw(database, tmp_path / "b.html", layout=layout, **same).pictures == 24


def test_pictures_that_came_later_are_counted_and_those_not_chosen_left_out(
    database: Path, tmp_path: Path
) -> None:
    layout = tmp_path / "layout.csv"
    draw(database, tmp_path / "a.html", layout=layout)
    write_case(database, rows(5, first=100), info=INFO, source="phone")
    made = draw(database, tmp_path / "b.html", layout=layout)
    assert (made.pictures, made.missing, made.left) == (24, 5, 0)
    made = draw(database, tmp_path / "c.html", layout=layout, sources=["disk"])
    assert (made.pictures, made.missing, made.left) == (24, 0, 0)
    with pytest.raises(UsageError, match="no picture in common"):
        draw(database, tmp_path / "d.html", layout=layout, sources=["phone"])
    with pytest.raises(UnknownSource):
        draw(database, tmp_path / "d.html", layout=layout, sources=["tablet"])


def test_what_was_computed_is_kept_if_drawing_is_stopped(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("image_similarity.records.previews.tile", stop)
    with pytest.raises(KeyboardInterrupt):
        draw(database, tmp_path / "map.html", layout=tmp_path / "layout.csv")
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case.db", "layout.csv"]
    assert not draw(database, tmp_path / "map.html", layout=tmp_path / "layout.csv").computed


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_pictures_are_no_map(count: int, tmp_path: Path) -> None:
    database = write_case(tmp_path / "case.db", rows(count), info=INFO)
    with pytest.raises(UsageError, match=r"too few for a map"):
        draw(database, tmp_path / "map.png")
    assert not (tmp_path / "map.png").exists()


def test_three_pictures_are_a_map(tmp_path: Path) -> None:
    database = write_case(tmp_path / "case.db", rows(3), info=INFO)
    assert draw(database, tmp_path / "map.png").pictures == 3


@pytest.mark.parametrize("name", ["map.jpg", "map", "map.pdf"])
def test_another_kind_of_file_is_refused(name: str, database: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a picture nor a page"):
        draw(database, tmp_path / name)


@pytest.mark.parametrize(
    "given", [{"tile": 4}, {"tile": 100_000}, {"perplexity": 0.1}, {"seed": -1}]
)
def test_a_setting_out_of_its_range_is_refused_and_nothing_written(
    given: dict[str, Any], database: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSetting):
        draw(database, tmp_path / "map.png", **given)
    assert not (tmp_path / "map.png").exists()


def test_only_an_earlier_map_of_the_same_kind_is_replaced(database: Path, tmp_path: Path) -> None:
    for name in ("map.png", "map.html"):
        draw(database, tmp_path / name)
        with pytest.raises(UsageError, match="exists already"):
            draw(database, tmp_path / name)
        assert draw(database, tmp_path / name, overwrite=True).pictures == 24
        (tmp_path / name).write_text("mine")
        with pytest.raises(UsageError, match="was not written by this program"):
            draw(database, tmp_path / name, overwrite=True)
        assert (tmp_path / name).read_text() == "mine"


def test_a_layout_is_never_replaced_and_never_the_map_itself(
    database: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(UsageError, match="no layout of a map"):
        draw(database, tmp_path / "map.png", layout=tmp_path / "mine.csv")
    with pytest.raises(UsageError, match="one file"):
        draw(database, tmp_path / "map.png", layout=tmp_path / "map.png")
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_nothing_is_written_into_evidence(photographed: tuple[Path, Path], tmp_path: Path) -> None:
    database, folder = photographed
    for given in (
        {"path": folder / "map.png"},
        {"path": tmp_path / "m.png", "layout": folder / "l.csv"},
    ):
        with pytest.raises(UsageError, match="would be written into the indexed folder"):
            draw(database, **given)
    assert not (tmp_path / "m.png").exists()


def test_without_scikit_learn_the_extra_is_named(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ExtraMissing, match="scikit-learn"):
        draw(database, tmp_path / "map.png")


def test_damaged_vectors_are_told(tmp_path: Path) -> None:
    bad = Row("bad", [float("nan")] * 8)
    database = write_case(tmp_path / "case.db", [*rows(5), bad], info=INFO)
    with pytest.raises(DatabaseDamaged, match="not numbers"):
        draw(database, tmp_path / "map.png")
