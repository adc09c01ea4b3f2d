"""A result survives its JSON file, and the plot and the comparison need nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_similarity.errors import InvalidSetting
from image_similarity.evaluation import evaluate, read_evaluation, write_evaluation
from image_similarity.evaluation.compare import compare
from image_similarity.evaluation.plot import main_measures, write_plot
from tests.evaluation.samples import class_folder, flat_folder, request


def test_a_result_comes_back_from_its_file(tmp_path: Path, tiny_model: Path) -> None:
    pictures = flat_folder(tmp_path / "flat", 6)
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    asked = request(
        tiny_model, pictures=pictures, edits=("mirror",), models=(str(tiny_model), "histogram")
    )
    found = evaluate(asked)
    write_evaluation(found, tmp_path / "result.json")
    again = read_evaluation(tmp_path / "result.json")
    assert again.notes == found.notes
    assert again.failures == found.failures
    assert dict(again.setting) == dict(found.setting)
    assert [each.figures for each in again.models] == [each.figures for each in found.models]
    one, other = found.models[0].outcomes[0], again.models[0].outcomes[0]
    assert (one.queries, one.groups.tolist()) == (other.queries, other.groups.tolist())
    for name, values in one.columns.items():
        assert other.columns[name] == pytest.approx(values, abs=1e-7)
    fresh, stored = (
        compare(each.models[0], each.models[1], resamples=20) for each in (found, again)
    )
    assert fresh == stored
    assert sorted(path.name for path in tmp_path.glob("result*")) == ["result.json"]


def test_the_plot_shows_the_main_measures_and_not_every_edit(
    tmp_path: Path, tiny_model: Path
) -> None:
    pytest.importorskip("matplotlib")
    asked = request(
        tiny_model,
        pictures=class_folder(tmp_path / "classes"),
        edits=("easy",),
        models=(str(tiny_model), "histogram"),
    )
    found = evaluate(asked)
    names = main_measures(found)
    assert ("copies easy", "micro-AP") in names
    assert not any("recall@1, " in measure for _, measure in names)
    write_plot(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_models_without_a_common_task_cannot_be_compared(tmp_path: Path, tiny_model: Path) -> None:
    classes = evaluate(request(tiny_model, pictures=class_folder(tmp_path / "classes")))
    flat = flat_folder(tmp_path / "flat", 4)
    copies = evaluate(request(tiny_model, pictures=flat, edits=("mirror",)))
    with pytest.raises(InvalidSetting, match="no common task"):
        compare(classes.models[0], copies.models[0])
    fewer = evaluate(request(tiny_model, pictures=tmp_path / "classes", sample=8))
    with pytest.raises(InvalidSetting, match="different queries"):
        compare(classes.models[0], fewer.models[0])
    with pytest.raises(InvalidSetting, match="no model 'nobody'"):
        classes.model("nobody")
