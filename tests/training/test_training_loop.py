"""The training loop learns, reaches every weight, and can be interrupted at no cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from image_similarity.errors import ModelError, WeightsRefused
from image_similarity.training.checkpoint import load_checkpoint, save_checkpoint
from image_similarity.training.loop import StepReport
from image_similarity.training.metrics import measure, run_network
from image_similarity.training.plan import Plan, Stage, rate_at, stage_at
from tests.training.training_samples import PLAN, sample_pictures, sample_trainer


def test_loss_falls_and_recall_rises_on_pictures_that_can_be_told_apart() -> None:
    plan = dataclasses.replace(
        PLAN,
        stages=(Stage(12, 32),),
        pictures_per_scene=4,
        second_views=4,
        learning_rate=1e-3,
        ema_decay=0.8,
    )
    trainer = sample_trainer(plan)
    pictures, labels = sample_pictures(seed=1)
    before = measure(run_network(trainer.average, pictures, mean=plan.mean, std=plan.std), labels)
    reports: list[StepReport] = []
    trainer.run(on_step=reports.append)
    after = measure(run_network(trainer.average, pictures, mean=plan.mean, std=plan.std), labels)
    totals = [sum(report.losses.values()) for report in reports]
    assert sum(totals[-4:]) < 0.8 * sum(totals[:4])
    # Not nearer to 1: how far so few steps get depends on the first weights.
    assert before.recall_at_1 < 0.8 < 0.85 < after.recall_at_1
    assert before.map_at_r < 0.5 < 0.65 < after.map_at_r


def test_every_weight_receives_a_gradient_from_one_step() -> None:
    trainer = sample_trainer()
    trainer.run(until=1)
    idle = [
        name
        for name, weight in trainer.network.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert idle == []
    assert trainer.projector is not None
    assert trainer.projector.weight.grad is not None


def test_training_without_a_teacher_uses_labels_and_triplets_only() -> None:
    reports: list[StepReport] = []
    sample_trainer(taught=False).run(until=1, on_step=reports.append)
    assert set(reports[0].losses) == {"scene", "triplet", "proxy", "copies"}


def test_resumed_training_equals_undisturbed_training(tmp_path: Path) -> None:
    whole = sample_trainer()
    whole.run()
    first = sample_trainer()
    first.run(until=3)
    save_checkpoint(tmp_path / "training.checkpoint", first)
    second = sample_trainer()
    load_checkpoint(tmp_path / "training.checkpoint", second)
    second.run()
    assert second.step_number == whole.step_number == whole.steps
    for kept in ("network", "average", "projector"):
        expected, found = whole.state()[kept], second.state()[kept]
        assert all(torch.equal(expected[name], found[name]) for name in expected), kept


def test_two_trainings_with_one_seed_are_equal_and_with_two_seeds_differ() -> None:
    weights = []
    for seed in (3, 3, 4):
        trainer = sample_trainer(dataclasses.replace(PLAN, seed=seed))
        trainer.run(until=2)
        weights.append(trainer.network.embedding.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "training.checkpoint"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused):
        load_checkpoint(path, sample_trainer())


def test_a_checkpoint_in_which_one_bit_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.checkpoint"
    save_checkpoint(path, sample_trainer())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match="cannot be read as a checkpoint"):
        load_checkpoint(path, sample_trainer())


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.checkpoint"
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, path)
    with pytest.raises(ModelError, match="not a checkpoint of this program"):
        load_checkpoint(path, sample_trainer())


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.checkpoint"
    torch.save({"kind": Path("anything")}, path)
    with pytest.raises(WeightsRefused):
        load_checkpoint(path, sample_trainer())


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "training.checkpoint", sample_trainer())
    other = sample_trainer(dataclasses.replace(PLAN, margin=0.3))
    with pytest.raises(WeightsRefused, match="other settings"):
        load_checkpoint(tmp_path / "training.checkpoint", other)


def test_the_rate_warms_up_and_then_falls_to_its_end() -> None:
    plan = Plan(stages=(Stage(1, 32),), learning_rate=1.0, final_rate=0.1, warm_up_steps=4)
    rates = [rate_at(plan, step, 20) for step in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[20] == pytest.approx(0.1)


def test_stages_follow_each_other() -> None:
    plan = Plan(stages=(Stage(2, 64), Stage(1, 96)))
    assert [stage_at(plan, epoch).size for epoch in range(3)] == [64, 64, 96]
    with pytest.raises(ValueError, match="beyond"):
        stage_at(plan, 3)
