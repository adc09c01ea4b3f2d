"""A linear scene classifier on the teachers' features, whose opinions the network learns from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_BATCH = 512


def teach_probe(
    features: Tensor,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    epochs: int = 6,
    scale: float = 20.0,
    weight_decay: float = 0.1,
    seed: int = 1,
) -> Tensor:
    """Return scene logits (N, C) of every picture, from a linear layer taught on `rows`.

    Args:
        features: unit vectors (N, T), float16 or float32.
        labels: scene of every picture (N,).
        rows: the pictures to teach with. The logits of these are somewhat too sure.
        epochs: rounds over `rows`, with a cosine schedule.
        scale: factor on the unit vectors, which alone are too short to be told apart quickly.
        weight_decay: AdamW's.
        seed: of the order of the pictures.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = int(labels.max()) + 1
    layer = nn.Linear(features.shape[1], classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=5e-3, weight_decay=weight_decay)
    truth, mine = torch.from_numpy(labels), torch.from_numpy(rows)
    steps = epochs * (len(rows) // _BATCH + 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for chosen in mine[torch.randperm(len(mine), generator=generator)].split(_BATCH):
            logits = layer(features[chosen].float() * scale)
            loss = nn.functional.cross_entropy(logits, truth[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.inference_mode():
        parts = [layer(block.float() * scale) for block in features.split(_BATCH)]
    return torch.cat(parts)
