"""A Places365 checkpoint is recognised by what it holds, and its labels are never invented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.networks.places365 import Places365Net, places365_spec
from image_similarity.encoding.torchvision_import import import_torchvision
from image_similarity.errors import WeightsRefused
from image_similarity.values import Preprocess

models = import_torchvision().models

LINES = [f"/{'ab'[number % 2]}/scene_{number}/indoor {number}" for number in range(365)]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return models.resnet18(weights=None, num_classes=365).eval()


@pytest.fixture
def checkpoint(tmp_path: Path, network: torch.nn.Module) -> Path:
    """Laid out as published: nested, every name with `module.`, no counters of batches."""
    state = {
        f"module.{key}": value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    path = tmp_path / "any_name.pth.tar"
    content = {"epoch": 84, "arch": "resnet18", "state_dict": state, "best_prec1": 54.0}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_without_the_list_of_categories_the_labels_are_numbers(checkpoint: Path) -> None:
    spec = registry.get_scene_model(str(checkpoint))
    assert (spec.name, spec.architecture, spec.dim) == (
        "places365/resnet18",
        "places365/resnet18",
        None,
    )
    assert spec.scenes[:2] == ("places365/000", "places365/001")
    assert len(spec.scenes) == 365
    assert "for want of categories_places365.txt" in spec.origin
    assert spec.preprocess == Preprocess(224, fit="crop", resize=256, interpolation="bilinear")


def test_the_list_beside_the_checkpoint_gives_the_labels(checkpoint: Path) -> None:
    numbered = registry.info(registry.get_scene_model(str(checkpoint)))
    checkpoint.with_name("categories_places365.txt").write_text("\n".join(LINES) + "\n")
    spec = registry.get_scene_model(str(checkpoint))
    assert spec.scenes == tuple(f"scene_{number}/indoor" for number in range(365))
    assert "labels from categories_places365.txt" in spec.origin
    assert registry.info(spec).fingerprint != numbered.fingerprint


def test_the_list_may_be_given(checkpoint: Path, tmp_path: Path) -> None:
    given = tmp_path / "names.txt"
    given.write_text("\n".join(reversed(LINES)))
    assert places365_spec(checkpoint, given).scenes[3] == "scene_3/indoor"


@pytest.mark.parametrize(
    "lines", [LINES[:-1], [*LINES, LINES[0]], [*LINES[:-1], LINES[0]], ["airfield"], []]
)
def test_another_list_is_refused(checkpoint: Path, lines: list[str]) -> None:
    checkpoint.with_name("categories_places365.txt").write_text("\n".join(lines))
    with pytest.raises(WeightsRefused, match="no list of 365 scenes"):
        registry.get_scene_model(str(checkpoint))


def test_the_probabilities_are_those_of_the_published_network(
    checkpoint: Path, network: torch.nn.Module
) -> None:
    encoder = Encoder.load(registry.get_scene_model(str(checkpoint)), device="cpu")
    batch = np.random.default_rng(5).integers(0, 256, (1, 224, 224, 3), np.uint8)
    encoded = encoder.encode(batch)
    mean, std = (
        torch.tensor(each).reshape(3, 1, 1)
        for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    with torch.inference_mode():
        logits = network((torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - mean) / std)
    assert encoded.vectors is None
    np.testing.assert_allclose(encoded.scenes, logits.softmax(dim=1).numpy(), atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("trunk", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_the_names_of_the_weights_are_those_of_torchvision(trunk: str) -> None:
    whole = getattr(models, trunk)(weights=None, num_classes=365)
    assert Places365Net(trunk).state_dict().keys() == whole.state_dict().keys()
    features, logits = Places365Net(trunk).eval()(torch.zeros(1, 3, 64, 64))
    assert (features.shape[1], logits.shape[1]) == (whole.fc.in_features, 365)


def test_another_checkpoint_is_refused_as_a_scene_model(tmp_path: Path) -> None:
    path = tmp_path / "resnet18_places365.pth.tar"
    torch.save({"fc.weight": torch.zeros(1000, 512), "layer2.1.conv2.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsRefused, match="no Places365 checkpoint") as refusal:
        registry.get_scene_model(str(path))
    assert f"{path}.json" in refusal.value.hint
