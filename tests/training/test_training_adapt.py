"""Fitting a network to its final size changes statistics and scene head, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from image_similarity.training.adapt import (
    adapt_normalisation,
    refit_scene_head,
    resized_batch,
    trunk_features,
)
from image_similarity.training.plan import Plan
from tests.training.training_samples import PLAN, sample_set, sample_trainer


def test_statistics_become_those_of_plain_pictures_and_weights_stay() -> None:
    trainer = sample_trainer()
    network, data = trainer.average, trainer.data
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    adapt_normalisation(network, data.pictures, data.rows, size=64, plan=PLAN)
    first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    assert not torch.equal(first.running_mean, torch.zeros_like(first.running_mean))
    assert first.momentum == 0.1
    assert all(torch.equal(before[name], weight) for name, weight in network.named_parameters())
    assert not network.training


def test_a_refitted_head_tells_scenes_apart_that_the_old_one_did_not() -> None:
    trainer = sample_trainer()
    network, data = trainer.average, trainer.data
    adapt_normalisation(network, data.pictures, data.rows, size=32, plan=PLAN)
    features = trunk_features(network, data.pictures, data.rows, size=32, plan=PLAN)
    labels = torch.from_numpy(data.labels)

    def accuracy() -> float:
        return float((network.scene_head(features).argmax(dim=1) == labels).float().mean())

    before = accuracy()
    refit_scene_head(network, features, labels, epochs=60, rate=0.02)
    assert before < 0.5 < 0.9 < accuracy()


def test_plain_pictures_of_the_right_size_are_only_normalised() -> None:
    plan = dataclasses.replace(Plan(()), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    data = sample_set()
    batch = resized_batch(data.pictures, torch.arange(2), 32, plan)
    expected = data.pictures[:2].numpy().transpose(0, 3, 1, 2) / 127.5 - 1
    assert np.allclose(batch.numpy(), expected, atol=1e-6)
    assert resized_batch(data.pictures, torch.arange(2), 64, plan).shape == (2, 3, 64, 64)
