"""Fitting a network to its final size changes statistics and scene head, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from image_similarity.training.adapt import (
    adapt_normalisation,
    centre_embedding,
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


def test_a_centred_embedding_has_a_mean_of_zero_before_normalisation() -> None:
    trainer = sample_trainer()
    network, data = trainer.average, trainer.data
    adapt_normalisation(network, data.pictures, data.rows, size=32, plan=PLAN)
    before = {name: weight.clone() for name, weight in network.named_parameters()}

    def means() -> torch.Tensor:
        images = resized_batch(data.pictures, torch.from_numpy(data.rows), 32, PLAN)
        outputs: list[torch.Tensor] = []
        hook = network.embedding.register_forward_hook(lambda *each: outputs.append(each[2]))
        with torch.no_grad():
            network(images)
        hook.remove()
        return outputs[0].mean(dim=0)

    assert means().abs().max() > 0.01
    centre_embedding(network, data.pictures, data.rows, size=32, plan=PLAN)
    assert means().abs().max() < 1e-6
    changed = [n for n, weight in network.named_parameters() if not torch.equal(weight, before[n])]
    assert changed == ["embedding.bias"]
    assert len(network.embedding._forward_hooks) == 0


def test_plain_pictures_of_the_right_size_are_only_normalised() -> None:
    plan = dataclasses.replace(Plan(()), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    data = sample_set()
    batch = resized_batch(data.pictures, torch.arange(2), 32, plan)
    expected = data.pictures[:2].numpy().transpose(0, 3, 1, 2) / 127.5 - 1
    assert np.allclose(batch.numpy(), expected, atol=1e-6)
    assert resized_batch(data.pictures, torch.arange(2), 64, plan).shape == (2, 3, 64, 64)
