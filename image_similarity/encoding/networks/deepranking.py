"""The DeepRanking network of the widely copied Keras code, as an anchor to compare with.

A VGG16 trunk and two shallow paths that read the picture with strides of 16 and 32, joined by one
linear layer of 4,096. Wang et al. (CVPR 2014) describe the idea; the layers are those of the Keras
network, whose shallow paths skip most pixels where the paper averages them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from image_similarity.encoding.torchvision_import import import_torchvision

_CHANNELS = 96
_HIDDEN = 4096


class DeepRankingNet(nn.Module):
    """DeepRanking with random weights, 63 million in all, and a scene head for the training.

    Input: float32 (N, 3, S, S), S a multiple of 32 and at least 64; the Keras network has 224.
    Output: the embedding (N, dim) float32 of unit length, and scene logits (N, scenes).

    The shallow paths end in 4 x 4 cells at every S, as they do at 224 in the Keras network.
    """

    def __init__(self, *, dim: int = 4096, scenes: int = 100) -> None:
        super().__init__()
        self.config: dict[str, str | int] = {"dim": dim, "scenes": scenes}
        self.width = _HIDDEN
        self.convolutions = import_torchvision().models.vgg16(weights=None).features
        self.hidden = nn.Sequential(
            nn.Linear(512, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.6),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.6),
        )
        self.coarse = nn.Conv2d(3, _CHANNELS, kernel_size=8, stride=16)
        self.coarser = nn.Conv2d(3, _CHANNELS, kernel_size=8, stride=32)
        self.embedding = nn.Linear(2 * _CHANNELS * 16 + _HIDDEN, dim)
        self.scene_head = nn.Linear(_HIDDEN, scenes)

    def describe(self, pictures: Tensor) -> Tensor:
        """Return the trunk's features (N, 4096), before any normalisation."""
        features: Tensor = self.hidden(self.convolutions(pictures).mean(dim=(2, 3)))
        return features.float()

    def embed(self, pictures: Tensor, features: Tensor) -> Tensor:
        """Return unit embeddings (N, dim) of pictures whose trunk features are known."""
        paths = [
            F.normalize(F.adaptive_max_pool2d(path(pictures), 4).flatten(1).float(), dim=1)
            for path in (self.coarse, self.coarser)
        ]
        joined = torch.cat([*paths, F.normalize(features, dim=1)], dim=1)
        return F.normalize(self.embedding(joined).float(), dim=1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return (embedding, scene logits) of normalised pictures (N, 3, S, S)."""
        features = self.describe(pictures)
        return self.embed(pictures, features), self.scene_head(features).float()
