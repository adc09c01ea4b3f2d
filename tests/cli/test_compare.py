"""`compare`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.evaluation.samples import class_folder, flat_folder
from tests.tiny_model import write_tiny_model

FEW = ("--resamples", "50")


@pytest.fixture
def results(run: Run, tmp_path: Path, tiny_model: Path) -> Path:
    """A result of two models on copies."""
    pictures, target = flat_folder(tmp_path / "flat", 9), tmp_path / "result.json"
    asked = ("--edits", "easy", "--json", target, "--resamples", "20", "--device", "cpu")
    assert run("evaluate", pictures, "-m", tiny_model, "-m", "histogram", *asked).code == 0
    return target


def test_two_models_of_one_result_are_compared(run: Run, results: Path) -> None:
    outcome = run("compare", f"{results}#tiny", f"{results}#histogram", *FEW)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "A: tiny    B: histogram"
    assert lines[1].split() == [
        "task", "per", "cent", "A", "B", "B", "-", "A", "p", "won", "lost", "tied",
    ]  # fmt: skip
    assert any(line.startswith("copies easy  micro-AP") for line in lines)


def test_a_model_compared_with_itself_wins_and_loses_nothing(run: Run, results: Path) -> None:
    outcome = run("compare", f"{results}#tiny", f"{results}#tiny", *FEW, "--format", "json")
    for each in outcome.objects():
        assert each["difference"] in (0, None)
        assert each["won"] in (0, None)


def test_regressions_are_named_by_file_ten_at_most(
    run: Run, tmp_path: Path, tiny_model: Path
) -> None:
    other = write_tiny_model(tmp_path / "other.safetensors", dim=2, seed=3)
    folder = class_folder(tmp_path / "classes", classes=5)
    outcome = run("compare", tiny_model, other, "--on", folder, *FEW, "--format", "json")
    rows = [each for each in outcome.objects() if "query" in each]
    retrieval = [each for each in rows if each["task"] == "retrieval"]
    assert 0 < len(retrieval) <= 10
    assert all(each["loss"] > 0 for each in rows)
    assert [each["loss"] for each in retrieval] == sorted(
        (each["loss"] for each in retrieval), reverse=True
    )
    assert retrieval[0]["query"].startswith("class-")
    text = run("compare", tiny_model, other, "--on", folder, *FEW).out
    assert "retrieval: where B is worse than A" in text


def test_files_that_cannot_be_read_are_said_and_exit_with_3(
    run: Run, tmp_path: Path, tiny_model: Path
) -> None:
    folder = class_folder(tmp_path / "classes")
    (folder / "class-0" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    outcome = run("compare", tiny_model, "histogram", "--on", folder, *FEW)
    assert outcome.code == 3
    assert "not evaluated: decode  class-0/broken.png" in outcome.err
    assert "tiny: training pictures unknown" in outcome.err


def test_options_that_would_change_nothing_are_refused(run: Run, results: Path) -> None:
    outcome = run("compare", f"{results}#tiny", f"{results}#histogram", "--edits", "hard")
    assert outcome.code == 2
    assert "--edits goes with --on or --pairs" in outcome.err


def test_results_on_other_pictures_are_refused(
    run: Run, tmp_path: Path, results: Path, tiny_model: Path
) -> None:
    other, folder = tmp_path / "other.json", flat_folder(tmp_path / "more", 9, seed=40)
    asked = ("--edits", "easy", "--json", other, "--resamples", "20", "--device", "cpu")
    run("evaluate", folder, "-m", tiny_model, *asked)
    outcome = run("compare", f"{results}#tiny", other)
    assert outcome.code == 2
    assert "they differ in the files" in outcome.err


def test_what_is_no_result_or_no_model_is_refused(run: Run, tmp_path: Path, results: Path) -> None:
    broken = tmp_path / "broken.json"
    for text in ("", "{}", "[]", '{"format": 1}', '{"format": 99}', "\x00"):
        broken.write_text(text)
        assert run("compare", broken, broken).code == 2
    assert run("compare", tmp_path / "gone.json", broken).code == 2
    several = run("compare", results, results)
    assert several.code == 2
    assert "name one" in several.err
    assert run("compare", f"{results}#tiny", f"{results}#nobody").code == 2
