"""Published networks are cut where they should be, and published files fit them as they are."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from image_similarity.encoding import registry
from image_similarity.encoding.architectures import TORCHVISION
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.networks.backbones import adapt_state, backbone
from image_similarity.encoding.published import TORCHVISION_SPECS
from image_similarity.encoding.spec import ModelSpec, fingerprint
from image_similarity.encoding.torchvision_import import import_torchvision
from image_similarity.errors import WeightsRefused

models = import_torchvision().models

# The networks that are built in well under a second; the others are built in the slow tests.
QUICK = ("resnet18", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "densenet121")
EVERY = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TORCHVISION
]


def published(name: str) -> torch.nn.Module:
    """Return torchvision's own network as its weights are published: with all heads."""
    extra = {"transform_input": True} if name == "inception_v3" else {}
    if name.startswith(("vgg", "inception")):
        extra["init_weights"] = False
    torch.manual_seed(0)
    network = getattr(models, name)(weights=None, **extra)
    return network.eval()


def pictures(name: str, count: int = 1) -> torch.Tensor:
    """Return normalised noise of the smallest size that the network takes."""
    side = {"vit_b_16": 224, "inception_v3": 75}.get(name, 32)
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def spec_of(name: str) -> ModelSpec:
    return next(spec for spec in TORCHVISION_SPECS if spec.name == f"torchvision/{name}")


def test_there_is_a_spec_for_every_network() -> None:
    assert tuple(spec.name for spec in TORCHVISION_SPECS) == tuple(
        f"torchvision/{name}" for name in TORCHVISION
    )


@pytest.mark.parametrize("spec", TORCHVISION_SPECS, ids=lambda spec: spec.name)
def test_a_spec_repeats_what_torchvision_documents_for_its_weights(spec: ModelSpec) -> None:
    weights = models.get_model_weights(spec.architecture.partition("/")[2]).DEFAULT
    transform = weights.transforms()
    preprocess = spec.preprocess
    assert (preprocess.fit, [preprocess.size], [preprocess.resize]) == (
        "crop",
        transform.crop_size,
        transform.resize_size,
    )
    assert preprocess.interpolation == transform.interpolation.value
    assert (list(preprocess.mean), list(preprocess.std)) == (transform.mean, transform.std)
    assert spec.origin.endswith(weights.url.rpartition("/")[2])
    assert weights.name in spec.origin


def test_the_fingerprint_of_a_published_network_never_changes() -> None:
    assert fingerprint(spec_of("resnet50"), "11ad3fa6" * 8) == (
        "79be4bdd53033b72b27ec0504523f6367d51d2766293ee8cc035dba854d94489"
    )


def test_none_of_the_published_fingerprints_ever_changes() -> None:
    """Nor that of the model in the package; whatever changes one parts databases from their models."""
    together = "".join(fingerprint(spec, "0" * 64) for spec in TORCHVISION_SPECS)
    assert hashlib.sha256(together.encode()).hexdigest() == (
        "fac56169a669bf9e53793e83ac528d99b7f8d66c26d96c8bae6b0a31342e71e5"
    )
    assert registry.info(registry.get("builtin")).fingerprint.startswith("54fdaec4c631")


@pytest.mark.parametrize("name", EVERY)
def test_a_published_file_fits_and_the_embedding_is_what_the_classifier_sees(name: str) -> None:
    whole = published(name)
    cut = backbone(name).eval()
    cut.load_state_dict(adapt_state(name, whole.state_dict()), strict=True)
    values = pictures(name)
    with torch.inference_mode():
        embedding = cut(values)
        seen = expected_embedding(name, whole, values)
    assert embedding.shape == (1, spec_of(name).dim)
    torch.testing.assert_close(embedding, seen)


