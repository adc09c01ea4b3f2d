"""Figures equal those computed by hand, and come out the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from image_similarity.errors import WeightsRefused
from image_similarity.training.export import fold_temperature, read_model, write_model
from image_similarity.training.metrics import (
    Outputs,
    fit_temperature,
    measure,
    retrieval_figures,
    run_network,
)
from tests.training.training_samples import PLAN, sample_pictures, sample_trainer


def test_retrieval_figures_equal_those_computed_by_hand() -> None:
    angles = torch.tensor([0.0, 0.1, 0.25, 1.5])
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    recall, precision, average = retrieval_figures(embeddings, torch.tensor([0, 1, 0, 1]))
    # Order of the others: 0 -> 1 2 3, 1 -> 0 2 3, 2 -> 1 0 3, 3 -> 2 1 0; one relevant each.
    assert recall == 0.0
    assert precision == pytest.approx(1 / 3)
    assert average == 0.0


def test_perfect_clusters_have_perfect_figures() -> None:
    embeddings = torch.eye(3).repeat_interleave(6, dim=0)
    labels = torch.arange(3).repeat_interleave(6)
    assert retrieval_figures(embeddings, labels) == (1.0, 1.0, 1.0)


def test_a_lone_picture_of_its_scene_is_no_query() -> None:
    embeddings = torch.eye(3)[[0, 0, 1]]
    assert retrieval_figures(embeddings, torch.tensor([0, 0, 1]))[0] == 1.0


def test_evaluating_twice_gives_the_same_numbers() -> None:
    trainer = sample_trainer()
    pictures, labels = sample_pictures()
    first, second = (
        measure(run_network(trainer.network, pictures, mean=PLAN.mean, std=PLAN.std), labels)
        for _ in range(2)
    )
    assert first == second


def test_the_temperature_restores_logits_that_were_made_too_sure() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4000, 5, generator=generator) * 2
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).flatten()
    assert fit_temperature(logits * 2, labels.numpy()) == pytest.approx(2.0, abs=0.15)
    embeddings = torch.nn.functional.normalize(logits, dim=1)
    sure, true = (
        measure(Outputs(embeddings, each), labels.numpy()) for each in (logits * 2, logits)
    )
    assert sure.calibration_error > 2 * true.calibration_error


def test_a_folded_temperature_divides_the_logits_and_leaves_the_embedding() -> None:
    network = sample_trainer().average
    pictures, _ = sample_pictures()
    before = run_network(network, pictures, mean=PLAN.mean, std=PLAN.std)
    fold_temperature(network, 2.0)
    after = run_network(network, pictures, mean=PLAN.mean, std=PLAN.std)
    assert torch.allclose(after.logits, before.logits / 2, atol=1e-6)
    assert torch.equal(after.embeddings, before.embeddings)


def test_a_written_model_comes_back_with_its_card_and_nearly_its_embeddings(
    tmp_path: Path,
) -> None:
    network = sample_trainer().average
    card = {"architecture": "multiscale/regnet_x_400mf", "config": dict(network.config)}
    write_model(tmp_path / "model.safetensors", network, card)
    restored, found = read_model(tmp_path / "model.safetensors")
    pictures, _ = sample_pictures()
    one, two = (
        run_network(each, pictures, mean=PLAN.mean, std=PLAN.std) for each in (network, restored)
    )
    assert found == card
    assert float((one.embeddings * two.embeddings).sum(dim=1).min()) > 0.999


@pytest.mark.parametrize("card", [{}, {"architecture": "multiscale/x", "config": {"trunk": "x"}}])
def test_a_file_of_no_multiscale_network_is_refused(
    tmp_path: Path, card: dict[str, object]
) -> None:
    write_model(tmp_path / "model.safetensors", sample_trainer().average, card)
    with pytest.raises(WeightsRefused):
        read_model(tmp_path / "model.safetensors")


def test_labels_of_any_order_are_measured_alike() -> None:
    trainer = sample_trainer()
    pictures, labels = sample_pictures()
    order = np.random.default_rng(1).permutation(len(labels))
    one = measure(run_network(trainer.average, pictures, mean=PLAN.mean, std=PLAN.std), labels)
    two = measure(
        run_network(trainer.average, pictures[order], mean=PLAN.mean, std=PLAN.std), labels[order]
    )
    assert one.top1 == two.top1
    assert one.map_at_r == pytest.approx(two.map_at_r, abs=1e-6)
