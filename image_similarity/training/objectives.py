"""What a training on own groups minimises: one interface, `objective(embeddings, labels)`, for every loss.

The triplet losses are ours, after FaceNet (Schroff et al., 2015), "In defense of the triplet loss" (Hermans et al.,
2017) and easy-positive mining (Xuan et al., 2020); the others come from pytorch-metric-learning, with its defaults.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from image_similarity.errors import ExtraMissing
from image_similarity.training import losses
from image_similarity.training.mining import Triplets, mine_triplets, squared_distances
from image_similarity.training.recipe import LIBRARY_LOSSES

# Zhai and Wu, "Classification is a strong baseline for deep metric learning" (2019), scale unit vectors before the
# softmax; 16 is between their 20 and the 12 at which the built-in model was trained.
_SCALE = 16.0
_SMOOTHING = 0.1

Miner = Callable[[Tensor, Tensor], Triplets]


def make_objective(name: str, *, margin: float, dim: int, groups: int) -> nn.Module:
    """Return a loss that takes unit vectors (N, `dim`) and labels (N,) below `groups` and gives a scalar.

    Some have weights of their own (a direction for each group), drawn with torch's generator.

    Raises:
        ExtraMissing: pytorch-metric-learning is not installed.
        KeyError: there is no such loss.
    """
    if name in LIBRARY_LOSSES:
        return _from_library(name, dim=dim, groups=groups)
    if name == "classification":
        return Classification(dim, groups)
    return TripletLoss(MINERS[name], margin=margin)


class TripletLoss(nn.Module):
    """Hinge loss with a margin for each triplet that a miner finds in a batch, over those that violate it."""

    def __init__(self, mine: Miner, *, margin: float) -> None:
        super().__init__()
        self.mine = mine
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of max(0, margin + d(a, p) - d(a, n)) over violating triplets, d squared distances."""
        distances = squared_distances(embeddings)
        return losses.triplet_loss(
            distances, self.mine(distances.detach(), labels), margin=self.margin
        )


class Classification(nn.Module):
    """Cross-entropy against one learned direction for each group."""

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(groups, dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of unit vectors against the groups' directions."""
        return losses.proxy_loss(
            embeddings, self.directions, labels, scale=_SCALE, smoothing=_SMOOTHING
        )


@torch.no_grad()
def mine_semi_hard(distances: Tensor, labels: Tensor) -> Triplets:
    """Return every pair of a group with its semi-hard negative.

    That is the nearest picture of another group that is further from the anchor than the positive is, or else the
    furthest: the hardest negatives of all let embeddings collapse early on.

    Args:
        distances: (N, N), squared.
        labels: group of each picture (N,).
    """
    positive, negative = _pairs(labels)
    anchors, positives = torch.nonzero(positive & negative.any(dim=1)[:, None], as_tuple=True)
    far = distances.new_tensor(float("inf"))
    others = torch.where(negative, distances, far)[anchors]
    harder = torch.where(others > distances[anchors, positives][:, None], others, far)
    nearest, negatives = harder.min(dim=1)
    furthest = torch.where(negative, distances, -far)[anchors].argmax(dim=1)
    return Triplets(anchors, positives, torch.where(torch.isinf(nearest), furthest, negatives))


@torch.no_grad()
def mine_batch_hard(distances: Tensor, labels: Tensor) -> Triplets:
    """Return for each picture its furthest positive and its nearest negative of the batch."""
    positive, negative = _pairs(labels)
    anchors = torch.nonzero(positive.any(dim=1) & negative.any(dim=1)).flatten()
    far = distances.new_tensor(float("inf"))
    positives = torch.where(positive, distances, -far)[anchors].argmax(dim=1)
    negatives = torch.where(negative, distances, far)[anchors].argmin(dim=1)
    return Triplets(anchors, positives, negatives)


def mine_easy_positive(distances: Tensor, labels: Tensor) -> Triplets:
    """Return for each picture its nearest positive and a semi-hard negative.

    For groups that hold unlike pictures, such as the rooms of one hotel, which need not become one point.
    """
    return mine_triplets(distances, labels, torch.arange(len(labels), device=labels.device))


MINERS: dict[str, Miner] = {
    "semi-hard": mine_semi_hard,
    "batch-hard": mine_batch_hard,
    "easy-positive": mine_easy_positive,
}


def relation_to(vectors: Tensor, teacher: Tensor) -> Tensor:
    """Return how far the likenesses within a batch are from the teacher's; any two lengths of vectors go together."""
    return losses.relation_loss(
        vectors, functional.normalize(teacher, dim=1), temperature=0.1, target_temperature=0.1
    )


def _pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pictures may be positives and which negatives of which, bool (N, N); never the anchor itself."""
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return same & ~itself, ~same


def _from_library(name: str, *, dim: int, groups: int) -> nn.Module:
    try:
        from pytorch_metric_learning import losses as library
    except ImportError as error:
        raise ExtraMissing(
            f"The loss {name} comes from pytorch-metric-learning, which is not installed.",
            hint='pip install "image_similarity[train]"',
        ) from error
    made: nn.Module = {
        "multi-similarity": lambda: library.MultiSimilarityLoss(),
        "proxy-anchor": lambda: library.ProxyAnchorLoss(groups, dim),
        "arcface": lambda: library.ArcFaceLoss(groups, dim),
        "nt-xent": lambda: library.NTXentLoss(),
    }[name]()
    return made
