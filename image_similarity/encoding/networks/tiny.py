"""The smallest network that still means something: a colour thumbnail under a linear map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TinyNet(nn.Module):
    """Average-pool to a colour thumbnail, project it to the embedding and to scene logits.

    It runs in well under a millisecond and serves tests, demonstrations and authors of plug-ins.
    Two pictures with a similar arrangement of colours get similar vectors; nothing more is claimed.
    """

    def __init__(self, dim: int, scenes: int = 0, thumbnail: int = 8) -> None:
        """Make a network with `dim` outputs and `scenes` logits (0: none)."""
        super().__init__()
        self.thumbnail = thumbnail
        # A module of its own, as the colours of its cells are the network's only map of features.
        self.pool = nn.AdaptiveAvgPool2d(thumbnail)
        inputs = 3 * thumbnail * thumbnail
        self.embedding = nn.Linear(inputs, dim, bias=False)
        self.scene_head = nn.Linear(inputs, scenes, bias=False) if scenes else None

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return vectors (N, dim) and logits (N, scenes) or None, of float32 (N, 3, H, W)."""
        # Contiguous first: flattening a channels_last tensor would copy it anyway, in NCHW order.
        small = self.pool(pictures).contiguous()
        values = torch.flatten(small, start_dim=1)
        logits = self.scene_head(values) if self.scene_head is not None else None
        return self.embedding(values), logits
