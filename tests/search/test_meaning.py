"""Hits carry what their distances mean, where a table or a calibration of the model is at hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from image_similarity.calibration.files import read_table, table_path, write_table
from image_similarity.case import Case
from image_similarity.encoding import registry
from image_similarity.errors import CalibrationRefused
from image_similarity.search import meaning
from image_similarity.settings import IndexOptions
from image_similarity.values import DISTANCE_STEPS, DistanceTable
from tests.conftest import FolderFactory
from tests.reports.samples import CALIBRATION, TABLE
from tests.tiny_model import write_tiny_model


@pytest.fixture
def model(tmp_path: Path, tiny_model: Path) -> Path:
    """A weights file of this test's own."""
    return shutil.copyfile(tiny_model, tmp_path / "own.safetensors")


@pytest.fixture
def database(tmp_path: Path, model: Path, make_folder: FolderFactory) -> Path:
    options = IndexOptions(models=(str(model),), scenes=None, device="cpu")
    with Case.open(tmp_path / "case.db") as case:
        case.index(make_folder(), options=options)
    return tmp_path / "case.db"


def own_table(model: Path) -> DistanceTable:
    """Each hundredth has two more unrelated pairs at or below it, and three more of one scene."""
    return DistanceTable(
        fingerprint=registry.info(registry.get(str(model))).fingerprint,
        made_on="counted up",
        pictures=10,
        unrelated=tuple(2 * step for step in range(DISTANCE_STEPS + 1)),
        same_scene=tuple(3 * step for step in range(DISTANCE_STEPS + 1)),
    )


def own_table_of(database: Path) -> DistanceTable | None:
    return read_table(table_path(database.with_name("own.safetensors")))


def first_image(case: Case) -> str:
    return case.images_at("picture-000.jpg")[0].sha256


def test_hits_carry_the_counts_of_the_models_table(database: Path, model: Path) -> None:
    table = own_table(model)
    write_table(table_path(model), table)
    with Case.open(database, read_only=True) as case:
        result = case.search(sha256=first_image(case), k=20)
    assert result.distances == table
    for hit in result.hits:
        assert hit.as_close is not None
        step = hit.as_close.unrelated.count // 2
        assert step - 1 < hit.distance * 100 <= step + 1e-6
        assert hit.as_close.same_scene.count == 3 * step
        assert hit.as_close.unrelated.pairs == 400
        assert hit.ratio is None


def test_a_model_without_a_table_gives_no_meaning(database: Path) -> None:
    with Case.open(database, read_only=True) as case:
        result = case.search(sha256=first_image(case))
    assert result.distances is None
    assert {hit.as_close for hit in result.hits} == {None}


def test_a_model_that_has_no_registered_name_is_not_looked_for_with_near_names(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The refusal with its hint took as long as the search among 20,000 pictures.
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is asked for")

    monkeypatch.setattr(registry, "_unknown", refuse)
    with Case.open(database, read_only=True) as case:
        assert case.search(sha256=first_image(case)).distances is None


def test_a_table_of_other_weights_is_not_used(database: Path, model: Path) -> None:
    write_table(table_path(model), replace(own_table(model), fingerprint="0" * 64))
    with Case.open(database, read_only=True) as case:
        assert case.search(sha256=first_image(case)).distances is None


def test_a_damaged_table_is_said_and_not_passed_over(database: Path, model: Path) -> None:
    table_path(model).write_text("{}")
    with (
        Case.open(database, read_only=True) as case,
        pytest.raises(CalibrationRefused, match="is no sound reference table"),
    ):
        case.search(sha256=first_image(case))


def test_a_damaged_table_beside_another_model_stops_no_search(
    database: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_tiny_model(model.with_name("other.safetensors"), seed=5)
    table_path(other).write_text("{}")
    monkeypatch.setattr(meaning, "_registered", lambda origins: iter([other]))
    with Case.open(database, read_only=True) as case:
        result = case.search(sha256=first_image(case))
    assert result.hits
    assert result.distances is None


def test_where_the_weights_are_gone_a_stored_picture_is_still_answered(
    database: Path, model: Path
) -> None:
    write_table(table_path(model), own_table(model))
    model.unlink()
    with Case.open(database, read_only=True) as case:
        result = case.search(sha256=first_image(case))
    assert result.hits
    assert result.distances == own_table_of(database), "the table may outlive the weights"


def test_a_stored_picture_gets_its_meaning_without_torch(database: Path, model: Path) -> None:
    write_table(table_path(model), own_table(model))
    with Case.open(database, read_only=True) as case:
        sha256 = first_image(case)
    code = f"""
import json, sys
from image_similarity.case import Case
with Case.open({str(database)!r}, read_only=True) as case:
    hits = case.search(sha256={sha256!r}).hits
print(json.dumps([hits[0].as_close.unrelated.pairs, "torch" in sys.modules]))
"""
    found = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert json.loads(found) == [400, False]


def test_a_calibration_of_the_model_gives_ratios(database: Path, model: Path) -> None:
    fitting = replace(CALIBRATION, fingerprint=own_table(model).fingerprint)
    with Case.open(database, read_only=True) as case:
        result = case.search(sha256=first_image(case), calibration=fitting)
    assert result.calibration == fitting
    ratios = [hit.ratio.log10 for hit in result.hits if hit.ratio]
    assert ratios == sorted(ratios, reverse=True)
    assert len(ratios) == len(result.hits)
    assert max(map(abs, ratios)) <= fitting.bound


def test_a_calibration_of_another_model_is_refused_with_both_names(database: Path) -> None:
    with Case.open(database, read_only=True) as case:
        with pytest.raises(
            CalibrationRefused, match=r"is of builtin@f1f1.*, the search uses tiny@"
        ):
            case.search(sha256=first_image(case), calibration=CALIBRATION)
        assert TABLE.fingerprint == CALIBRATION.fingerprint
