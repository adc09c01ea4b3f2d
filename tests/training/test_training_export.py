"""The model file: weights, card and the hashes of the training pictures, each kept by the others' writers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from image_similarity.encoding.card import read_card, read_header
from image_similarity.encoding.training_hashes import TENSOR, read_training_hashes
from image_similarity.errors import WeightsRefused
from image_similarity.training.export import read_model, rewrite_card, sorted_hashes, write_model
from tests.training.training_samples import sample_trainer


def sample_card() -> dict[str, object]:
    network = sample_trainer().network
    return {
        "architecture": f"multiscale/{network.config['trunk']}",
        "config": dict(network.config),
        "figures": {},
    }


def test_the_hashes_are_sorted_and_eight_bytes_each() -> None:
    digests = [hashlib.sha256(name.encode()).digest() for name in "cab"]
    assert [bytes(row) for row in sorted_hashes(digests)] == sorted(each[:8] for each in digests)
    assert sorted_hashes([]).shape == (0, 8)


def test_a_model_carries_the_hashes_and_is_read_all_the_same(tmp_path: Path) -> None:
    path, hashes = tmp_path / "model.safetensors", np.arange(16, dtype=np.uint8).reshape(2, 8)
    network = sample_trainer().average
    write_model(path, network, sample_card(), training_sha256=hashes)
    again, _ = read_model(path)
    assert torch.allclose(again.embedding.weight, network.embedding.weight, atol=1e-3)
    assert read_training_hashes(path).tolist() == hashes.tolist()


def test_hashes_of_another_length_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        write_model(
            tmp_path / "model.safetensors",
            sample_trainer().average,
            sample_card(),
            training_sha256=np.zeros((2, 32), np.uint8),
        )


@pytest.mark.parametrize("note", ["", "ü", "eight by eight by eight"])
def test_another_card_leaves_every_tensor_as_it_is(tmp_path: Path, note: str) -> None:
    path, hashes = tmp_path / "model.safetensors", np.arange(16, dtype=np.uint8).reshape(2, 8)
    write_model(path, sample_trainer().average, sample_card(), training_sha256=hashes)
    _, start = read_header(path)
    before, tensors = path.read_bytes()[start:], load_file(path)
    rewrite_card(path, sample_card() | {"figures": {"val": {"recall@1": 0.5}}, "note": note})
    _, start = read_header(path)
    assert path.read_bytes()[start:] == before
    assert start % 8 == 0
    card = read_card(path)
    assert card is not None
    assert card["figures"] == {"val": {"recall@1": 0.5}}
    again = load_file(path)
    assert again.keys() == tensors.keys()
    assert TENSOR in again
    assert not list(tmp_path.glob("*.partial"))


def test_only_a_model_file_gets_another_card(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"no model at all")
    with pytest.raises(WeightsRefused):
        rewrite_card(path, sample_card())
    assert path.read_bytes() == b"no model at all"
