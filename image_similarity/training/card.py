"""The card of the built-in model: what it is, how it came about and what it is not for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from image_similarity.encoding.networks.multiscale import MultiscaleNet
from image_similarity.training.export import Card
from image_similarity.training.loop import Trainer
from image_similarity.training.metrics import Figures
from image_similarity.training.plan import Plan

LICENCE = (
    "MIT, as the project. The weights were trained on MiniPlaces, a subset of Places that is "
    "published for research and education; whether that limits your use is yours to judge."
)
NOT_FOR = (
    "Not trained to recognise the same room from another angle, persons, faces, text or single "
    "objects. A high score is a lead, not an identification."
)
ORIGIN = "Trained from random weights by scripts/train_builtin.py of this project."


def make_card(
    network: MultiscaleNet,
    plan: Plan,
    *,
    size: int,
    scenes: Sequence[str],
    training: dict[str, Any],
    heldout: Figures,
) -> Card:
    """Return the card of a network that takes pictures of `size` x `size`."""
    return {
        "format": 1,
        "name": "builtin",
        "architecture": f"multiscale/{network.config['trunk']}",
        "config": dict(network.config),
        "dim": network.config["dim"],
        "preprocess": {
            "size": size,
            "interpolation": "bicubic",
            "fit": "squash",
            "decode_scale": 2,
            "mean": list(plan.mean),
            "std": list(plan.std),
        },
        "prefixes": list(plan.prefixes),
        "scenes": list(scenes),
        "licence": LICENCE,
        "training": training,
        "figures": {"heldout": rounded(heldout)},
        "not_for": NOT_FOR,
        "origin": ORIGIN,
    }


def describe_training(
    trainer: Trainer,
    *,
    heldout: int,
    teachers: Sequence[str],
    temperature: float,
    hours: float,
    started_from: str | None,
    centred: bool = False,
    note: str = "",
) -> dict[str, Any]:
    """Return what the card says of a training: data, split, recipe, seed and cost.

    `heldout` is the number of pictures held out, `hours` the time that all legs took.
    """
    recipe, data = dataclasses.asdict(trainer.plan), trainer.data
    count, side, scenes = (
        len(data.pictures),
        data.pictures.shape[1],
        trainer.network.config["scenes"],
    )
    return {
        "data": f"MiniPlaces train, {count:,} pictures of {side} x {side} in {scenes} scenes",
        "split": f"{heldout:,} of them held out for every choice (scripts/builtin_heldout.txt)",
        "pictures": len(data.rows),
        "recipe": recipe,
        "teachers": list(teachers),
        "teachers_saw": "the learner's views" if data.teacher else "plain pictures",
        "centred": centred,
        "seed": trainer.plan.seed,
        "steps": trainer.step_number,
        "epochs": round(trainer.step_number / trainer.steps_per_epoch, 1),
        "hours": round(hours, 2),
        "temperature_folded_in": temperature,
        "weights": "exponential moving average",
        "started_from": started_from or "random weights",
        "note": note,
    }


def rounded(figures: Figures) -> dict[str, float | int]:
    """Return figures as a dictionary, shares to four places."""
    values = dataclasses.asdict(figures)
    return {name: round(value, 4) for name, value in values.items()}
