"""Tiny networks as .onnx files, with their cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 6
WEIGHTS = np.random.default_rng(11).standard_normal((CHANNELS, 3, 4, 4)).astype(np.float32)


def network(*, batch: int | str = "n", size: int | str = 16, channels_last: bool = False) -> Any:
    """Return a network of one convolution: outputs "map" (N, 6, S/4, S/4) and "vector" (N, 6), its mean."""
    shape = [batch, size, size, 3] if channels_last else [batch, 3, size, size]
    nodes = [helper.make_node("Transpose", ["pictures"], ["planes"], perm=[0, 3, 1, 2])]
    out = "planes_out" if channels_last else "map"
    nodes.append(
        helper.make_node(
            "Conv", ["planes" if channels_last else "pictures", "w"], [out], strides=[4, 4]
        )
    )
    if channels_last:
        nodes.append(helper.make_node("Transpose", [out], ["map"], perm=[0, 2, 3, 1]))
    else:
        nodes = nodes[1:]
    nodes.append(helper.make_node("ReduceMean", [out], ["vector"], axes=[2, 3], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("vector", "map")
        ],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def card(dim: int = CHANNELS, **changes: Any) -> dict[str, Any]:
    """Return the card of `network`: 16 x 16 pixels, values in [0, 1]."""
    return {
        "format": 1,
        "name": "tiny-onnx",
        "architecture": "onnx",
        "dim": dim,
        "preprocess": {"size": 16, "mean": [0, 0, 0], "std": [1, 1, 1]},
    } | changes


def write(path: Path, model: Any = None, about: dict[str, Any] | None = None) -> Path:
    """Write a network and the card beside it, and return the network's path."""
    path.write_bytes((network() if model is None else model).SerializeToString())
    path.with_name(path.name + ".json").write_text(json.dumps(card() if about is None else about))
    return path
