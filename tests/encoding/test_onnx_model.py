"""A network in an .onnx file is run as its card says, and only if it is what it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder, choose_runtime
from image_similarity.errors import DeviceUnavailable, ModelError, WeightsRefused
from tests.encoding.onnx_samples import CHANNELS, WEIGHTS, card, network, write

PICTURES = np.random.default_rng(3).integers(0, 256, (5, 16, 16, 3), np.uint8)
SIDE = 16 // 4


def maps() -> np.ndarray:
    """What the tiny network gives, (5, 6, 4, 4) float64, by numpy alone."""
    blocks = PICTURES.astype(np.float64).transpose(0, 3, 1, 2).reshape(5, 3, SIDE, 4, SIDE, 4) / 255
    return np.einsum("ncyixj,kcij->nkyx", blocks, WEIGHTS.astype(np.float64))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def vectors_of(path: Path) -> np.ndarray:
    vectors = Encoder.load(registry.get(str(path)), device="cpu").encode(PICTURES).vectors
    assert vectors is not None
    return vectors


def test_the_first_output_is_taken_and_the_card_normalises(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    encoder = Encoder.load(registry.get(str(path)))
    assert (encoder.device, encoder.runtime.split()[0]) == ("cpu", "onnxruntime")
    assert choose_runtime(encoder.spec) == "onnx"
    np.testing.assert_allclose(vectors_of(path), unit(maps().mean(axis=(2, 3))), atol=1e-6)
    about = card(preprocess={"size": 16, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 2]})
    blocks = (PICTURES / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2]
    blocks = blocks.transpose(0, 3, 1, 2).reshape(5, 3, SIDE, 4, SIDE, 4)
    expected = np.einsum("ncyixj,kcij->nkyx", blocks, WEIGHTS).mean(axis=(2, 3))
    np.testing.assert_allclose(
        vectors_of(write(tmp_path / "b.onnx", about=about)), unit(expected), atol=1e-6
    )


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("how", ["gap", "gem", "flatten"])
def test_an_output_may_be_chosen_and_pooled(tmp_path: Path, how: str, channels_last: bool) -> None:
    dim = CHANNELS * SIDE**2 if how == "flatten" else CHANNELS
    about = card(dim, config={"output": "map", "pool": how}, normalisation="none")
    found = vectors_of(write(tmp_path / "n.onnx", network(channels_last=channels_last), about))
    features = maps()
    if how == "flatten":
        order = features.transpose(0, 2, 3, 1) if channels_last else features
        expected = order.reshape(5, -1)
    elif how == "gap":
        expected = features.mean(axis=(2, 3))
    else:
        expected = np.cbrt((np.maximum(features, 1e-6) ** 3).mean(axis=(2, 3)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_network_for_one_picture_at_a_time_gives_the_same(tmp_path: Path) -> None:
    one = write(tmp_path / "one.onnx", network(batch=1))
    np.testing.assert_allclose(vectors_of(one), unit(maps().mean(axis=(2, 3))), atol=1e-6)


def test_the_fingerprint_covers_the_files_bytes_and_the_choice_of_output(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    before = registry.info(registry.get(str(path))).fingerprint
    pooled = card(config={"output": "map", "pool": "gap"})
    other = registry.info(registry.get(str(write(tmp_path / "n.onnx", about=pooled)))).fingerprint
    path.write_bytes(path.read_bytes() + b"\x12\x00")  # an empty field: the same network
    assert len({before, other, registry.info(registry.get(str(path))).fingerprint}) == 3


def test_torch_and_a_gpu_are_told_that_they_cannot_run_it(tmp_path: Path) -> None:
    spec = registry.get(str(write(tmp_path / "net.onnx")))
    with pytest.raises(ModelError, match="torch cannot run"):
        Encoder.load(spec, runtime="torch")
    with pytest.raises(DeviceUnavailable, match="CPU"):
        Encoder.load(spec, device="cuda")


def two_inputs() -> Any:
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    return model


def of_type(kind: int, shape: list[Any]) -> Any:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        (two_inputs(), {}, "2 inputs"),
        (of_type(TensorProto.FLOAT, ["n", 3]), {}, "its input is tensor.float. .*, not float32"),
        (of_type(TensorProto.FLOAT, ["n", 1, 16, 16]), {}, "not float32"),
        (of_type(TensorProto.UINT8, ["n", 3, 16, 16]), {}, "uint8"),
        (network(batch=8), {}, "takes 8 pictures at once"),
        (network(size=32), {}, "does not run on 16 x 16 pixels"),
        (of_type(TensorProto.FLOAT, ["n", 3, 8, 16]), {}, "not square"),
        (network(), {"config": {"output": "vectr"}}, "no output 'vectr'; near it are 'vector'"),
        (network(), {"config": {"output": "map"}}, "its card must say pool"),
        (network(), {"config": {"pool": "max"}}, "one of gap, gem, flatten"),
        (network(), {"config": {"layer": "map"}}, "config.layer"),
        (network(), {"dim": 7}, "its card says"),
    ],
)
def test_what_does_not_fit_its_card_is_refused_in_one_line(
    tmp_path: Path, model: Any, changes: dict[str, Any], said: str
) -> None:
    path = write(tmp_path / "net.onnx", model, card(**changes))
    with pytest.raises(WeightsRefused, match=said) as refused:
        Encoder.load(registry.get(str(path)))
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_without_a_card_says_that_it_needs_one(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx")
    path.with_name("net.onnx.json").unlink()
    with pytest.raises(WeightsRefused, match="carries no card"):
        registry.get(str(path))
