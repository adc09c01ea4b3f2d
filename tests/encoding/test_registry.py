"""A model is found by its name or its file, never guessed, and never fetched."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from image_similarity import model_names as public_model_names
from image_similarity.encoding import registry
from image_similarity.encoding.architectures import TORCHVISION, is_known
from image_similarity.encoding.spec import ModelSpec, to_info
from image_similarity.encoding.weights import sha256_of
from image_similarity.errors import UnknownModel, WeightsChanged, WeightsMissing, WeightsRefused
from image_similarity.values import Preprocess
from tests.tiny_model import SCENES, tiny_card, write_tiny_model

PLUG_IN = ModelSpec(name="acme", architecture="acme", preprocess=Preprocess(64), dim=8)


def acme() -> ModelSpec:
    return PLUG_IN


def wrong() -> str:
    return "no spec"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two entry points; the list collects the names of those that were loaded."""
    loaded = []

    class Watched(EntryPoint):
        def load(self) -> object:
            loaded.append(self.name)
            return {"acme": acme, "wrong": wrong}[self.name]

    points = [
        Watched(name, f"{name}:spec", registry.ENTRY_POINT_GROUP) for name in ("acme", "wrong")
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    registry._plug_ins.cache_clear()
    yield loaded
    registry._plug_ins.cache_clear()


def test_the_built_in_names_are_listed() -> None:
    assert registry.model_names() == ["builtin", *(f"torchvision/{name}" for name in TORCHVISION)]
    assert public_model_names is registry.model_names


def test_every_listed_network_can_be_built_by_name() -> None:
    assert all(is_known(name) for name in registry.model_names() if name != "builtin")
    assert not is_known("torchvision/os")


def test_a_file_with_a_card_is_a_model(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "any name.safetensors")
    spec = registry.get(str(path))
    assert (spec.name, spec.dim, spec.scenes, spec.weights) == ("tiny", 16, SCENES, path)
    assert registry.info(spec) == to_info(spec, sha256_of(path))


def test_another_seed_is_another_model(tmp_path: Path) -> None:
    one, other = (
        registry.info(
            registry.get(str(write_tiny_model(tmp_path / f"{seed}.safetensors", seed=seed)))
        )
        for seed in (0, 1)
    )
    assert one.fingerprint != other.fingerprint


def test_the_tiny_model_is_the_same_file_every_time(tmp_path: Path) -> None:
    one = write_tiny_model(tmp_path / "one.safetensors")
    other = write_tiny_model(tmp_path / "other.safetensors")
    assert one.read_bytes() == other.read_bytes()


def test_a_model_and_its_fingerprint_are_found_without_torch(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.safetensors")
    code = (
        "import sys\nfrom image_similarity.encoding import registry\n"
        f"print(registry.info(registry.get({str(path)!r})).fingerprint, 'torch' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    fingerprint = registry.info(registry.get(str(path))).fingerprint
    assert answer.stdout.split() == [fingerprint, "False"]


@pytest.mark.parametrize(
    "name", ["models/missing.pth", "C:\\models\\missing.pth", "./builtin", "missing.pth"]
)
def test_a_path_is_never_taken_for_a_name(name: str) -> None:
    for find in (registry.get, registry.get_scene_model):
        with pytest.raises(UnknownModel) as unknown:
            find(name)
        assert unknown.value.message == f"No model is called {name!r}, and no such file is there."


def test_a_file_without_a_separator_is_found_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_model(tmp_path / "resnet50")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsRefused, match="carries no card"):
        registry.get("resnet50")


def test_a_file_without_a_card_is_refused_with_what_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "resnet50.pth"
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsRefused) as refusal:
        registry.get(str(path))
    assert "torchvision/resnet50" in refusal.value.hint
    assert f"models add {path}" in refusal.value.hint


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet50", "torchvision/resnet50"),
        ("torchvision/resnet_50", "torchvision/resnet50"),
        ("buildin", "builtin"),
        ("vgg-16", "torchvision/vgg16"),
    ],
)
def test_an_unknown_name_gets_near_matches(name: str, meant: str) -> None:
    with pytest.raises(UnknownModel) as unknown:
        registry.get(name)
    assert unknown.value.hint.startswith("Did you mean ")
    assert meant in unknown.value.hint.partition("?")[0]
    assert name in unknown.value.message


