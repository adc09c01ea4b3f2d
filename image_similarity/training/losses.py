"""What the training minimises: scene, ranking and distillation losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from image_similarity.training.mining import Triplets


def scene_loss(logits: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """Return the mean cross-entropy of logits (N, C) against labels (N,), labels smoothed."""
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def triplet_loss(distances: Tensor, triplets: Triplets, *, margin: float) -> Tensor:
    """Return the hinge loss of DeepRanking, averaged over the violating triplets only.

    `distances` (N, N) are squared. The hinge is taken for each triplet *before* averaging:
    averaged first, easy triplets would cancel hard ones. Zero where none violates.
    """
    near = distances[triplets.anchors, triplets.positives]
    far = distances[triplets.anchors, triplets.negatives]
    hinge = F.relu(margin + near - far)
    return hinge.sum() / (hinge > 0).sum().clamp(min=1)


def feature_loss(features: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of 1 - cosine between features and teacher features, both (N, D)."""
    return (1 - F.cosine_similarity(features, targets, dim=1)).mean()


def proxy_loss(
    vectors: Tensor, proxies: Tensor, labels: Tensor, *, scale: float, smoothing: float
) -> Tensor:
    """Return the cross-entropy of unit vectors (N, D) against one learned direction a scene (C, D).

    Draws a scene's embeddings together, which the triplets of a small batch do slowly (Zhai and Wu,
    "Classification is a strong baseline for deep metric learning", 2019).
    """
    logits = scale * vectors @ F.normalize(proxies, dim=1).T
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def copy_loss(vectors: Tensor, pictures: Tensor, *, temperature: float) -> Tensor:
    """Return the cross-entropy of finding a view's other view among all views of a batch.

    InfoNCE (van den Oord et al., 2018), the loss of copy detection (Pizzi et al., SSCD, 2022), over
    those views that have exactly one other; `vectors` are unit vectors (N, D), `pictures` (N,) the
    number of the picture that each view shows. Zero where there is no such view.
    """
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    other = (pictures[:, None] == pictures[None, :]) & ~itself
    anchors = torch.nonzero(other.sum(dim=1) == 1).flatten()
    if len(anchors) == 0:
        return vectors.sum() * 0
    logits = (vectors @ vectors.T / temperature).masked_fill(itself, float("-inf"))
    return F.cross_entropy(logits[anchors], other[anchors].int().argmax(dim=1))


def soft_label_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean Kullback-Leibler divergence from teacher probabilities (N, C)."""
    return F.kl_div(F.log_softmax(logits, dim=1), targets, reduction="batchmean")


def relation_loss(
    vectors: Tensor, targets: Tensor, *, temperature: float, target_temperature: float
) -> Tensor:
    """Return how far the likeness of the batch's views to each other is from the teacher's.

    The likenesses of a view to all others, through a softmax, are a distribution; the loss is
    the mean divergence between the student's and the teacher's (Fang et al., SEED, 2021, with
    the batch for a queue). Both inputs are unit vectors, (N, D) and (N, T).
    """
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    student = (vectors @ vectors.T / temperature).masked_fill(itself, float("-inf"))
    teacher = (targets @ targets.T / target_temperature).masked_fill(itself, float("-inf"))
    wanted = F.softmax(teacher, dim=1)
    log_student = F.log_softmax(student, dim=1).masked_fill(itself, 0)
    log_wanted = F.log_softmax(teacher, dim=1).masked_fill(itself, 0)
    return (wanted * (log_wanted - log_student)).sum(dim=1).mean()
