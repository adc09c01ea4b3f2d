"""Maps of features: the layer that is taken of each network, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from image_similarity.encoding import registry
from image_similarity.encoding.feature_maps import FeatureMaps, default_layer, load_maps
from image_similarity.encoding.networks.backbones import backbone
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.torch_network import TorchNetwork
from image_similarity.errors import InvalidSetting
from image_similarity.values import Preprocess
from tests.tiny_model import write_tiny_model


@pytest.mark.parametrize(
    ("name", "side", "shape"),
    [
        ("resnet18", 64, (1, 512, 2, 2)),
        ("vgg16", 64, (1, 512, 4, 4)),
        ("inception_v3", 107, (1, 2048, 2, 2)),
        ("mobilenet_v2", 64, (1, 1280, 2, 2)),
        ("mobilenet_v3_large", 64, (1, 960, 2, 2)),
        ("efficientnet_b0", 64, (1, 1280, 2, 2)),
        ("densenet121", 64, (1, 1024, 2, 2)),
        ("convnext_tiny", 64, (1, 768, 2, 2)),
    ],
)
def test_each_network_of_torchvision_gives_its_last_map(
    name: str, side: int, shape: tuple[int, ...]
) -> None:
    layer = default_layer(f"torchvision/{name}")
    assert layer is not None
    # Nothing is calculated on torch's meta device, but shapes.
    with torch.device("meta"):
        maps = FeatureMaps(backbone(name).eval(), layer)
        assert maps(torch.zeros(1, 3, side, side)).shape == shape


def test_the_layer_of_a_network_with_a_head_is_that_of_its_backbone() -> None:
    assert default_layer("headed/torchvision/resnet50") == "layer4"
    assert default_layer("headed/multiscale/builtin") == "trunk"
    assert default_layer("torchvision/vit_b_16") is None


def test_the_built_in_model_gives_the_map_that_its_embedding_is_the_mean_of() -> None:
    spec = registry.get("builtin")
    mapped = load_maps(spec, None, device="cpu")
    assert (mapped.layer, mapped.channels, mapped.cells) == ("trunk", 400, (4, 4))
    size = spec.preprocess.size
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    maps, logits = TorchNetwork(mapped.network, spec.preprocess, "cpu").run(pixels)
    assert logits is None
    assert maps is not None
    assert (maps.shape, maps.dtype) == ((2, 400, 4, 4), np.float32)
    assert load_maps(spec, "block3", device="cpu").cells == (8, 8)


def test_nothing_behind_the_layer_is_run() -> None:
    class Raises(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            raise AssertionError("it was run")

    network = nn.Sequential(nn.Conv2d(3, 4, 1), Raises())
    assert FeatureMaps(network, "0")(torch.zeros(2, 3, 5, 6)).shape == (2, 4, 5, 6)


def test_a_network_without_a_map_and_an_unknown_layer_are_refused(tmp_path: Path) -> None:
    spec = registry.get(str(write_tiny_model(tmp_path / "tiny.safetensors")))
    with pytest.raises(InvalidSetting, match="tiny has no layer conv9") as refused:
        load_maps(spec, "conv9", device="cpu")
    assert "it has pool, embedding" in refused.value.hint
    with pytest.raises(InvalidSetting, match="gives no map of features: its output is no map"):
        load_maps(spec, "embedding", device="cpu")
    with pytest.raises(InvalidSetting, match="whose layers cannot be reached"):
        load_maps(replace(spec, architecture="onnx"), None, device="cpu")
    with pytest.raises(InvalidSetting, match="goes on from another model"):
        load_maps(replace(spec, architecture="derived/pca"), None, device="cpu")


def test_a_transformer_has_no_convolutional_map(tmp_path: Path) -> None:
    weights = tmp_path / "plug-in.safetensors"
    save_file({"weight": torch.zeros(1, 3)}, weights)
    spec = ModelSpec(
        name="tokens",
        architecture="plug-in/tokens",
        preprocess=Preprocess(8),
        dim=1,
        weights=weights,
        build=lambda config: nn.Linear(3, 1, bias=False),
    )
    with pytest.raises(InvalidSetting, match="tokens has no convolutional map that is known"):
        load_maps(spec, None, device="cpu")
