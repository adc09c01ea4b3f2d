"""Reference tables and calibrations as files: read back whole, and believed only where they are sound."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_similarity.calibration.files import (
    read_calibration,
    read_table,
    table_path,
    write_calibration,
    write_table,
)
from image_similarity.errors import CalibrationRefused
from image_similarity.values import DISTANCE_STEPS, DistanceTable
from tests.reports.samples import CALIBRATION

TABLE = DistanceTable(
    "f1" * 32, "made up", 8, tuple([0] * DISTANCE_STEPS + [4]), tuple([1] * DISTANCE_STEPS + [3])
)


def write(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def entries_of(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    path = table_path(tmp_path / "model.safetensors")
    write_table(path, TABLE)
    return path


@pytest.fixture
def calibration_file(tmp_path: Path) -> Path:
    path = tmp_path / "calibration.json"
    write_calibration(path, CALIBRATION)
    return path


def test_a_table_lies_beside_its_weights_and_is_read_back(table_file: Path) -> None:
    assert table_file.name == "model.safetensors.distances.json"
    assert read_table(table_file) == TABLE
    assert not list(table_file.parent.glob("*.partial"))


def test_a_model_without_a_table_has_none(tmp_path: Path) -> None:
    assert read_table(tmp_path / "model.distances.json") is None


def test_a_calibration_is_read_back_whole(calibration_file: Path) -> None:
    assert read_calibration(calibration_file) == CALIBRATION


def test_an_existing_file_is_not_replaced_by_a_calibration(calibration_file: Path) -> None:
    before = calibration_file.read_bytes()
    with pytest.raises(CalibrationRefused, match="exists already"):
        write_calibration(calibration_file, CALIBRATION)
    assert calibration_file.read_bytes() == before


def test_a_missing_calibration_is_said(tmp_path: Path) -> None:
    with pytest.raises(CalibrationRefused, match="there is no calibration at"):
        read_calibration(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "calibration of distances"),
        ("format", 2),
        ("format", True),
        ("fingerprint", "F1" * 32),
        ("fingerprint", None),
        ("made_on", ""),
        ("made_on", "a\x1b[31m"),
        ("made_on", "x" * 1001),
        ("pictures", 1),
        ("pictures", True),
        ("unrelated", [0] * (DISTANCE_STEPS + 1)),
        ("unrelated", [1] * DISTANCE_STEPS),
        ("unrelated", [*([2] * DISTANCE_STEPS), 1]),
        ("unrelated", [-1, *([2] * DISTANCE_STEPS)]),
        ("unrelated", [*([1] * DISTANCE_STEPS), 10**13]),
        ("same_scene", [*([1] * DISTANCE_STEPS), 2.5]),
        ("same_scene", [*([1] * DISTANCE_STEPS), "2"]),
        ("same_scene", {}),
    ],
)
def test_an_unsound_table_is_refused(table_file: Path, key: str, value: object) -> None:
    write(table_file, entries_of(table_file) | {key: value})
    with pytest.raises(CalibrationRefused, match="is no sound reference table of distances"):
        read_table(table_file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "reference table of distances"),
        ("slope", 0.1),
        ("slope", float("nan")),
        ("slope", "-1"),
        ("intercept", float("inf")),
        ("intercept", 10**400),
        ("bound", -1),
        ("bound", True),
        ("groups", 0),
        ("same", "two\nlines"),
        ("different", ""),
        ("groups_sha256", "ab"),
        ("cllr", None),
    ],
)
def test_an_unsound_calibration_is_refused(calibration_file: Path, key: str, value: object) -> None:
    write(calibration_file, entries_of(calibration_file) | {key: value})
    with pytest.raises(CalibrationRefused, match="is no sound calibration of distances"):
        read_calibration(calibration_file)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"[]", b"null", b"{", b"[" * 100_000, b" " * (2**20 + 1)]
)
def test_what_is_no_table_at_all_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.json").write_bytes(data)
    with pytest.raises(CalibrationRefused, match="is no sound reference table"):
        read_table(tmp_path / "t.json")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([*asdict(TABLE), "kind", "format"]), values),
    st.dictionaries(st.sampled_from([*asdict(CALIBRATION), "kind", "format"]), values),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
def test_whatever_stands_in_a_file_nothing_but_a_refusal_comes_of_it(
    table_file: Path, calibration_file: Path, in_table: Any, in_calibration: Any
) -> None:
    write_table(table_file, TABLE)
    calibration_file.unlink()
    write_calibration(calibration_file, CALIBRATION)
    with contextlib.suppress(CalibrationRefused):
        read_table(write(table_file, entries_of(table_file) | in_table))
    with contextlib.suppress(CalibrationRefused):
        found = read_calibration(
            write(calibration_file, entries_of(calibration_file) | in_calibration)
        )
        assert found.slope <= 0
