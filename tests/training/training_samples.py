"""Tiny labelled pictures and a short plan, so that training takes seconds."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from image_similarity.encoding.networks.multiscale import MultiscaleNet
from image_similarity.training.augment import Augmentation
from image_similarity.training.loop import Trainer, TrainingSet
from image_similarity.training.plan import Plan, Stage

SCENES = 4
PER_SCENE = 8
SIDE = 32

PLAN = Plan(
    stages=(Stage(2, SIDE),),
    seed=3,
    scenes_per_batch=4,
    pictures_per_scene=2,
    second_views=2,
    warm_up_steps=2,
    # The hue tells the scene, so it must stay.
    augmentation=Augmentation(min_area=0.7, jitter=0.1, grey_chance=0.0, box_chance=0.0),
)


def sample_pictures(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return noisy stripes, uint8 (N, 32, 32, 3): their hue is the scene, all else is chance."""
    generator = np.random.default_rng(seed)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    hues = np.array([[1.0, 0.7, 0.7], [0.7, 1.0, 0.7], [0.7, 0.7, 1.0], [0.9, 0.9, 0.6]])
    labels = np.repeat(np.arange(SCENES, dtype=np.int64), PER_SCENE)
    pictures = np.zeros((len(labels), SIDE, SIDE, 3), dtype=np.uint8)
    for row, label in enumerate(labels):
        slope, start = generator.uniform(-1, 1, 2), generator.uniform(0, 6)
        stripes = np.sin(across * slope[0] + down * slope[1] + start) > 0
        light = generator.uniform(40, 120) + generator.uniform(40, 120) * stripes
        noise = generator.uniform(-20, 20, (SIDE, SIDE, 3))
        pictures[row] = np.clip(light[..., None] * hues[label] + noise, 0, 255)
    return pictures, labels


def sample_set(*, taught: bool = True) -> TrainingSet:
    """Return the pictures as a training set, with made-up teacher features or without."""
    pictures, labels = sample_pictures()
    features = soft_labels = None
    if taught:
        centres = torch.randn(SCENES, 12, generator=torch.Generator().manual_seed(5))
        own = torch.randn(len(labels), 12, generator=torch.Generator().manual_seed(6))
        features = torch.nn.functional.normalize(centres[labels] + 0.3 * own, dim=1)
        soft_labels = torch.nn.functional.one_hot(torch.from_numpy(labels), SCENES) * 0.8 + 0.05
    rows = np.arange(len(labels), dtype=np.int64)
    return TrainingSet(torch.from_numpy(pictures), labels, rows, features, soft_labels)


def sample_trainer(plan: Plan = PLAN, *, taught: bool = True) -> Trainer:
    """Return a trainer of a new network; equal calls give equal trainers."""
    torch.manual_seed(11)
    network = MultiscaleNet("regnet_x_400mf", dim=32, scenes=SCENES, shallow_channels=8)
    return Trainer(network, sample_set(taught=taught), plan, amp=False)
