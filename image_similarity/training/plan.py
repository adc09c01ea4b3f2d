"""The settings of one training: everything that its result depends on besides the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from image_similarity.training.augment import Augmentation


@dataclass(frozen=True, slots=True)
class Stage:
    """Some epochs at one picture size (a multiple of 32)."""

    epochs: int
    size: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How a network is trained.

    Early stages use small pictures, as a picture of 64 px costs a quarter of one of 128 px;
    the last stage prepares for the size at which the model is used (Touvron et al., "Fixing
    the train-test resolution discrepancy", 2019).
    """

    stages: tuple[Stage, ...]
    seed: int = 1
    scenes_per_batch: int = 40
    pictures_per_scene: int = 4
    second_views: int = 32
    learning_rate: float = 2e-3
    final_rate: float = 2e-5
    warm_up_steps: int = 300
    weight_decay: float = 0.05
    ema_decay: float = 0.999
    clip_norm: float = 2.0
    smoothing: float = 0.1
    margin: float = 0.1
    prefixes: tuple[int, ...] = (64, 128, 256)
    temperature: float = 0.1
    teacher_temperature: float = 0.07
    scene_weight: float = 0.5
    soft_label_weight: float = 1.0
    triplet_weight: float = 2.0
    relation_weight: float = 0.5
    feature_weight: float = 1.0
    proxy_weight: float = 1.0
    proxy_scale: float = 12.0
    copy_weight: float = 0.25
    copy_temperature: float = 0.07
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    augmentation: Augmentation = Augmentation()  # noqa: RUF009 - frozen, so it can be shared


def stage_at(plan: Plan, epoch: int) -> Stage:
    """Return the stage that an epoch, counted from 0, belongs to."""
    end = 0
    for stage in plan.stages:
        end += stage.epochs
        if epoch < end:
            return stage
    raise ValueError(f"epoch {epoch} is beyond the plan's {end}")


def epochs_of(plan: Plan) -> int:
    """Return the number of epochs of all stages."""
    return sum(stage.epochs for stage in plan.stages)


def rate_at(plan: Plan, step: int, steps: int) -> float:
    """Return the learning rate at a step: linear warm-up, then half a cosine to `final_rate`."""
    if step < plan.warm_up_steps:
        return plan.learning_rate * (step + 1) / plan.warm_up_steps
    done = (step - plan.warm_up_steps) / max(1, steps - plan.warm_up_steps)
    span = plan.learning_rate - plan.final_rate
    return plan.final_rate + span * (1 + math.cos(math.pi * min(1.0, done))) / 2
