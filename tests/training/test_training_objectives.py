"""Losses of own trainings: what the miners pick, and one interface for all."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.errors import ExtraMissing
from image_similarity.training.mining import squared_distances
from image_similarity.training.objectives import (
    MINERS,
    make_objective,
    mine_batch_hard,
    mine_semi_hard,
    relation_to,
)
from image_similarity.training.recipe import LOSSES


def unit_vectors(count: int, dim: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, dim, generator=generator), dim=1)


@pytest.mark.parametrize("miner", sorted(MINERS))
@given(
    labels=st.lists(st.integers(0, 3), min_size=2, max_size=12),
    seed=st.integers(0, 100),
    equal=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_mining_never_picks_the_anchor_nor_a_wrong_label(
    miner: str, labels: list[int], seed: int, equal: bool
) -> None:
    truth = torch.tensor(labels)
    vectors = unit_vectors(len(labels), seed=seed)
    if equal:  # all distances zero: the hardest place to tell the anchor from its positive
        vectors = vectors[:1].expand(len(labels), -1)
    found = MINERS[miner](squared_distances(vectors), truth)
    assert (found.anchors != found.positives).all()
    assert (truth[found.anchors] == truth[found.positives]).all()
    assert (truth[found.anchors] != truth[found.negatives]).all()


def test_semi_hard_mining_takes_every_pair_and_the_nearest_negative_beyond_it() -> None:
    distances = torch.tensor(
        [
            [0.0, 1.0, 0.5, 1.2, 1.5],
            [1.0, 0.0, 2.0, 0.3, 0.4],
            [0.5, 2.0, 0.0, 1.0, 1.0],
            [1.2, 0.3, 1.0, 0.0, 1.0],
            [1.5, 0.4, 1.0, 1.0, 0.0],
        ]
    )
    found = mine_semi_hard(distances, torch.tensor([0, 0, 1, 2, 3]))
    triplets = zip(
        found.anchors.tolist(), found.positives.tolist(), found.negatives.tolist(), strict=True
    )
    # For picture 0 that is 3, though 2 is nearer; for picture 1 it is 2, the one beyond its positive.
    assert list(triplets) == [(0, 1, 3), (1, 0, 2)]


def test_batch_hard_mining_takes_the_furthest_positive_and_the_nearest_negative() -> None:
    points = torch.tensor([[0.0], [0.1], [0.9], [0.3], [1.0]])
    distances = (points - points.T) ** 2
    found = mine_batch_hard(distances, torch.tensor([0, 0, 0, 1, 2]))
    assert found.anchors.tolist() == [0, 1, 2]
    assert found.positives.tolist() == [2, 2, 0]
    assert found.negatives.tolist() == [3, 3, 4]


def test_the_hinge_is_taken_for_each_triplet_and_averaged_over_the_violating_ones() -> None:
    angles = torch.tensor([0.0, 0.1, 0.2, 3.0])
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([0, 0, 1, 2])
    loss = make_objective("batch-hard", margin=0.05, dim=2, groups=3)(vectors, labels)
    near, far = 2 - 2 * torch.tensor(0.1).cos(), 2 - 2 * torch.tensor(0.2).cos()
    first = torch.relu(0.05 + near - far)  # anchor 0: its negative is at 0.2
    second = torch.relu(0.05 + near - near)  # anchor 1: its negative is as near as its positive
    torch.testing.assert_close(loss, (first + second) / 2)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_embeddings_and_labels_and_falls_when_it_is_followed(name: str) -> None:
    torch.manual_seed(1)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    objective = make_objective(name, margin=0.2, dim=6, groups=4)
    free = unit_vectors(8).requires_grad_()
    optimizer = torch.optim.Adam([free, *objective.parameters()], lr=0.05)
    losses = []
    for _ in range(30):
        loss = objective(torch.nn.functional.normalize(free, dim=1), labels)
        assert loss.ndim == 0
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_a_batch_without_a_triplet_costs_nothing_and_still_has_gradients() -> None:
    vectors = unit_vectors(3).requires_grad_()
    for name in MINERS:
        loss = make_objective(name, margin=0.2, dim=6, groups=3)(vectors, torch.arange(3))
        loss.backward()
        assert float(loss.detach()) == 0


def test_a_teacher_of_another_length_is_followed_in_its_likenesses() -> None:
    teacher = unit_vectors(6, dim=10, seed=4)
    free = unit_vectors(6, dim=4, seed=5).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.05)
    values = []
    for _ in range(60):
        loss = relation_to(torch.nn.functional.normalize(free, dim=1), teacher)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < values[0] / 2


def test_without_the_library_its_losses_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pytorch_metric_learning"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExtraMissing, match="pytorch-metric-learning") as caught:
        make_objective("nt-xent", margin=0.1, dim=4, groups=2)
    assert "image_similarity[train]" in caught.value.hint
