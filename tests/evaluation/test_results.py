"""A result survives its JSON file, and the plot and the comparison need nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def _without(content: dict[str, Any], *keys: str) -> None:
    for key in keys[:-1]:
        content = content[key][0] if key == "models" else content[key]
    del content[keys[-1]]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: _without(content, "models", "outcomes", "copies named", "matched"),
        lambda content: content["tasks"]["copies named"].update(kind="other", groups=[10**30]),
        lambda content: content.update(setting=[]),
        lambda content: content["models"].clear(),
    ],
)
def test_a_file_that_lacks_what_is_compared_is_refused_when_it_is_read(
    tmp_path: Path, tiny_model: Path, spoil: Callable[[Any], None]
) -> None:
    path = tmp_path / "result.json"
    asked = request(tiny_model, pictures=flat_folder(tmp_path / "flat", 4), edits=("mirror",))
    write_evaluation(evaluate(asked), path)
    content = json.loads(path.read_text())
    spoil(content)
    for text in (json.dumps(content), "[" * 100_000):
        path.write_text(text)
        with pytest.raises(InvalidSetting, match="is no result of an evaluation"):
            read_evaluation(path)


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
