"""A map whose layout lies in a file."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest

from image_similarity import Case
from image_similarity.analysis import tsne
from image_similarity.errors import UsageError
from tests.analysis.test_map import INFO, rows
from tests.search.synthetic import write_case


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write_case(tmp_path / "case.db", rows(24), info=INFO)


def test_a_layout_gives_every_picture_a_cell_and_its_scene(database: Path, tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    with Case.open(database) as case:
        assert case.lay_out(path)
        found = case.laid_out(path)
    assert set(found.hashes) == {row.sha256 for row in rows(24)}
    assert len(set(map(tuple, found.cells.tolist()))) == 24
    assert found.cells.max(axis=0).tolist() == [found.columns - 1, found.rows - 1]
    assert [(each.name, each.pictures) for each in found.scenes] == [
        ("bedroom", 8), ("kitchen", 8), ("street", 8),
    ]  # fmt: skip
    scene_of = {row.sha256: row.labels[0][0] for row in rows(24)}
    named = [found.scenes[number].name for number in found.scene_of.tolist()]
    assert named == [scene_of[sha256] for sha256 in found.hashes]
    assert (found.mapped, found.missing, found.left, found.perplexity) == (24, 0, 0, 23 / 3)


def test_pictures_that_came_later_are_counted_and_those_of_another_case_are_left_out(
    database: Path, tmp_path: Path
) -> None:
    path = tmp_path / "map.csv"
    with Case.open(database) as case:
        case.lay_out(path)
    other = write_case(tmp_path / "other.db", rows(10, first=20), info=INFO)
    with Case.open(other) as case:
        found = case.laid_out(path)
    assert (len(found.hashes), found.missing, found.left) == (4, 6, 20)


def test_a_stopped_layout_leaves_no_file(database: Path, tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    with Case.open(database) as case:
        assert not case.lay_out(path, stop=lambda: True)
    assert not path.exists()


def test_cells_of_another_layout_or_damaged_ones_are_not_taken(
    database: Path, tmp_path: Path
) -> None:
    path, beside = tmp_path / "map.csv", tmp_path / "map.csv.cells.npz"
    with Case.open(database) as case:
        case.lay_out(path)
        right = case.laid_out(path).cells
        earlier = beside.read_bytes()
        case.lay_out(path, seed=2, perplexity=2)
        other = case.laid_out(path).cells
        assert not np.array_equal(right, other)
        for bad in (earlier, b"", b"PK\x03\x04 no archive", beside.read_bytes()[:-40]):
            beside.write_bytes(bad)
            assert np.array_equal(case.laid_out(path).cells, other)


def test_a_layout_is_never_written_into_the_evidence(database: Path, tmp_path: Path) -> None:
    with Case.open(database) as case, pytest.raises(UsageError, match="indexed folder"):
        case.lay_out("/evidence/disk/map.csv")


def test_the_cells_are_read_again_not_computed(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.csv"
    with Case.open(database) as case:
        case.lay_out(path)
        monkeypatch.setattr("image_similarity.reports.map_grid.grid_of", None)
        monkeypatch.setattr(tsne, "positions", None)
        assert len(case.laid_out(path).hashes) == 24


def test_a_layout_is_read_although_its_cells_cannot_be_kept(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.csv"
    with Case.open(database) as case:
        assert case.lay_out(path)
        path.with_name("map.csv.cells.npz").unlink()

        def full(*arguments: object, **settings: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(tempfile, "mkstemp", full)
        assert len(case.laid_out(path).hashes) == 24


def test_a_layout_none_of_whose_pictures_is_on_record_is_an_empty_map(
    database: Path, tmp_path: Path
) -> None:
    path = tmp_path / "map.csv"
    with Case.open(database) as case:
        assert case.lay_out(path)
    other = write_case(tmp_path / "other.db", rows(48)[24:], info=INFO)
    with Case.open(other) as case:
        found = case.laid_out(path)
    assert (found.hashes, found.left, found.missing) == ((), 24, 24)
