"""The result of an evaluation, and its JSON file, from which two models can be compared later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from image_similarity.errors import InvalidSetting
from image_similarity.evaluation.bootstrap import Figure
from image_similarity.evaluation.measures import Outcomes, statistics
from image_similarity.values import Failure
from image_similarity.whole_file import writing

FORMAT = 1


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model's figures; `training` says in words what is known of the pictures that it was trained on."""

    name: str
    kind: str
    fingerprint: str
    dim: int | None
    training: str
    centred: bool
    figures: tuple[Figure, ...]
    outcomes: tuple[Outcomes, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Several models measured on the same pictures.

    Attributes:
        setting: what was measured on and how, in JSON values; two evaluations with one setting can be compared.
        notes: what a reader must know, one sentence each.
        models: in the order asked for.
        failures: files that could not be read or embedded, and so are in no figure.
    """

    setting: Mapping[str, Any]
    notes: tuple[str, ...]
    models: tuple[ModelResult, ...]
    failures: tuple[Failure, ...]

    def model(self, name: str) -> ModelResult:
        """Return the result of one model.

        Raises:
            InvalidSetting: it was not evaluated here.
        """
        for each in self.models:
            if each.name == name:
                return each
        names = ", ".join(each.name for each in self.models)
        raise InvalidSetting(f"no model {name!r} was evaluated", hint=f"there are: {names}")


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write a result as one JSON file, with the outcome of every query, in one move.

    Raises:
        OSError.
    """
    tasks = {each.task: each for model in evaluation.models for each in model.outcomes}
    content = {
        "format": FORMAT,
        "setting": dict(evaluation.setting),
        "notes": list(evaluation.notes),
        "failures": [asdict(each) for each in evaluation.failures],
        # Told once, not again for each model.
        "tasks": {
            name: {
                "kind": task.kind,
                "queries": list(task.queries),
                "groups": task.groups.tolist(),
            }
            for name, task in tasks.items()
        },
        "models": [_model_entry(each) for each in evaluation.models],
    }
    text = json.dumps(content, allow_nan=False)
    with writing(path) as file:
        file.write(text.encode("ascii"))


def read_evaluation(path: Path) -> Evaluation:
    """Return a result that `write_evaluation` wrote.

    Raises:
        InvalidSetting: the file is not there or not such a result.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise InvalidSetting(
                f"{path} has format {content['format']}; this program reads {FORMAT}"
            )
        if not isinstance(content["setting"], dict) or not content["models"]:
            raise ValueError("no setting or no model")
        return Evaluation(
            setting=content["setting"],
            notes=tuple(content["notes"]),
            models=tuple(_model(each, content["tasks"]) for each in content["models"]),
            failures=tuple(Failure(**each) for each in content["failures"]),
        )
    except OSError as error:
        raise InvalidSetting(f"cannot read {path}: {error.strerror}") from error
    except (
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise InvalidSetting(
            f"{path} is no result of an evaluation",
            hint="image-similarity evaluate --json writes one",
        ) from error


def _model_entry(model: ModelResult) -> dict[str, Any]:
    return {
        "name": model.name,
        "kind": model.kind,
        "fingerprint": model.fingerprint,
        "dim": model.dim,
        "training": model.training,
        "centred": model.centred,
        "figures": [asdict(each) for each in model.figures],
        "outcomes": {
            each.task: {name: _numbers(values) for name, values in each.columns.items()}
            for each in model.outcomes
        },
    }


def _numbers(values: Any) -> list[float]:
    """Whole numbers without a point, others to 7 places: float32 holds no more."""
    return [int(value) if value == int(value) else round(float(value), 7) for value in values]


def _model(entry: Mapping[str, Any], tasks: Mapping[str, Any]) -> ModelResult:
    outcomes = tuple(
        Outcomes(
            task,
            tasks[task]["kind"],
            tuple(tasks[task]["queries"]),
            np.array(tasks[task]["groups"], dtype=np.int64),
            {name: np.array(values, dtype=np.float64) for name, values in columns.items()},
        )
        for task, columns in entry["outcomes"].items()
    )
    if any(
        len(values) != len(each.queries)
        for each in outcomes
        for values in (each.groups, *each.columns.values())
    ):
        raise ValueError("columns of another length")
    for each in outcomes:
        statistics(each)  # raises KeyError where a column of its kind is missing
    return ModelResult(
        entry["name"],
        entry["kind"],
        entry["fingerprint"],
        entry["dim"],
        entry["training"],
        entry["centred"],
        tuple(Figure(**each) for each in entry["figures"]),
        outcomes,
    )
