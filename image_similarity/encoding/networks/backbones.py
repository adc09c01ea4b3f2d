"""torchvision's classifiers cut before their classifier, so that they give an embedding.

| network | embedding (N, D) | D |
|---|---|---|
| resnet18, resnet50, resnet101 | mean of the last feature map | 512, 2048, 2048 |
| vgg16, vgg19 | mean of the last feature map; its three linear layers, most of the weights, are left out | 512 |
| inception_v3 | mean of the last feature map | 2048 |
| mobilenet_v2, efficientnet_b0 | mean of the last feature map | 1280 |
| mobilenet_v3_large | mean of the last feature map, before the classifier's hidden layer | 960 |
| densenet121 | mean of the last feature map after ReLU | 1024 |
| convnext_tiny | mean of the last feature map after the classifier's LayerNorm | 768 |
| vit_b_16 | class token after the last LayerNorm | 768 |

A card may choose another `layer`, by torchvision's name for it, and how its map becomes a vector (`pool`: gap, gem or
flatten). Without a layer that is the last map of features, below; with neither it is the embedding above.

A published file fits as it is: `adapt_state` gives its tensors the names that they have here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from image_similarity.encoding.networks.layers import LayerNet, overlap, under_whole
from image_similarity.encoding.torchvision_import import import_torchvision

# Attributes that hold the classifier, each replaced by a layer that changes nothing.
_HEADS = {
    "resnet18": "fc",
    "resnet50": "fc",
    "resnet101": "fc",
    "vgg16": "classifier",
    "vgg19": "classifier",
    "inception_v3": "fc",
    "mobilenet_v2": "classifier",
    "mobilenet_v3_large": "classifier",
    "efficientnet_b0": "classifier",
    "densenet121": "classifier",
    "convnext_tiny": "classifier.2",
    "vit_b_16": "heads",
}

# The last map of features, which `pool` works on unless a layer is named.
_MAPS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "resnet101": "layer4",
    "vgg16": "features",
    "vgg19": "features",
    "inception_v3": "Mixed_7c",
    "mobilenet_v2": "features",
    "mobilenet_v3_large": "features",
    "efficientnet_b0": "features",
    "densenet121": "features",
    "convnext_tiny": "features",
    "vit_b_16": "encoder",
}

# What torchvision must be told besides "no weights". transform_input: the published weights are
# those of TensorFlow, which wants values in [-1, 1]; torchvision then converts inside the network.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "vgg16": {"init_weights": False},
    "vgg19": {"init_weights": False},
    "inception_v3": {"init_weights": False, "aux_logits": False, "transform_input": True},
    "densenet121": {"memory_efficient": False},
}

# The published densenet file is older than torchvision's ban of points in names of layers.
_OLD_DENSENET = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)")


def backbone(name: str, *, layer: str | None = None, pool: str | None = None) -> nn.Module:
    """Return a network by torchvision's name, cut at its embedding, with random weights.

    Its forward takes float32 (N, 3, H, W), normalised with ImageNet's mean and deviation, and gives
    the embedding (N, D), not normalised: that of the table above, or that of the layer, pooled by "gap"
    unless told otherwise.

    Raises:
        KeyError: the network is none of those in the table above.
        WeightsRefused: it has no such layer, or there is no such pooling.
    """
    head = _HEADS[name]
    build = getattr(import_torchvision().models, name)
    network: nn.Module = build(weights=None, **_ARGUMENTS.get(name, {}))
    if layer is None or not overlap(layer, head):
        network.set_submodule(head, nn.Identity())
    if layer is not None or pool is not None:
        chosen = _MAPS[name] if layer is None else layer
        how = "gap" if pool is None else pool
        return LayerNet(network, chosen, how, of=f"torchvision/{name}")
    if name.startswith("vgg"):
        network.set_submodule("avgpool", nn.AdaptiveAvgPool2d(1))
    return network


def adapt_state(
    name: str, state: Mapping[str, Any], *, layer: str | None = None, pool: str | None = None
) -> dict[str, Any]:
    """Return the tensors of a published file that the cut network has, under today's names."""
    kept = {key: value for key, value in state.items() if not key.startswith("AuxLogits.")}
    if layer is None or not overlap(layer, _HEADS[name]):
        kept = {key: each for key, each in kept.items() if not key.startswith(f"{_HEADS[name]}.")}
    if name == "densenet121":
        kept = {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in kept.items()}
    return kept if layer is None and pool is None else under_whole(kept)
