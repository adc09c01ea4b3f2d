"""`models add`: from a weights file to answers, for each kind of backbone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from safetensors.torch import save_file

from image_similarity.encoding import new_card
from image_similarity.encoding.networks.timm_backbone import import_timm
from image_similarity.encoding.torchvision_import import import_torchvision
from tests.cli.conftest import Run
from tests.conftest import FolderFactory
from tests.encoding.onnx_samples import CHANNELS, network

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's ResNet18 as it is published, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(import_torchvision().models.resnet18(weights=None).state_dict(), path)
    return path


@pytest.fixture
def own(resnet: Path, tmp_path: Path) -> Path:
    return shutil.copy(resnet, tmp_path / "resnet18.pth")


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(network().SerializeToString())
    return path


SMALL = ("--architecture", "torchvision/resnet18", "--size", 64, "--fit", "squash")


def searched(run: Run, model: Path | str, folder: Path, tmp_path: Path) -> list[dict[str, object]]:
    """Index a folder with a model, check the database, and search with the first picture."""
    database = tmp_path / "case.db"
    given = ("-m", model, "-ip", folder, "-dp", database, "--device", "cpu", "--scenes", "none")
    assert run("index", *given).code == 0
    assert run("db", "verify", "-dp", database).code == 0
    answer = run("query", folder / "picture-000.jpg", "-dp", database, "-k", 3, "--format", "json")
    assert answer.code == 0, answer.err
    return answer.objects()


def test_a_layer_of_a_torchvision_network_is_added_indexed_and_searched(
    run: Run, own: Path, make_folder: FolderFactory, tmp_path: Path
) -> None:
    """As systems with raw, flattened features do it."""
    added = run(
        *("models", "add", own, *SMALL, "--layer", "layer2", "--pool", "flatten"),
        *("--normalisation", "none", "--name", "layer2-raw", "--format", "json"),
    )
    assert added.code == 0, added.err
    (said,) = added.objects()
    assert (said["name"], said["dim"], said["layer"]) == ("layer2-raw", 8192, "layer2, flatten")
    assert (said["normalisation"], said["metric"]) == ("none", "euclidean")
    assert said["written"] == f"{own}.json"
    (shown,) = run("models", "show", own, "--format", "json").objects()
    assert shown["fingerprint"] == said["fingerprint"]
    assert run("models", "check", own, "--device", "cpu").code == 0
    hits = searched(run, own, make_folder(), tmp_path)
    assert hits[0]["distance"] == 0.0
    assert max(hit["distance"] for hit in hits) > 2.0, "raw vectors know no largest distance"
    assert {hit["similarity"] for hit in hits} == {None}


def test_a_network_of_timm_is_added_indexed_and_searched(
    run: Run, make_folder: FolderFactory, tmp_path: Path
) -> None:
    path = tmp_path / "test_resnet.safetensors"
    torch.manual_seed(0)
    save_file(import_timm().create_model("test_resnet", pretrained=False).state_dict(), path)
    given = ("--architecture", "timm/test_resnet", "--pool", "gem", "--metric", "cosine")
    added = run("models", "add", path, *given, "--format", "json")
    assert added.code == 0, added.err
    (said,) = added.objects()
    assert (said["dim"], said["layer"], said["metric"]) == (96, "last map, gem", "cosine")
    assert said["pictures"] == "160 x 160, crop, bilinear"
    hits = searched(run, path, make_folder(), tmp_path)
    assert hits[0]["distance"] == 0.0
    assert hits[0]["similarity"] == 1.0


def test_a_name_of_timm_needs_no_card(
    run: Run, make_folder: FolderFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    state = import_timm().create_model("test_resnet", pretrained=False).state_dict()
    torch.save(state, tmp_path / "timm-test_resnet.pth")
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(tmp_path))
    hits = searched(run, "timm/test_resnet", make_folder(), tmp_path)
    assert (hits[0]["model"], hits[0]["distance"]) == ("timm/test_resnet", 0.0)


def test_an_onnx_file_is_added_indexed_and_searched(
    run: Run, onnx_file: Path, make_folder: FolderFactory, tmp_path: Path
) -> None:
    given = ("--layer", "map", "--pool", "flatten", "--mean", 0, 0, 0, "--std", 1, 1, 1)
    added = run("models", "add", onnx_file, *given, "--format", "json")
    assert added.code == 0, added.err
    (said,) = added.objects()
    assert (said["architecture"], said["dim"]) == ("onnx", CHANNELS * 16)
    assert said["pictures"] == "16 x 16, squash, bicubic"
    assert said["mean"] == "0 0 0"
    hits = searched(run, onnx_file, make_folder(), tmp_path)
    assert hits[0]["distance"] == 0.0


def test_a_name_takes_the_file_in_the_weights_folder(
    run: Run, resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copy(resnet, tmp_path / "torchvision-resnet18.pth")
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(tmp_path))
    (before,) = run("models", "show", "torchvision/resnet18", "--format", "json").objects()
    added = run("models", "add", "torchvision/resnet18", "--layer", "layer3", "--format", "json")
    assert added.code == 0, added.err
    (said,) = added.objects()
    assert (said["weights"], said["layer"]) == (str(path), "layer3, gap")
    (after,) = run("models", "show", "torchvision/resnet18", "--format", "json").objects()
    assert after["fingerprint"] == before["fingerprint"] != said["fingerprint"]


def test_a_copy_carries_its_card_and_gives_the_same_vectors(
    run: Run, own: Path, tmp_path: Path
) -> None:
    target = tmp_path / "copy.safetensors"
    added = run("models", "add", own, *SMALL, "--layer", "layer1", "-o", target)
    assert added.code == 0, added.err
    assert added.out.startswith("name           copy\n")
    assert added.out.endswith(f"-m {target}\n")
    assert not own.with_name("resnet18.pth.json").exists()
    assert run("models", "check", target, "--device", "cpu").code == 0
    assert run("models", "add", own, *SMALL, "--layer", "layer1").code == 0
    assert vectors_of(own).tolist() == vectors_of(target).tolist()


def vectors_of(path: Path) -> np.ndarray:
    from image_similarity.encoding import registry
    from image_similarity.encoding.encoder import Encoder

    pictures = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)
    vectors = Encoder.load(registry.get(str(path)), device="cpu").encode(pictures).vectors
    assert vectors is not None
    return vectors


def test_an_earlier_card_is_only_replaced_when_asked(run: Run, onnx_file: Path) -> None:
    card = onnx_file.with_name("net.onnx.json")
    assert run("models", "add", onnx_file, "--name", "first").code == 0
    again = run("models", "add", onnx_file, "--name", "second")
    assert again.code == 2
    assert "exists already" in again.err
    assert json.loads(card.read_text())["name"] == "first"
    assert run("models", "add", onnx_file, "--name", "second", "--force").code == 0
    assert json.loads(card.read_text())["name"] == "second"
    card.write_text("notes of my own")
    assert run("models", "add", onnx_file, "--force").code == 2
    assert card.read_text() == "notes of my own"


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ((), 2, "does not say which network it belongs to"),
        (("--architecture", "torchvision/alexnet"), 2, "'torchvision/alexnet'"),
        (("--architecture", "onnx"), 2, "cannot be of the architecture 'onnx'"),
        (("--architecture", "torchvision/resnet50"), 13, "does not hold the weights"),
        ((*SMALL, "--layer", "layer9"), 13, "no layer 'layer9'; near it are layer4"),
        ((*SMALL, "--pool", "max"), 2, "one of gap, gem, flatten"),
        ((*SMALL, "--normalisation", "none", "--metric", "cosine"), 2, "cosine ranks by direction"),
        ((*SMALL, "--resize", 70), 2, "--fit crop"),
        ((*SMALL, "--name", "torchvision/resnet18"), 2, "the name of another model"),
        ((*SMALL, "--mean", 1e9, 0, 0), 13, "preprocess.mean"),
        ((*SMALL, "--name", "x" * 101), 13, "name"),
        ((*SMALL, "-o", "copy.pth"), 2, "into a .safetensors file"),
        ((*SMALL, "--layer", "conv1", "--pool", "flatten", "--size", 128), 13, "dim"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_nothing_is_written(
    run: Run, own: Path, given: tuple[object, ...], code: int, said: str
) -> None:
    outcome = run("models", "add", own, *given)
    assert outcome.code == code, outcome.err
    error = next(line for line in outcome.err.splitlines() if line.startswith("Error"))
    assert said in error
    assert [each.name for each in own.parent.iterdir()] == ["resnet18.pth"]


def test_an_onnx_file_for_pictures_of_any_size_needs_one(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "any.onnx"
    path.write_bytes(network(size="side").SerializeToString())
    outcome = run("models", "add", path)
    assert outcome.code == 2
    assert "--size" in outcome.err
    assert run("models", "add", path, "--size", 32).code == 0


def test_a_file_that_carries_its_card_needs_none(run: Run, tiny_model: Path) -> None:
    outcome = run("models", "add", tiny_model, "--architecture", "torchvision/resnet18")
    assert outcome.code == 2
    assert "carries its card already" in outcome.err


def test_a_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    outcome = run("models", "add", tmp_path / "none.pth")
    assert outcome.code == 13
    assert "none.pth" in outcome.err


def test_weights_without_numbers_are_refused(run: Run, own: Path) -> None:
    state = torch.load(own)
    state["conv1.weight"][:] = 3e38
    torch.save(state, own)
    outcome = run("models", "add", own, *SMALL)
    assert outcome.code == 13
    assert "no numbers" in outcome.err


def test_weights_of_unknown_origin_are_not_said_to_be_the_published_ones(
    run: Run, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("models", "add", own, *SMALL).code == 0
    card = json.loads(own.with_name("resnet18.pth.json").read_text())
    assert card["origin"].startswith("resnet18.pth, given by the user")
    assert card["licence"] == "unknown"
    # The published file is told by the first digits of its SHA-256, which are in its name.
    monkeypatch.setattr(new_card, "sha256_of", lambda path: "f37072fd" + "0" * 56)
    published = new_card.propose(str(own), new_card.Wishes(architecture="torchvision/resnet18"))
    assert "resnet18-f37072fd.pth" in published.origin
    assert "BSD-3-Clause" in published.licence


def test_a_file_that_is_called_as_another_model_needs_a_name(run: Run, onnx_file: Path) -> None:
    path = onnx_file.rename(onnx_file.with_name("builtin.onnx"))
    outcome = run("models", "add", path)
    assert outcome.code == 2
    assert "builtin is the name of another model" in outcome.err
    assert [each.name for each in path.parent.iterdir()] == ["builtin.onnx"]
    assert run("models", "add", path, "--name", "other").code == 0


def test_a_network_that_mixes_the_pictures_of_a_batch_is_refused(run: Run, tmp_path: Path) -> None:
    """As one does whose batch normalisation was exported as in training."""
    model = network()
    mixed = [
        helper.make_node("ReduceMean", ["vector"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Div", ["vector", "mean"], ["mixed"]),
    ]
    model.graph.node.extend(mixed)
    model.graph.output[0].name = "mixed"
    path = tmp_path / "mixed.onnx"
    path.write_bytes(model.SerializeToString())
    outcome = run("models", "add", path)
    assert outcome.code == 13
    assert "other numbers beside others than alone" in outcome.err
    assert [each.name for each in tmp_path.iterdir()] == ["mixed.onnx"]


def test_where_no_card_can_be_written_a_copy_can(
    run: Run, own: Path, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = tmp_path / "medium"
    medium.mkdir()
    weights, network = (Path(shutil.copy(each, medium)) for each in (own, onnx_file))
    allowed = os.access
    # The tests may run as root, who may write everywhere.
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != medium and allowed(path, mode)
    )
    refused = run("models", "add", weights, *SMALL)
    assert refused.code == 2
    assert "cannot be written to" in refused.err
    assert "-o FILE.safetensors" in refused.err
    assert run("models", "add", weights, *SMALL, "-o", tmp_path / "copy.safetensors").code == 0
    refused = run("models", "add", network)
    assert refused.code == 2
    assert "-o FILE" not in refused.err, "an .onnx file is not copied"
    assert sorted(each.name for each in medium.iterdir()) == ["net.onnx", "resnet18.pth"]
