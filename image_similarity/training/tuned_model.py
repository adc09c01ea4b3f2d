"""The file of a model that was trained on own pictures: weights, hashes of the pictures, and a card."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn

from image_similarity.encoding import registry
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.training_hashes import read_training_hashes
from image_similarity.training.export import Card, record_golden, sorted_hashes, write_model
from image_similarity.training.recipe import Figures, Recipe, TrainingReport
from image_similarity.values import ModelInfo

NOT_FOR = (
    "Measured only on pictures like those that it was trained on, by the maker of this file. A high "
    "score is a lead, not an identification."
)


def split_path(output: Path) -> Path:
    """Return where the split is written beside a model's file."""
    return output.with_suffix(".split.csv")


def taught_before(recipe: Recipe) -> list[bytes]:
    """Return the first 8 bytes of the SHA-256 of each picture that the start model's weights learned from."""
    weights = registry.get(recipe.model).weights
    if recipe.from_scratch or weights is None:
        return []
    earlier = read_training_hashes(weights)
    return [] if earlier is None else [row.tobytes() for row in earlier]


def write_tuned_model(
    path: Path,
    network: nn.Module,
    spec: ModelSpec,
    *,
    name: str,
    recipe: Recipe,
    start: ModelInfo,
    report: TrainingReport,
    training_sha256: Sequence[str],
) -> None:
    """Write the model so that `-m` takes the file; `spec` says how it is run, `start` where it came from."""
    hashes = [bytes.fromhex(each) for each in training_sha256]
    # What the start model was taught, this one knows too.
    hashes += taught_before(recipe)
    write_model(
        path,
        cast("Any", network),  # any network's weights are stored alike
        make_tuned_card(spec, name=name, recipe=recipe, start=start, report=report),
        training_sha256=np.unique(sorted_hashes(hashes), axis=0),
    )
    record_golden(path)


def make_tuned_card(
    spec: ModelSpec, *, name: str, recipe: Recipe, start: ModelInfo, report: TrainingReport
) -> Card:
    """Return the card: how the model is run, what it came from, its recipe, split, counts and figures."""
    begun = "random weights" if recipe.from_scratch else f"{start.name} ({start.fingerprint})"
    best = report.epochs[report.best_epoch - 1]
    settings = dataclasses.asdict(recipe)
    # A path of this machine says nothing elsewhere, and may say too much.
    settings["groups"] = recipe.groups and recipe.groups.name
    settings["model"] = start.name
    settings["teacher"] = recipe.teacher and registry.get(recipe.teacher).name
    settings["learning_rate"] = recipe.rate
    del settings["licence"]
    return {
        "format": 1,
        "name": name,
        "architecture": spec.architecture,
        "config": dict(spec.config),
        "layer": spec.layer,
        "dim": spec.dim,
        "centre": None if spec.centre is None else list(spec.centre),
        "preprocess": {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(spec.preprocess).items()
        },
        "scenes": list(spec.scenes),
        "scene_filter": {"top_k": spec.scene_top_k, "mass": spec.scene_mass},
        "licence": recipe.licence or f"Not stated. The start model's: {start.licence}"[:4000],
        "origin": f"Trained by image-similarity train, beginning with {begun}.",
        "not_for": NOT_FOR,
        "training": {
            "started_from": begun,
            "groups": report.groups,
            "pictures": report.training,
            "validation_pictures": report.validation,
            "left_out_of_validation": report.left_out,
            "split": split_path(Path(f"{name}.safetensors")).name
            if report.split is None
            else report.split.name,
            "recipe": settings,
            "epoch_chosen": report.best_epoch,
        },
        "figures": {
            "validation": _shares(best.figures),
            "start_model_on_the_same": None if report.start is None else _shares(report.start),
            **({"classes": dataclasses.asdict(report.classes)} if report.classes else {}),
        },
    }


def _shares(figures: Figures) -> dict[str, float]:
    return {key: round(value, 4) for key, value in dataclasses.asdict(figures).items()}
