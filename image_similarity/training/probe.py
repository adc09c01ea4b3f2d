"""A linear scene classifier on the teachers' features, whose opinions the network learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_BATCH = 512


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear classifier of unit vectors: logits = scale * features @ weight.T + bias.

    `weight` is (C, T), `bias` (C,). The `scale` is there because unit vectors alone are too short to
    be told apart quickly.
    """

    weight: Tensor
    bias: Tensor
    scale: float

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        """Return scene logits (N, C), float32, of unit vectors (N, T), float16 or float32."""
        parts = [
            nn.functional.linear(block.float() * self.scale, self.weight, self.bias)
            for block in features.split(_BATCH)
        ]
        return torch.cat(parts)


def teach_probe(
    features: Tensor,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    epochs: int = 6,
    scale: float = 20.0,
    weight_decay: float = 0.1,
    seed: int = 1,
) -> Probe:
    """Return a linear layer taught on `rows`, on the device of the features.

    Args:
        features: unit vectors (N, T), float16 or float32.
        labels: scene of every picture (N,).
        rows: the pictures to teach with. The logits of these are somewhat too sure.
        epochs: rounds over `rows`, with a cosine schedule.
        scale: the probe's.
        weight_decay: AdamW's.
        seed: of the order of the pictures.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = int(labels.max()) + 1
    device = features.device
    layer = nn.Linear(features.shape[1], classes, device=device)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=5e-3, weight_decay=weight_decay)
    truth, mine = torch.from_numpy(labels).to(device), torch.from_numpy(rows)
    steps = epochs * (len(rows) // _BATCH + 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        order = mine[torch.randperm(len(mine), generator=generator)].to(device)
        for chosen in order.split(_BATCH):
            logits = layer(features[chosen].float() * scale)
            loss = nn.functional.cross_entropy(logits, truth[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return Probe(layer.weight.detach(), layer.bias.detach(), scale)
