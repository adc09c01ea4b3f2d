"""`models`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from image_similarity.calibration.files import table_path, write_table
from image_similarity.reports.meaning import table_text
from tests.cli.conftest import Made, Run
from tests.reports.samples import TABLE
from tests.tiny_model import write_tiny_model


def test_the_registered_models_are_listed_and_with_a_database_its_own(
    run: Run, indexed: Made
) -> None:
    listed = run("models", "list", "--format", "json").objects()
    names = [each["name"] for each in listed]
    assert "builtin" in names
    assert "torchvision/resnet50" in names
    assert {"name", "dim", "scenes", "weights", "fingerprint", "licence"} == set(listed[0])
    stored = run("models", "list", "-dp", indexed.database, "--format", "json").objects()
    assert stored[-1]["name"] == "tiny"
    assert stored[-1]["weights"] == f"stored in {indexed.database}"
    assert run("models", "list").code == 0


def test_a_card_is_shown_whole(run: Run, indexed: Made) -> None:
    (card,) = run("models", "show", indexed.model, "--format", "json").objects()
    assert card["name"] == "tiny"
    assert card["preprocess"]["size"] == 32
    assert card["scenes"] == ["bedroom", "kitchen", "street", "forest"]
    assert len(card["fingerprint"]) == 64
    text = run("models", "show", indexed.model).out
    assert card["fingerprint"] in text
    assert "  forest\n" in text


def test_a_model_says_which_reference_table_it_has(run: Run, indexed: Made, tmp_path: Path) -> None:
    model = shutil.copyfile(indexed.model, tmp_path / "own.safetensors")
    (card,) = run("models", "show", model, "--format", "json").objects()
    assert card["distances"] is None
    assert "no reference table" in run("models", "show", model).out
    write_table(table_path(model), TABLE)
    assert "no reference table" in run("models", "show", model).out, "it is of other weights"
    write_table(table_path(model), replace(TABLE, fingerprint=card["fingerprint"]))
    assert table_text(TABLE) in run("models", "show", model).out
    (found,) = run("models", "show", model, "--format", "json").objects()
    assert found["distances"]["unrelated"] == list(TABLE.unrelated)
    assert found["fingerprint"] == card["fingerprint"], "the table leaves the model as it is"


def test_a_model_without_its_weights_can_still_be_described(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(tmp_path))
    outcome = run("models", "show", "torchvision/resnet50", "--format", "json")
    assert outcome.code == 0
    assert outcome.objects()[0]["fingerprint"] is None
    assert outcome.objects()[0]["dim"] == 2048


def test_a_model_that_works_is_ok(run: Run, indexed: Made) -> None:
    outcome = run("models", "check", indexed.model, "-dp", indexed.database, "--device", "cpu")
    assert outcome.code == 0
    assert outcome.out.startswith("ok: tiny (")


@pytest.mark.parametrize(("runtime", "library"), [("onnx", "onnxruntime"), ("torch", "torch")])
def test_the_built_in_model_is_ok_in_either_runtime_and_says_which_ran(
    run: Run, runtime: str, library: str
) -> None:
    outcome = run("models", "check", "--runtime", runtime, "--device", "cpu")
    assert outcome.code == 0
    assert f"ran in: {library} " in outcome.out
    assert outcome.out.endswith("golden record: 5 pictures as recorded\n")


def test_a_runtime_that_cannot_run_a_model_exits_with_13(run: Run, indexed: Made) -> None:
    outcome = run("models", "check", indexed.model, "--runtime", "onnx")
    assert outcome.code == 13
    assert "--runtime auto" in outcome.err


def test_another_model_of_the_same_name_exits_with_13(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    other = tmp_path / "tiny.safetensors"
    write_tiny_model(other, seed=1)
    outcome = run("models", "check", other, "-dp", indexed.database)
    assert outcome.code == 13
    assert "fingerprint" in outcome.err


def test_damaged_weights_exit_with_13(run: Run, indexed: Made, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(indexed.model.read_bytes()[:-100])
    assert run("models", "check", cut).code == 13


@pytest.mark.parametrize("command", ["show", "check"])
def test_an_unknown_model_exits_with_13(run: Run, command: str) -> None:
    assert run("models", command, "nonsense").code == 13


def test_a_device_that_is_not_there_exits_with_13(run: Run, indexed: Made) -> None:
    assert run("models", "check", indexed.model, "--device", "cuda:63").code == 13
