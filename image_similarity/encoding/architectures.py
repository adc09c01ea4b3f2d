"""The networks that can be built by name, each made where it is asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import WeightsRefused

TORCHVISION = (
    "resnet18",
    "resnet50",
    "resnet101",
    "vgg16",
    "vgg19",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "densenet121",
    "convnext_tiny",
    "vit_b_16",
)
PLACES365 = ("resnet18", "resnet50")
# Built by `derived.load`, as they have no network of their own.
DERIVED = ("pca", "autoencoder", "words")


def is_known(architecture: str) -> bool:
    """Whether `build` has a network of that name; loads no torch."""
    family, _, trunk = architecture.partition("/")
    if family == "torchvision":
        return trunk in TORCHVISION
    if family == "places365":
        return trunk in PLACES365
    if family == "derived":
        return trunk in DERIVED
    if family == "keras":
        return trunk == "deepranking"
    if family == "timm":
        return is_timm_name(trunk)
    if family == "headed":
        return not trunk.startswith(("headed/", "onnx")) and is_known(trunk)
    if family == "classified":
        return not trunk.startswith(("classified/", "onnx")) and is_known(trunk)
    # An .onnx file brings its network along; `onnx_model` runs it.
    return architecture in ("tiny", "deepranking", "onnx") or (
        family == "multiscale" and bool(trunk)
    )


def is_timm_name(name: str) -> bool:
    """Whether it may be the name of a network of timm: never that of a place to fetch one from, as `hf-hub:...`."""
    return re.fullmatch(r"[a-z0-9_]{1,80}(\.[a-z0-9_]{1,80})?", name) is not None


def build(spec: ModelSpec) -> Any:
    """Return the network of the spec as a torch module with weights that mean nothing yet.

    Its forward takes float32 (N, 3, H, W), normalised, and gives the embedding (N, dim), or a pair
    of embedding and scene logits of which either may be None.

    Raises:
        WeightsRefused: the card's configuration is not one of this architecture.
    """
    try:
        return _construct(spec)
    except (TypeError, ValueError, KeyError, IndexError, AssertionError, RuntimeError) as error:
        raise WeightsRefused(
            f"Model {spec.name!r}: no network {spec.architecture!r} can be built from its "
            f"configuration ({type(error).__name__}: {error})",
            hint="The card that describes the weights is wrong, or of another version.",
        ) from error


def _construct(spec: ModelSpec) -> Any:
    """Call the constructor that belongs to the architecture."""
    if spec.build is not None:
        return spec.build(spec.config)
    family, _, trunk = spec.architecture.partition("/")
    if family == "tiny":
        from image_similarity.encoding.networks.tiny import TinyNet

        return TinyNet(**spec.config)
    if family == "deepranking":
        from image_similarity.encoding.networks.deepranking import DeepRankingNet

        return DeepRankingNet(**spec.config)
    if family == "multiscale":
        from image_similarity.encoding.networks.multiscale import MultiscaleNet

        return MultiscaleNet(**spec.config)
    if family == "torchvision":
        from image_similarity.encoding.networks.backbones import backbone

        return backbone(trunk, **spec.config)
    if family == "timm":
        from image_similarity.encoding.networks.timm_backbone import timm_backbone

        return timm_backbone(trunk, **spec.config)
    if family == "keras":
        from image_similarity.encoding.networks.keras_deepranking import KerasDeepRanking

        return KerasDeepRanking(**spec.config)
    if family == "places365":
        from image_similarity.encoding.networks.places365 import Places365Net

        return Places365Net(trunk, **spec.config)
    if family == "headed":
        from image_similarity.encoding.networks.headed import HeadedNet, backbone_config

        inner = replace(spec, architecture=trunk, config=backbone_config(spec.config))
        return HeadedNet(
            _construct(inner), width=int(spec.config["width"]), dim=int(spec.config["dim"])
        )
    if family == "classified":
        from image_similarity.encoding.networks.classified import ClassifiedNet
        from image_similarity.encoding.networks.headed import backbone_config

        inner = replace(spec, architecture=trunk, config=backbone_config(spec.config))
        width, classes = int(spec.config["width"]), int(spec.config["classes"])
        return ClassifiedNet(_construct(inner), width=width, classes=classes)
    raise ValueError(f"unknown architecture {spec.architecture!r}")