def expected_embedding(name: str, whole: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Return what the docstring of the module promises, taken from the whole network by a hook."""
    if name.startswith("vgg"):
        return whole.features(values).mean(dim=(2, 3))
    head = {
        "convnext_tiny": "classifier.2",
        "mobilenet_v2": "classifier",
        "mobilenet_v3_large": "classifier",
        "efficientnet_b0": "classifier",
        "densenet121": "classifier",
        "vit_b_16": "heads",
    }.get(name, "fc")
    seen = []
    whole.get_submodule(head).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    whole(values)
    return seen[0]


def test_the_old_names_of_the_published_densenet_are_understood() -> None:
    state = published("densenet121").state_dict()
    old = {}
    for key, value in state.items():
        for layer in ("norm1", "norm2", "conv1", "conv2"):
            if ".denselayer" in key:
                key = key.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.")
        old[key] = value
    assert old.keys() != state.keys()
    backbone("densenet121").load_state_dict(adapt_state("densenet121", old), strict=True)


def test_a_published_file_is_encoded_from_end_to_end(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    whole = published("resnet18")
    torch.save(whole.state_dict(), path)
    encoder = Encoder.load(registry.get("torchvision/resnet18", weights=path), device="cpu")
    batch = np.random.default_rng(3).integers(0, 256, (2, 224, 224, 3), np.uint8)
    vectors = encoder.encode(batch).vectors
    transform = models.ResNet18_Weights.DEFAULT.transforms(crop_size=224, resize_size=224)
    with torch.inference_mode():
        seen = expected_embedding(
            "resnet18", whole, transform(torch.from_numpy(batch).permute(0, 3, 1, 2))
        )
    wanted = torch.nn.functional.normalize(seen.flatten(1)).numpy()
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)  # type: ignore[arg-type]


def test_the_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "torchvision-resnet50.pth"
    torch.save(published("resnet18").state_dict(), path)
    with pytest.raises(WeightsRefused, match="missing: layer1"):
        Encoder.load(registry.get("torchvision/resnet50", weights=path), device="cpu")


# --- layers and pooling -----------------------------------------------------------------------------


def output_of(whole: torch.nn.Module, layer: str, values: torch.Tensor) -> torch.Tensor:
    """Return what a layer of torchvision's whole network gives, by a hook."""
    seen: list[torch.Tensor] = []
    hook = whole.get_submodule(layer).register_forward_hook(
        # A layer behind may work in place.
        lambda _, __, output: seen.append(output.clone())
    )
    whole(values)
    hook.remove()
    return seen[0]


def pooled(maps: torch.Tensor, how: str) -> torch.Tensor:
    if maps.ndim == 2 or how == "flatten":
        return maps.flatten(1)
    if how == "gap":
        return maps.mean(dim=(2, 3))
    return maps.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)


@pytest.mark.parametrize(
    ("name", "layer", "last"),
    [
        ("resnet18", "layer3", "layer3"),
        ("resnet18", "layer2.0.conv1", "layer2.0.conv1"),
        ("resnet18", None, "layer4"),
        ("mobilenet_v2", "features.5", "features.5"),
        ("mobilenet_v3_large", None, "features"),
        ("densenet121", None, "features"),
        ("resnet18", "fc", "fc"),
    ],
)
@pytest.mark.parametrize("how", ["gap", "gem", "flatten"])
def test_any_layer_of_a_published_file_can_be_the_embedding(
    name: str, layer: str | None, last: str, how: str
) -> None:
    whole = published(name)
    cut = backbone(name, layer=layer, pool=how).eval()
    state = adapt_state(name, whole.state_dict(), layer=layer, pool=how)
    cut.load_state_dict(state, strict=True)
    values = pictures(name, 2)
    with torch.inference_mode():
        torch.testing.assert_close(cut(values), pooled(output_of(whole, last, values), how))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "numbers"),
    [("features.35", 100_352), ("features.36", 25_088), ("classifier.3", 4096)],
)
def test_the_layers_of_vgg19_that_classic_systems_use(layer: str, numbers: int) -> None:
    whole = published("vgg19")
    cut = backbone("vgg19", layer=layer, pool="flatten").eval()
    cut.load_state_dict(
        adapt_state("vgg19", whole.state_dict(), layer=layer, pool="flatten"), strict=True
    )
    values = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = cut(values)
        torch.testing.assert_close(found, output_of(whole, layer, values).flatten(1))
    assert found.shape == (1, numbers)


def test_what_lies_behind_the_layer_is_never_run() -> None:
    cut = backbone("resnet18", layer="layer2").eval()
    cut.whole.layer3.register_forward_hook(lambda *_: pytest.fail("layer3 was run"))
    with torch.inference_mode():
        assert cut(pictures("resnet18")).shape == (1, 128)


def test_a_chosen_layer_learns_like_any_network() -> None:
    cut = backbone("resnet18", layer="layer2")
    cut(pictures("resnet18", 2)).sum().backward()
    assert cut.whole.conv1.weight.grad is not None
    assert cut.whole.layer3[0].conv1.weight.grad is None


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("layer5", "resnet18 has no layer 'layer5'; near it are layer4"),
        ("features.36", "its parts are conv1, bn1, relu, maxpool, layer1"),
        ("layer4.", "no layer 'layer4.'"),
    ],
)
def test_an_unknown_layer_is_refused_with_near_names(layer: str, said: str) -> None:
    with pytest.raises(WeightsRefused, match=said) as refused:
        backbone("resnet18", layer=layer)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("pool", ["max", "", 0, []])
def test_another_pooling_is_refused(pool: Any) -> None:
    """A card may say anything; what is no pooling is not taken for the usual one."""
    with pytest.raises(WeightsRefused, match="one of gap, gem, flatten"):
        backbone("resnet18", layer="layer3", pool=pool)


def test_a_layer_that_is_not_run_is_no_embedding() -> None:
    cut = backbone("densenet121", layer="features.denseblock1.denselayer1").eval()
    cut.whole.features.denseblock1.forward = lambda values: torch.cat([values] * 4, dim=1)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="takes no part"), torch.inference_mode():
        cut(pictures("densenet121"))