def test_a_name_like_no_other_gets_the_list_only() -> None:
    with pytest.raises(UnknownModel) as unknown:
        registry.get("zzz")
    assert unknown.value.hint.startswith("Accepted are the names builtin, torchvision/")


def test_missing_weights_are_named_with_file_folder_and_script(folder: Path) -> None:
    with pytest.raises(WeightsMissing) as missing:
        registry.get("torchvision/resnet50")
    assert "torchvision-resnet50.pth" in missing.value.message
    assert str(folder) in missing.value.message
    assert "scripts/fetch_weights.py torchvision/resnet50" in missing.value.hint


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_found_in_the_folder(folder: Path, suffix: str) -> None:
    path = folder / f"torchvision-resnet18{suffix}"
    path.write_bytes(b"weights")
    spec = registry.get("torchvision/resnet18")
    assert spec == replace(registry.describe("torchvision/resnet18"), weights=path)


def test_weights_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    with pytest.raises(WeightsMissing, match=r"mine\.pth"):
        registry.get("torchvision/vit_b_16", weights=path)
    path.write_bytes(b"weights")
    spec = registry.get("torchvision/vit_b_16", weights=path)
    assert (spec.name, spec.weights) == ("torchvision/vit_b_16", path)


def test_the_card_of_given_weights_counts_if_it_is_of_the_same_network(tmp_path: Path) -> None:
    path = tmp_path / "tuned.pth"
    path.write_bytes(b"weights")
    card = tiny_card(dim=512, scenes=()) | {"architecture": "torchvision/resnet18", "config": {}}
    path.with_name("tuned.pth.json").write_text(json.dumps(card))
    assert registry.get("torchvision/resnet18", weights=path).preprocess.size == 32
    with pytest.raises(WeightsRefused, match="torchvision/resnet18"):
        registry.get("torchvision/resnet50", weights=path)


def test_the_built_in_model_may_be_given_as_another_file(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "builtin.safetensors")
    assert registry.get("builtin", weights=path) == registry.get(str(path))
    bare = tmp_path / "bare.pth"
    bare.write_bytes(b"weights")
    with pytest.raises(WeightsRefused, match="no card"):
        registry.get("builtin", weights=bare)


def test_a_built_in_model_that_is_not_installed_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "BUILTIN_WEIGHTS", tmp_path / "builtin.safetensors")
    with pytest.raises(WeightsMissing, match=r"builtin\.safetensors"):
        registry.get("builtin")
    write_tiny_model(tmp_path / "builtin.safetensors")
    assert registry.get("builtin").weights == tmp_path / "builtin.safetensors"


@pytest.mark.skipif(not registry.BUILTIN_WEIGHTS.is_file(), reason="not trained yet")
def test_the_built_in_model_states_all_that_a_user_needs() -> None:
    spec = registry.get("builtin")
    assert (spec.name, spec.dim, spec.weights) == ("builtin", 256, registry.BUILTIN_WEIGHTS)
    assert len(spec.scenes) >= 2
    assert spec.licence
    assert spec.origin


def test_weights_that_changed_since_the_card_was_written_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"weights")
    card = tiny_card() | {"weights_sha256": "0" * 64}
    path.with_name("model.pth.json").write_text(json.dumps(card))
    with pytest.raises(WeightsChanged):
        registry.info(registry.get(str(path)))


def test_plug_ins_are_listed_but_only_loaded_when_named(
    tmp_path: Path, plug_ins: list[str]
) -> None:
    assert registry.model_names()[-2:] == ["acme", "wrong"]
    registry.describe("torchvision/vgg16")
    assert plug_ins == []
    path = tmp_path / "acme.pth"
    path.write_bytes(b"weights")
    assert registry.get("acme", weights=path) == replace(PLUG_IN, weights=path)
    assert plug_ins == ["acme"]


def test_a_plug_in_that_gives_no_spec_is_refused(plug_ins: list[str]) -> None:
    with pytest.raises(UnknownModel, match="gave no ModelSpec"):
        registry.describe("wrong")


def test_a_scene_model_is_a_file_with_scenes(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "scenes.safetensors")
    assert registry.get_scene_model(str(path)) == registry.get(str(path))
    without = write_tiny_model(tmp_path / "without.safetensors", scenes=())
    with pytest.raises(UnknownModel, match="knows no scenes"):
        registry.get_scene_model(str(without))
    with pytest.raises(UnknownModel):
        registry.get_scene_model("zzz")
