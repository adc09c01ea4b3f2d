"""Which triplets of a batch to learn from: easy positives, semi-hard negatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Triplets:
    """Rows of a batch, int64 (T,) each: the anchor, one more like it, one less like it."""

    anchors: Tensor
    positives: Tensor
    negatives: Tensor

    def __len__(self) -> int:
        return len(self.anchors)


def squared_distances(vectors: Tensor) -> Tensor:
    """Return squared Euclidean distances (N, N), in [0, 4], between unit vectors (N, D)."""
    return (2 - 2 * vectors @ vectors.T).clamp(min=0)


@torch.no_grad()
def mine_triplets(distances: Tensor, labels: Tensor, pictures: Tensor) -> Triplets:
    """Return copy triplets and scene triplets of a batch of views.

    A copy triplet has another view of the same picture as its positive, and any other picture,
    of the same scene too, as its negative. A scene triplet has the *nearest* other picture of
    the same scene as its positive (Xuan et al., "Improved embeddings with easy positive triplet
    mining", 2020: two bedrooms need not collapse into one point), and a picture of another
    scene as its negative. Negatives are semi-hard (Schroff et al., FaceNet, 2015): the nearest
    one that is further away than the positive, or else the furthest of all.

    Args:
        distances: squared distances (N, N) of the views.
        labels: scene of each view (N,).
        pictures: number of the picture that each view shows (N,); equal for two views of one.
    """
    same_picture = pictures[:, None] == pictures[None, :]
    same_scene = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    copies = _mine(distances, same_picture & ~itself, ~same_picture)
    scenes = _mine(distances, same_scene & ~same_picture, ~same_scene)
    return Triplets(
        torch.cat([copies.anchors, scenes.anchors]),
        torch.cat([copies.positives, scenes.positives]),
        torch.cat([copies.negatives, scenes.negatives]),
    )


def _mine(distances: Tensor, may_be_positive: Tensor, may_be_negative: Tensor) -> Triplets:
    """Return one triplet for each anchor that has a positive and a negative."""
    far = distances.new_tensor(float("inf"))
    usable = may_be_positive.any(dim=1) & may_be_negative.any(dim=1)
    anchors = torch.nonzero(usable).flatten()
    nearest = torch.where(may_be_positive, distances, far)[anchors]
    limit, positives = nearest.min(dim=1)
    negative = may_be_negative[anchors]
    candidates = torch.where(negative, distances[anchors], far)
    harder = torch.where(candidates > limit[:, None], candidates, far)
    semi_hard, negatives = harder.min(dim=1)
    furthest = torch.where(negative, distances[anchors], -far).argmax(dim=1)
    negatives = torch.where(torch.isinf(semi_hard), furthest, negatives)
    return Triplets(anchors, positives, negatives)
