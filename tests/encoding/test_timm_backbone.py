"""Networks of timm by name, with local weights; timm is never asked to fetch any."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from image_similarity.encoding import registry
from image_similarity.encoding.architectures import is_known
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.networks import timm_backbone
from image_similarity.errors import ExtraMissing, UnknownModel, WeightsMissing, WeightsRefused

timm = timm_backbone.import_timm()

NAME = "test_resnet"
PICTURES = np.random.default_rng(4).integers(0, 256, (3, 160, 160, 3), np.uint8)


def whole(name: str = NAME) -> torch.nn.Module:
    """timm's own network as its weights are published: with its classifier."""
    torch.manual_seed(0)
    network: torch.nn.Module = timm.create_model(name, pretrained=False).eval()
    return network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("timm") / "timm-test_resnet.safetensors"
    save_file(whole().state_dict(), path)
    return path


def inputs(name: str) -> torch.Tensor:
    """The pictures as timm's own transform makes them tensors."""
    about = timm.get_pretrained_cfg(name).to_dict()
    values = torch.from_numpy(PICTURES).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(about[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    return (values - mean) / std


def test_a_name_takes_timms_preprocessing_and_gives_what_its_classifier_sees(
    weights: Path, no_network: None
) -> None:
    spec = registry.get(f"timm/{NAME}", weights=weights)
    about = timm.get_pretrained_cfg(NAME).to_dict()
    assert (spec.preprocess.size, spec.preprocess.fit) == (160, "crop")
    assert spec.preprocess.resize == int(160 / about["crop_pct"])
    assert spec.preprocess.interpolation == about["interpolation"]
    assert (spec.preprocess.mean, spec.preprocess.std) == (about["mean"], about["std"])
    encoder = Encoder.load(spec, device="cpu")
    vectors = encoder.encode(PICTURES).vectors
    network = whole()
    with torch.inference_mode():
        seen = network.forward_head(network.forward_features(inputs(NAME)), pre_logits=True)
        seen = torch.nn.functional.normalize(seen, dim=1)
    np.testing.assert_allclose(vectors, seen.numpy(), atol=1e-5)
    assert spec.dim == seen.shape[1]


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_the_length_is_told_without_weights(name: str) -> None:
    assert timm_backbone.timm_spec(name).dim == whole(name).head_hidden_size  # type: ignore[comparison-overlap]


def test_weights_lie_in_the_weights_folder_under_their_name(
    weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(weights.parent))
    assert registry.get(f"timm/{NAME}").weights == weights
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"timm-test_resnet\.pth") as missing:
        registry.get(f"timm/{NAME}")
    assert "fetch_weights" not in missing.value.hint


@pytest.mark.parametrize("pool", ["gap", "gem", "flatten"])
def test_the_last_map_can_be_pooled_otherwise_and_a_layer_be_chosen(pool: str) -> None:
    network, values = whole(), inputs(NAME)
    for layer in (None, "layer3"):
        cut = timm_backbone.timm_backbone(NAME, layer=layer, pool=pool).eval()
        state = timm_backbone.adapt_state(NAME, network.state_dict(), layer=layer, pool=pool)
        cut.load_state_dict(state, strict=True)
        seen: list[torch.Tensor] = []
        hook = network.get_submodule("layer3").register_forward_hook(
            lambda _, __, output, seen=seen: seen.append(output)
        )
        with torch.inference_mode():
            maps = network.forward_features(values) if layer is None else None
            if layer is not None:
                network(values)
                maps = seen[0]
            found = cut(values)
        hook.remove()
        assert maps is not None
        expected = {
            "gap": maps.mean(dim=(2, 3)),
            "gem": maps.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3),
            "flatten": maps.flatten(1),
        }[pool]
        torch.testing.assert_close(found, expected)


def test_maps_with_channels_last_are_pooled_over_their_places() -> None:
    cut = timm_backbone.timm_backbone("swin_tiny_patch4_window7_224", pool="gap").eval()
    with torch.inference_mode():
        assert cut(torch.zeros(1, 3, 224, 224)).shape == (1, 768)


def test_an_unknown_network_names_near_ones() -> None:
    with pytest.raises(
        UnknownModel, match="has no network 'test_resnett'; near it are test_resnet"
    ):
        registry.describe("timm/test_resnett")


def test_unknown_weights_of_a_network_name_those_that_there_are(weights: Path) -> None:
    with pytest.raises(UnknownModel, match=r"no weights 'none' of test_resnet; it has r160_in1k"):
        Encoder.load(registry.get("timm/test_resnet.none", weights=weights), device="cpu")
    spec = replace(registry.get(f"timm/{NAME}", weights=weights), architecture="timm/resnet18.none")
    with pytest.raises(UnknownModel, match="no weights 'none' of resnet18"):
        Encoder.load(spec, device="cpu")


def test_an_unknown_layer_names_near_ones() -> None:
    with pytest.raises(WeightsRefused, match=r"has no layer 'layer33'; near it are .*layer3"):
        timm_backbone.timm_backbone(NAME, layer="layer33")


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/resnet50", "hf_hub:x", "local-dir:/x", "../x", "a/b", "", "A"]
)
def test_no_name_is_a_place_to_fetch_a_network_from(name: str) -> None:
    assert not is_known(f"timm/{name}")
    with pytest.raises(UnknownModel):
        registry.get(f"timm/{name}")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    timm_backbone.import_timm.cache_clear()
    with pytest.raises(ExtraMissing) as missing:
        registry.describe(f"timm/{NAME}")
    timm_backbone.import_timm.cache_clear()
    assert "image_similarity[timm]" in missing.value.hint


def test_its_client_of_the_hub_is_told_that_there_is_no_network() -> None:
    code = (
        "from image_similarity.encoding.networks.timm_backbone import import_timm\n"
        "import_timm()\n"
        "import huggingface_hub.constants as c\n"
        "print(c.HF_HUB_OFFLINE)"
    )
    clean = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    said = subprocess.check_output([sys.executable, "-c", code], text=True, env=clean)
    assert said.strip() == "True"
