"""The multiscale ranking network of the built-in model, after DeepRanking.

Wang et al., "Learning Fine-grained Image Similarity with Deep Ranking" (CVPR 2014), join a deep
network with two shallow ones that see the picture at a quarter and an eighth of its size.
Widely copied code imitates the small pictures with large strides, which skips most pixels;
here the picture really is averaged down.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor, nn

from image_similarity.encoding.networks.regnet import regnet_x_400mf
from image_similarity.encoding.torchvision_import import import_torchvision

# The trunks that can be built. Those of torchvision with the attributes that make up the convolutional
# part; the built-in model's is our own, which makes torchvision unnecessary for it.
TRUNKS: dict[str, tuple[str, ...]] = {
    "regnet_x_400mf": (),
    "regnet_x_800mf": ("stem", "trunk_output"),
    "regnet_y_400mf": ("stem", "trunk_output"),
    "resnet18": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "mobilenet_v2": ("features",),
    "mobilenet_v3_large": ("features",),
}

# Cells per side of the shallow paths' output, whatever the picture's size (the paper's 4 x 4).
_SHALLOW_CELLS = 4


class ShallowPath(nn.Module):
    """One low-resolution path: average down, convolve once, pool to 4 x 4 cells, normalise.

    It keeps where which colours and edges lie, which the pooled deep features forget.
    """

    def __init__(self, factor: int, channels: int) -> None:
        super().__init__()
        self.factor = factor
        self.convolution = nn.Conv2d(3, channels, kernel_size=8, stride=4, padding=2)

    def shrink(self, pictures: Tensor) -> Tensor:
        """Return the pictures at 1/factor of their size, each pixel the mean of its area."""
        return F.avg_pool2d(pictures, self.factor, self.factor)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return unit vectors (N, channels * 16) of pictures (N, 3, S, S)."""
        cells = F.relu(self.convolution(self.shrink(pictures)))
        cells = _pool_to_cells(_pool_to_cells(cells, dim=2), dim=3)
        return F.normalize(cells.flatten(1).float(), dim=1)


def _pool_to_cells(values: Tensor, *, dim: int) -> Tensor:
    """Return the largest values of four stretches of one dimension.

    The same as torch's adaptive max pooling, which cannot be exported to ONNX.
    """
    # int: a traced graph would otherwise calculate the cells anew for each batch.
    side = int(values.shape[dim])
    starts = [cell * side // _SHALLOW_CELLS for cell in range(_SHALLOW_CELLS)]
    ends = [-(-(cell + 1) * side // _SHALLOW_CELLS) for cell in range(_SHALLOW_CELLS)]
    stretches = [
        values.narrow(dim, start, end - start).amax(dim=dim, keepdim=True)
        for start, end in zip(starts, ends, strict=True)
    ]
    return torch.cat(stretches, dim=dim)


class MultiscaleNet(nn.Module):
    """A deep trunk and two low-resolution paths in one embedding, with a scene head.

    Input: float32 (N, 3, S, S), normalised as (value / 255 - mean) / std with the card's mean
    and std; S a multiple of 32. Output: the embedding (N, dim) float32 of unit length, and the
    scene logits (N, scenes), whose softmax is calibrated as it stands.

    Args:
        trunk: a name in `TRUNKS`; always built with random weights.
        dim: length of the embedding.
        scenes: number of scene classes.
        shallow_channels: channels of each low-resolution path (the paper's 96).
        shallow_dim: rank of the linear map from the two low-resolution paths. Mapping their
            3072 numbers straight into the embedding would cost 0.8 million weights, more than
            the package has room for.
    """

    def __init__(
        self,
        trunk: str = "regnet_x_400mf",
        *,
        dim: int = 256,
        scenes: int = 100,
        shallow_channels: int = 96,
        shallow_dim: int = 64,
    ) -> None:
        super().__init__()
        self.config: dict[str, str | int] = {
            "trunk": trunk,
            "dim": dim,
            "scenes": scenes,
            "shallow_channels": shallow_channels,
            "shallow_dim": shallow_dim,
        }
        self.trunk, width = _build_trunk(trunk)
        self.quarter = ShallowPath(4, shallow_channels)
        self.eighth = ShallowPath(8, shallow_channels)
        shallow_width = 2 * shallow_channels * _SHALLOW_CELLS**2
        self.shallow = nn.Linear(shallow_width, shallow_dim, bias=False)
        self.embedding = nn.Linear(width + shallow_dim, dim)
        self.scene_head = nn.Linear(width, scenes)
        self.width = width

    def describe(self, pictures: Tensor) -> Tensor:
        """Return the pooled trunk features (N, width), float32, before any normalisation."""
        features: Tensor = self.trunk(pictures)
        return features.float().mean(dim=(2, 3))

    def embed(self, pictures: Tensor, features: Tensor) -> Tensor:
        """Return unit embeddings (N, dim) of pictures whose trunk features are known."""
        low = torch.cat([self.quarter(pictures), self.eighth(pictures)], dim=1)
        joined = torch.cat([F.normalize(features, dim=1), self.shallow(low).float()], dim=1)
        return F.normalize(self.embedding(joined).float(), dim=1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return (embedding, scene logits) of normalised pictures (N, 3, S, S)."""
        features = self.describe(pictures)
        return self.embed(pictures, features), self.scene_head(features).float()


def _build_trunk(name: str) -> tuple[nn.Sequential, int]:
    """Return a trunk with random weights and the number of channels that it gives."""
    if name not in TRUNKS:
        raise ValueError(f"unknown trunk {name!r}; known: {', '.join(TRUNKS)}")
    if name == "regnet_x_400mf":
        return regnet_x_400mf()
    torchvision = import_torchvision()
    build: Callable[..., nn.Module] = getattr(torchvision.models, name)
    network = build(weights=None)
    trunk = nn.Sequential(*(getattr(network, part) for part in TRUNKS[name]))
    width = [layer.out_channels for layer in trunk.modules() if isinstance(layer, nn.Conv2d)][-1]
    return trunk, width
