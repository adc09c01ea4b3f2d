"""A weights file of Keras is a model like any other: `-m FILE.h5`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import h5py
import pytest

from image_similarity.case import Case
from tests import keras_file
from tests.cli.conftest import Made, Run


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keras_file.write(tmp_path_factory.mktemp("keras") / "narrow.h5")


def test_a_folder_is_indexed_and_searched_with_it(
    run: Run, indexed: Made, narrow: Path, tmp_path: Path
) -> None:
    database = tmp_path / "case.db"
    done = run("index", "-m", narrow, "-ip", indexed.folder, "-dp", database, "--device", "cpu")
    assert done.code == 3, "one picture of the folder is broken"
    with Case.open(database, read_only=True) as case:
        (stored,) = (info for info in case.models() if info.name == "narrow")
    assert (stored.name, stored.dim, stored.metric) == ("narrow", 16, "euclidean")
    assert stored.preprocess.interpolation == "deepranking-skimage-v1"
    assert "unknown training pictures" in stored.origin
    hits = run("query", indexed.first, "-dp", database, "-k", "5", "--format", "json").objects()
    assert Path(hits[0]["path"]).name in ("picture-0.png", "copy.png")
    assert hits[0]["distance"] < 0.01
    distances = [hit["distance"] for hit in hits]
    assert distances == sorted(distances)
    (other,) = (hit for hit in hits if hit["path"].endswith("picture-1.png"))
    assert 0.01 < other["distance"] < 2


def test_it_is_shown_and_checked(run: Run, narrow: Path) -> None:
    (card,) = run("models", "show", narrow, "--format", "json").objects()
    assert card["architecture"] == "keras/deepranking"
    assert card["preprocess"]["interpolation"] == "deepranking-skimage-v1"
    assert card["licence"] == "unknown"
    checked = run("models", "check", narrow, "--device", "cpu")
    assert checked.code == 0, checked.err
    assert "ok: narrow" in checked.out


def test_an_incomplete_file_costs_nothing(
    run: Run, case: Made, narrow: Path, tmp_path: Path
) -> None:
    path = shutil.copyfile(narrow, tmp_path / "cut.h5")
    with h5py.File(path, "r+") as file:
        del file["dense_1/dense_1/bias:0"]
    before = run("runs", "-dp", case.database, "--format", "json").out
    for command in (
        ("index", "-m", path, "-ip", case.folder, "-dp", case.database),
        ("models", "show", path),
    ):
        done = run(*command)
        assert done.code == 13, done.err
        assert f"{path}: 'dense_1/bias:0' is missing below /dense_1" in done.err
        assert "Traceback" not in done.err
    assert run("runs", "-dp", case.database, "--format", "json").out == before
    assert run("query", case.first, "-dp", case.database).code == 0


def test_without_h5py_one_line_names_the_extra(
    run: Run, narrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    done = run("models", "check", narrow)
    assert done.code == 1
    assert "image_similarity[analysis]" in done.err


def test_no_card_is_made_for_it(run: Run, narrow: Path) -> None:
    done = run("models", "add", narrow)
    assert done.code == 2
    assert "needs none: name it as the model" in done.err
    assert not narrow.with_name("narrow.h5.json").exists()
