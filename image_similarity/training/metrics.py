"""The figures of a network while it is trained: scene accuracy, calibration and same-scene retrieval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image_similarity.encoding.networks.multiscale import MultiscaleNet
from image_similarity.evaluation.measures import (
    calibration_error,
    retrieval_columns,
    scene_columns,
)
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
    """Return all figures of a network's outputs against the true scenes (N,); see `evaluation.measures`."""
    truth = torch.from_numpy(labels)
    scenes = scene_columns(outputs.logits.softmax(dim=1).numpy(), labels)
    recall, precision, average = retrieval_figures(outputs.embeddings, truth)
    once = np.ones((1, len(labels)))
    return Figures(
        pictures=len(labels),
        top1=float(scenes["top-1"].mean()),
        top5=float(scenes["top-5"].mean()),
        nll=float(torch.nn.functional.cross_entropy(outputs.logits, truth)),
        calibration_error=float(calibration_error(scenes["confidence"], scenes["top-1"], once)[0]),
        recall_at_1=recall,
        precision_at_5=precision,
        map_at_r=average,
    )


def retrieval_figures(embeddings: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Return the mean recall@1, precision@5 and MAP@R of unit embeddings (N, D), each asking for the others.

    NaN if no picture has another of its label (N,).
    """
    _, found = retrieval_columns(embeddings.numpy(), labels.numpy())
    recall, precision, average = (
        float(found[name].mean()) if len(found[name]) else float("nan")
        for name in ("recall@1", "precision@5", "mAP@R")
    )
    return recall, precision, average


def fit_temperature(logits: Tensor, labels: NDArray[np.int64]) -> float:
    """Return the temperature that makes softmax(logits / temperature) most likely (N, C).

    Guo et al., "On calibration of modern neural networks" (2017). One number, found by trying
    a fine grid: exact enough, and equal on every machine.
    """
    truth = torch.from_numpy(labels)
    grid = torch.linspace(0.3, 3.0, 271)
    losses = [float(torch.nn.functional.cross_entropy(logits / value, truth)) for value in grid]
    return round(float(grid[int(np.argmin(losses))]), 2)
