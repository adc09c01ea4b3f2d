"""The published ImageNet networks of torchvision that are known by name, as values.

Each is cut before its classifier, see `networks.backbones`. The preprocessing is the one that
torchvision documents for the weights named in `origin`; a test compares the two. Only the decoding
at a reduced scale is ours. All but name, licence and origin goes into the fingerprint, the wording
of `layer` too: to change it is to part from every vector that was stored.
"""

from __future__ import annotations

from typing import Literal

from image_similarity.encoding.spec import ModelSpec
from image_similarity.values import Preprocess

LICENCE = "Published with torchvision (BSD-3-Clause); trained on ImageNet-1k, whose terms apply"

POOLED = "mean of the last feature map"


def _spec(
    trunk: str,
    file: str,
    dim: int,
    layer: str,
    resize: int,
    *,
    size: int = 224,
    interpolation: Literal["bicubic", "bilinear"] = "bilinear",
    version: str = "IMAGENET1K_V1",
) -> ModelSpec:
    """Return the spec of one network; mean and standard deviation are those of `Preprocess`."""
    return ModelSpec(
        name=f"torchvision/{trunk}",
        architecture=f"torchvision/{trunk}",
        preprocess=Preprocess(size, fit="crop", resize=resize, interpolation=interpolation),
        layer=layer,
        dim=dim,
        licence=LICENCE,
        origin=f"torchvision, weights {version}, published as {file}",
    )


TORCHVISION_SPECS = (
    _spec("resnet18", "resnet18-f37072fd.pth", 512, POOLED, 256),
    _spec("resnet50", "resnet50-11ad3fa6.pth", 2048, POOLED, 232, version="IMAGENET1K_V2"),
    _spec("resnet101", "resnet101-cd907fc2.pth", 2048, POOLED, 232, version="IMAGENET1K_V2"),
    _spec("vgg16", "vgg16-397923af.pth", 512, POOLED, 256),
    _spec("vgg19", "vgg19-dcbb9e9d.pth", 512, POOLED, 256),
    _spec("inception_v3", "inception_v3_google-0cc3c7bd.pth", 2048, POOLED, 342, size=299),
    _spec("mobilenet_v2", "mobilenet_v2-7ebf99e0.pth", 1280, POOLED, 232, version="IMAGENET1K_V2"),
    _spec(
        "mobilenet_v3_large",
        "mobilenet_v3_large-5c1a4163.pth",
        960,
        POOLED,
        232,
        version="IMAGENET1K_V2",
    ),
    _spec(
        "efficientnet_b0",
        "efficientnet_b0_rwightman-7f5810bc.pth",
        1280,
        POOLED,
        256,
        interpolation="bicubic",
    ),
    _spec("densenet121", "densenet121-a639ec97.pth", 1024, f"{POOLED} after ReLU", 256),
    _spec("convnext_tiny", "convnext_tiny-983f1562.pth", 768, f"{POOLED} after LayerNorm", 236),
    _spec("vit_b_16", "vit_b_16-c867db91.pth", 768, "class token after the last LayerNorm", 256),
)
