"""Mining gives triplets whose parts are what they claim; the hinge counts violations only."""

from __future__ import annotations

import pytest
import torch

from image_similarity.training.losses import copy_loss, relation_loss, triplet_loss
from image_similarity.training.mining import Triplets, mine_triplets, squared_distances


def sample_batch(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.nn.functional.normalize(torch.randn(24, 6, generator=generator), dim=1)
    pictures = torch.cat([torch.arange(18), torch.arange(6)])
    return squared_distances(vectors), pictures // 3, pictures


@pytest.mark.parametrize("seed", range(5))
def test_the_anchor_is_never_its_own_positive_or_negative(seed: int) -> None:
    triplets = mine_triplets(*sample_batch(seed))
    assert len(triplets) > 24
    assert not (triplets.anchors == triplets.positives).any()
    assert not (triplets.anchors == triplets.negatives).any()


@pytest.mark.parametrize("seed", range(5))
def test_positives_are_copies_or_of_the_scene_and_negatives_are_neither(seed: int) -> None:
    distances, labels, pictures = sample_batch(seed)
    triplets = mine_triplets(distances, labels, pictures)
    is_copy = pictures[triplets.anchors] == pictures[triplets.positives]
    same_scene = labels[triplets.anchors] == labels[triplets.positives]
    assert (is_copy | same_scene).all()
    assert is_copy.sum() == 12
    assert (pictures[triplets.anchors] != pictures[triplets.negatives]).all()
    other_scene = labels[triplets.anchors] != labels[triplets.negatives]
    assert (is_copy | other_scene).all()


def test_the_negative_is_the_nearest_one_beyond_the_positive() -> None:
    places = torch.tensor([0.0, 0.30, 0.20, 0.35, 0.9])
    distances = (places[:, None] - places[None, :]) ** 2
    labels = torch.tensor([0, 0, 1, 1, 1])
    triplets = mine_triplets(distances, labels, torch.arange(5))
    row = int((triplets.anchors == 0).nonzero())
    assert (int(triplets.positives[row]), int(triplets.negatives[row])) == (1, 3)


def test_without_a_negative_beyond_the_positive_the_furthest_is_taken() -> None:
    places = torch.tensor([0.0, 0.9, 0.2, 0.35])
    distances = (places[:, None] - places[None, :]) ** 2
    triplets = mine_triplets(distances, torch.tensor([0, 0, 1, 1]), torch.arange(4))
    row = int((triplets.anchors == 0).nonzero())
    assert int(triplets.negatives[row]) == 3


def test_a_batch_without_positives_gives_no_triplets_and_no_loss() -> None:
    distances = squared_distances(torch.eye(3))
    triplets = mine_triplets(distances, torch.arange(3), torch.arange(3))
    assert len(triplets) == 0
    assert float(triplet_loss(distances, triplets, margin=0.1)) == 0.0


def test_easy_triplets_do_not_cancel_hard_ones() -> None:
    distances = torch.tensor([[0.0, 0.5, 0.4, 3.9], [0.5, 0, 0, 0], [0.4, 0, 0, 0], [3.9, 0, 0, 0]])
    triplets = Triplets(torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([2, 3]))
    assert float(triplet_loss(distances, triplets, margin=0.1)) == pytest.approx(0.2)


def test_relations_equal_to_the_teachers_cost_nothing() -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(8, 5, generator=torch.Generator().manual_seed(1)), dim=1
    )
    same = relation_loss(vectors, vectors, temperature=0.1, target_temperature=0.1)
    other = relation_loss(vectors, vectors.flip(0), temperature=0.1, target_temperature=0.1)
    assert float(same) == pytest.approx(0.0, abs=1e-6)
    assert float(other) > 0.1


def test_a_copy_is_found_when_it_is_nearest_and_pictures_without_a_copy_do_not_count() -> None:
    unit = torch.eye(6)
    vectors = torch.stack([unit[0], unit[1], unit[2], unit[0], unit[1]])
    pictures = torch.tensor([7, 8, 9, 7, 8])
    assert float(copy_loss(vectors, pictures, temperature=0.05)) < 1e-6
    swapped = torch.tensor([7, 8, 9, 8, 7])
    assert float(copy_loss(vectors, swapped, temperature=0.05)) > 10
    assert float(copy_loss(vectors, torch.arange(5), temperature=0.05)) == 0
