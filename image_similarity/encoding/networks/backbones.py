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

The names of the weights stay torchvision's, so that a published file fits as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

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


def backbone(name: str) -> nn.Module:
    """Return a network by torchvision's name, cut at its embedding, with random weights.

    Its forward takes float32 (N, 3, H, W), normalised with ImageNet's mean and deviation, and gives
    the embedding (N, D), not normalised.

    Raises:
        KeyError: the network is none of those in the table above.
    """
    head = _HEADS[name]
    build = getattr(import_torchvision().models, name)
    network: nn.Module = build(weights=None, **_ARGUMENTS.get(name, {}))
    network.set_submodule(head, nn.Identity())
    if name.startswith("vgg"):
        network.set_submodule("avgpool", nn.AdaptiveAvgPool2d(1))
    return network


def adapt_state(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a published file that the cut network has, under today's names."""
    left_out = (f"{_HEADS[name]}.", "AuxLogits.")
    kept = {key: value for key, value in state.items() if not key.startswith(left_out)}
    if name != "densenet121":
        return kept
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in kept.items()}
