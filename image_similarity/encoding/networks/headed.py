"""Any network with a small linear head behind its embedding: what `train --head` makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

# Marks the entries of a card's configuration that belong to the network below the head.
PREFIX = "backbone."


class HeadedNet(nn.Module):
    """A network and a linear map of its embedding, brought to length 1, to another length.

    Args:
        backbone: gives an embedding (N, width), or a pair of it and scene logits.
        width: length of the backbone's embedding.
        dim: length of the new one.
    """

    def __init__(self, backbone: nn.Module, *, width: int, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, dim)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return vectors (N, dim), and the backbone's logits if it has any, of (N, 3, H, W)."""
        output = self.backbone(pictures)
        embedding, logits = output if isinstance(output, tuple) else (output, None)
        return self.head(functional.normalize(embedding.float(), dim=1)), logits


def headed_config(config: Mapping[str, Any], *, width: int, dim: int) -> dict[str, Any]:
    """Return the configuration of a headed network above one of `config`."""
    inner = {PREFIX + key: value for key, value in config.items()}
    return {"width": width, "dim": dim, **inner}


def backbone_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the backbone's part of a headed network's configuration."""
    return {
        key.removeprefix(PREFIX): value for key, value in config.items() if key.startswith(PREFIX)
    }
