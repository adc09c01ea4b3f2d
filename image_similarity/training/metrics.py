"""Figures of a model: scene accuracy, calibration and same-scene retrieval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image_similarity.encoding.networks.multiscale import MultiscaleNet
from image_similarity.training.augment import normalise

_BATCH = 125


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network says of N pictures: unit embeddings (N, D) and scene logits (N, C)."""

    embeddings: Tensor
    logits: Tensor


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares between 0 and 1; `nll` in nats, `calibration_error` as a share."""

    pictures: int
    top1: float
    top5: float
    nll: float
    calibration_error: float
    recall_at_1: float
    precision_at_5: float
    map_at_r: float


@torch.inference_mode()
def run_network(
    network: MultiscaleNet,
    pictures: NDArray[np.uint8] | Tensor,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: int | None = None,
    device: str = "cpu",
) -> Outputs:
    """Return a network's outputs for uint8 pictures (N, S, S, 3), in float32 and in order.

    Pictures of another size than `size` are resized first, with torch's counterpart of the
    model's bicubic filter: close to it, but only Pillow's is the finished model's.
    """
    network.eval()
    embeddings, logits = [], []
    for start in range(0, len(pictures), _BATCH):
        block = torch.as_tensor(np.array(pictures[start : start + _BATCH])).to(device)
        images = block.permute(0, 3, 1, 2).float() / 255
        if size is not None and size != images.shape[-1]:
            images = torch.nn.functional.interpolate(
                images, size=size, mode="bicubic", antialias=True
            ).clamp(0, 1)
        images = normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
        embedding, scene = network(images)
        embeddings.append(embedding.float().cpu())
        logits.append(scene.float().cpu())
    return Outputs(torch.cat(embeddings), torch.cat(logits))


def measure(outputs: Outputs, labels: NDArray[np.int64]) -> Figures:
    """Return all figures of a network's outputs against the true scenes (N,)."""
    truth = torch.from_numpy(labels)
    top = outputs.logits.topk(min(5, outputs.logits.shape[1]), dim=1).indices
    hits = top == truth[:, None]
    recall, precision, average = retrieval_figures(outputs.embeddings, truth)
    return Figures(
        pictures=len(truth),
        top1=float(hits[:, 0].float().mean()),
        top5=float(hits.any(dim=1).float().mean()),
        nll=float(torch.nn.functional.cross_entropy(outputs.logits, truth)),
        calibration_error=calibration_error(outputs.logits, truth),
        recall_at_1=recall,
        precision_at_5=precision,
        map_at_r=average,
    )


def retrieval_figures(embeddings: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Return recall@1, precision@5 and MAP@R of the same scene, each picture asking the others.

    MAP@R (Musgrave et al., "A metric learning reality check", 2020) is the mean over queries of
    the sum of precision at each relevant place among the first R, over R; R is the number of
    other pictures of the query's scene. Queries without any are left out.
    """
    recall, precision, average = [], [], []
    for start in range(0, len(labels), 500):
        likeness = embeddings[start : start + 500] @ embeddings.T
        mine = torch.arange(len(likeness))
        likeness[mine, mine + start] = -torch.inf
        order = likeness.argsort(dim=1, descending=True, stable=True)[:, :-1]
        relevant = (labels[order] == labels[start : start + 500, None]).float()
        wanted = relevant.sum(dim=1)
        relevant, wanted = relevant[wanted > 0], wanted[wanted > 0]
        places = torch.arange(1, relevant.shape[1] + 1)
        precisions = relevant.cumsum(dim=1) / places
        inside = places[None, :] <= wanted[:, None]
        recall.append(relevant[:, 0])
        precision.append(relevant[:, :5].mean(dim=1))
        average.append((precisions * relevant * inside).sum(dim=1) / wanted)
    means = [float(torch.cat(values).mean()) for values in (recall, precision, average)]
    return means[0], means[1], means[2]


def copy_recall(copies: Tensor, originals: Tensor) -> float:
    """Return the share of copies (N, D) whose nearest original (M, D) is that of the same row.

    Both are unit vectors, and M is at least N; the other originals are there to be confused with.
    """
    nearest = (copies @ originals.T).argmax(dim=1)
    return float((nearest == torch.arange(len(copies))).float().mean())


def calibration_error(logits: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    """Return the expected calibration error: mean gap of confidence and accuracy over bins."""
    confidence, guess = logits.softmax(dim=1).max(dim=1)
    right = (guess == labels).float()
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    gap = 0.0
    for number in range(bins):
        inside = bin_of == number
        if inside.any():
            share = float(inside.float().mean())
            gap += share * abs(float(confidence[inside].mean()) - float(right[inside].mean()))
    return gap


def fit_temperature(logits: Tensor, labels: NDArray[np.int64]) -> float:
    """Return the temperature that makes softmax(logits / temperature) most likely (N, C).

    Guo et al., "On calibration of modern neural networks" (2017). One number, found by trying
    a fine grid: exact enough, and equal on every machine.
    """
    truth = torch.from_numpy(labels)
    grid = torch.linspace(0.3, 3.0, 271)
    losses = [float(torch.nn.functional.cross_entropy(logits / value, truth)) for value in grid]
    return round(float(grid[int(np.argmin(losses))]), 2)
