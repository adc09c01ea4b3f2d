"""The DeepRanking network of the widely copied Keras code, number for number, for weights that were trained with it.

Facts are those of https://github.com/akarshzingade/image-similarity-deep-ranking; the tests compare with Keras itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

# VGG16: so many convolutions before each of the five poolings.
BLOCKS = (2, 2, 3, 3, 3)
_CELLS = 16
# Each layer with weights, in the order of Keras's files.
LAYER_NAMES = (
    *(f"trunk.{number}" for number in range(sum(BLOCKS))),
    "coarse",
    "coarser",
    *(f"dense.{number}" for number in range(3)),
)


class KerasDeepRanking(nn.Module):
    """A VGG16 trunk and two shallow paths on one picture, joined by a dense layer.

    Input: float32 (N, 3, 224, 224), RGB in [0, 1]. Output: unit vectors (N, dim), float32.
    """

    def __init__(
        self, *, trunk: Sequence[int], shallow: Sequence[int], hidden: Sequence[int], dim: int
    ) -> None:
        """Make the layers: channels of 13 convolutions, of 2 shallow paths, widths of 2 hidden layers, and the last."""
        super().__init__()
        if (len(trunk), len(shallow), len(hidden)) != (sum(BLOCKS), 2, 2):
            raise ValueError("13 trunk, 2 shallow and 2 hidden widths are expected")
        self.trunk = nn.ModuleList(
            nn.Conv2d(before, here, kernel_size=3, padding=1)
            for before, here in zip((3, *trunk), trunk, strict=False)
        )
        # Keras's padding "same" adds none at 224: 13 x 16 + 8 = 216 and 6 x 32 + 8 = 200. What is left over at the
        # right and at the bottom is not seen.
        self.coarse = nn.Conv2d(3, shallow[0], kernel_size=8, stride=16)
        self.coarser = nn.Conv2d(3, shallow[1], kernel_size=8, stride=32)
        joined = _CELLS * sum(shallow) + hidden[1]
        self.dense = nn.ModuleList(
            nn.Linear(before, here)
            for before, here in ((trunk[-1], hidden[0]), (hidden[0], hidden[1]), (joined, dim))
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Return unit vectors (N, dim) of pictures (N, 3, 224, 224)."""
        features = pictures
        layers = iter(self.trunk)
        for count in BLOCKS:
            for _ in range(count):
                features = F.relu(next(layers)(features))
            features = F.max_pool2d(features, 2)
        features = features.mean(dim=(2, 3))
        for layer in self.dense[:2]:
            features = F.relu(layer(features))
        # "same" again: 14 cells get one more at their end, 7 get three on both sides, none of which is ever the
        # largest.
        coarse = F.max_pool2d(self.coarse(pictures), 3, 4, ceil_mode=True)
        coarser = F.max_pool2d(self.coarser(pictures), 7, 2, padding=3)
        joined = [_unit(_flat(coarse)), _unit(_flat(coarser)), _unit(features)]
        vectors: Tensor = self.dense[2](torch.cat(joined, dim=1))
        return _unit(vectors)


def _flat(maps: Tensor) -> Tensor:
    """Flatten (N, C, H, W) as Keras does, which keeps channels last."""
    return maps.permute(0, 2, 3, 1).flatten(1)


def _unit(rows: Tensor) -> Tensor:
    """K.l2_normalize: where a row is nearly nothing it stays so."""
    squares = (rows * rows).sum(dim=1, keepdim=True)
    return rows * torch.rsqrt(squares.clamp(min=1e-12))
