"""Bags of visual words: histograms, their norms, and which files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file, save_file

from image_similarity.encoding import registry
from image_similarity.encoding.card import read_card
from image_similarity.encoding.encoder import Encoder, choose_runtime
from image_similarity.encoding.visual_words import Words, local_features, smoothed_idf
from image_similarity.errors import (
    ImageSimilarityError,
    ModelError,
    WeightsChanged,
    WeightsMissing,
    WeightsRefused,
)
from tests.tiny_model import tiny_card, write_tiny_model

WORDS, DIMS, CHANNELS = 12, 2, 3


def write_codebook(
    folder: Path, *, norm: str = "l2", base: str = "tiny.safetensors", **changes: Any
) -> Path:
    """Write a codebook above a tiny model beside it; `changes` replace arrays, None leaves one out."""
    if not (folder / base).exists():
        write_tiny_model(folder / base)
    random = np.random.default_rng(5)
    content = {
        "mean": np.zeros(CHANNELS, np.float32),
        "components": np.linalg.qr(random.standard_normal((CHANNELS, CHANNELS)))[0][:DIMS],
        "words": random.standard_normal((WORDS, DIMS)),
        "idf": 1 + random.random(WORDS),
    }
    content = {key: np.ascontiguousarray(value, np.float32) for key, value in content.items()}
    content = {key: value for key, value in (content | changes).items() if value is not None}
    tiny = tiny_card()
    card = {
        "format": 1,
        "name": "words",
        "architecture": "derived/words",
        "config": {
            "base": base,
            "base_fingerprint": registry.info(registry.get(str(folder / base))).fingerprint,
            "layer": "pool",
            "norm": norm,
        },
        "dim": WORDS,
        "preprocess": tiny["preprocess"],
    }
    path = folder / "words.safetensors"
    save_file(content, path, metadata={"card": json.dumps(card)})
    return path


def load(path: Path) -> Encoder:
    return Encoder.load(registry.get(str(path)), device="cpu")


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def by_hand(path: Path, pixels: np.ndarray) -> np.ndarray:
    """The counts of words, (N, W), of what the tiny network's 8 x 8 cells are: means of 4 x 4 pixels."""
    content = load_file(path)
    cells = (pixels / 255.0 - 0.5) / 0.25
    cells = cells.reshape(len(pixels), 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(len(pixels), 64, 3)
    cells /= np.linalg.norm(cells, axis=2, keepdims=True)
    reduced = (cells - content["mean"]) @ content["components"].T
    nearest = np.linalg.norm(reduced[:, :, None] - content["words"], axis=3).argmin(axis=2)
    return np.stack([np.bincount(row, minlength=WORDS) for row in nearest])


@pytest.mark.parametrize("norm", ["l2", "hellinger"])
def test_a_vector_is_the_weighed_histogram_of_the_nearest_words(tmp_path: Path, norm: str) -> None:
    path, pixels = write_codebook(tmp_path, norm=norm), pictures(5)
    counts = by_hand(path, pixels)
    assert (counts.sum(axis=1) == 64).all()
    weighed = counts * load_file(path)["idf"]
    if norm == "hellinger":
        wanted = np.sqrt(weighed / weighed.sum(axis=1, keepdims=True))
    else:
        wanted = weighed / np.linalg.norm(weighed, axis=1, keepdims=True)
    vectors = load(path).encode(pixels).vectors
    assert vectors is not None
    np.testing.assert_allclose(vectors, wanted, atol=1e-6)


def test_a_picture_has_the_same_vector_in_every_batch_and_every_time(tmp_path: Path) -> None:
    encoder, pixels = load(write_codebook(tmp_path)), pictures(33)
    together = encoder.encode(pixels).vectors
    again = encoder.encode(pixels).vectors
    alone = np.concatenate([encoder.encode(pixels[i : i + 1]).vectors for i in range(33)])
    assert together is not None
    assert again is not None
    assert together.tobytes() == again.tobytes()
    assert together.astype(np.float16).tobytes() == alone.astype(np.float16).tobytes()


def test_a_picture_without_any_texture_has_a_vector_too(tmp_path: Path) -> None:
    encoded = load(write_codebook(tmp_path)).encode(np.zeros((2, 32, 32, 3), np.uint8))
    assert encoded.finite.all()
    assert encoded.vectors is not None
    assert sorted(encoded.vectors[0])[-2:] == [0.0, 1.0]


def test_a_word_that_every_picture_has_still_weighs_something() -> None:
    idf = smoothed_idf(np.array([0, 1, 99, 100]), 100)
    assert idf.dtype == np.float32
    assert list(idf) == sorted(idf, reverse=True)
    assert idf[-1] == 1
    np.testing.assert_allclose(idf[1], np.log(101 / 2) + 1, rtol=1e-6)


finite = st.floats(-1e4, 1e4, width=32)


@given(arrays.arrays(np.float32, (2, 3, 2, 4), elements=finite), st.integers(0, 99))
def test_local_features_have_length_1_or_0_and_their_words_exist(
    maps: np.ndarray, seed: int
) -> None:
    features = local_features(torch.from_numpy(maps))
    assert features.shape == (2, 8, 3)
    lengths = np.linalg.norm(features.numpy(), axis=2)
    assert ((lengths < 1 + 1e-5) & (np.isclose(lengths, 1, atol=1e-4) | (lengths < 1))).all()
    random = np.random.default_rng(seed)
    words = Words(
        np.zeros(3, np.float32),
        np.eye(3, dtype=np.float32)[:2],
        random.standard_normal((5, 2)).astype(np.float32),
    )
    found = words(features.flatten(0, 1))
    assert found.shape == (16,)
    assert found.min() >= 0
    assert found.max() < 5


def test_words_are_the_same_however_many_are_compared_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(3)
    mean, components = np.zeros(8, np.float32), np.eye(8, dtype=np.float32)[:4]
    words = Words(mean, components, random.standard_normal((50, 4)).astype(np.float32))
    features = torch.from_numpy(random.standard_normal((200, 8)).astype(np.float32))
    at_once = words(features)
    monkeypatch.setattr("image_similarity.encoding.visual_words._AT_ONCE", 350)
    assert torch.equal(words(features), at_once)


def test_a_codebook_of_another_backbone_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_codebook(tmp_path)
    write_tiny_model(tmp_path / "tiny.safetensors", seed=9)
    with pytest.raises(
        WeightsChanged, match=r"'words' was made with tiny\.safetensors@"
    ) as refused:
        load(path)
    assert "\n" not in refused.value.message
    (tmp_path / "tiny.safetensors").unlink()
    with pytest.raises(WeightsMissing, match=r"goes on from the model tiny\.safetensors"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"words": None}, "missing: words"),
        ({"idf": np.ones(3, np.float32)}, r"idf \(3,\) instead of \(12,\)"),
        ({"idf": np.zeros(WORDS, np.float32)}, "idf: finite float32 numbers are expected, idf above 0"),
        ({"mean": np.full(CHANNELS, np.inf, np.float32)}, "mean: finite float32"),
        ({"words": np.zeros((WORDS, DIMS), np.float64)}, "words: finite float32"),
        ({"mean": np.array(0, np.float32), "components": np.array(1, np.float32)}, "components"),
        ({"more": np.zeros(1, np.float32)}, "unknown: more"),
        (
            {"mean": np.zeros(4, np.float32), "components": np.ones((DIMS, 4), np.float32)},
            "features of 4 numbers; layer pool of tiny gives 3",
        ),
    ],
)  # fmt: skip
def test_a_damaged_codebook_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(WeightsRefused, match=reason):
        load(write_codebook(tmp_path, **changes))


@pytest.mark.parametrize(
    ("entry", "value", "reason"),
    [("norm", "l1", "no norm of l2, hellinger"), ("layer", 5, "names no layer"),
     ("layer", "nowhere", "tiny has no layer nowhere"), ("layer", "embedding", "gives no map")],
)  # fmt: skip
def test_a_card_that_fits_no_codebook_is_refused(
    tmp_path: Path, entry: str, value: object, reason: str
) -> None:
    path = write_codebook(tmp_path)
    card = read_card(path)
    assert card is not None
    card["config"][entry] = value
    save_file(load_file(path), path, metadata={"card": json.dumps(card)})
    with pytest.raises(ImageSimilarityError, match=reason):
        load(path)


def test_a_codebook_runs_in_torch_only(tmp_path: Path) -> None:
    spec = registry.get(str(write_codebook(tmp_path)))
    assert choose_runtime(spec, device="cpu") == "torch"
    with pytest.raises(ModelError, match="reads a layer inside its network"):
        Encoder.load(spec, runtime="onnx")
