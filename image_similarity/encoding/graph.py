"""The graphs that are shipped for ONNX Runtime: a network without weights, for every file of the same network.

A graph is made once by scripts/export_graph.py. Beside it lies a description: of which architecture,
configuration and size it is, and the name and shape of each tensor that it takes from a weights
file. So one safetensors file stays the truth of the weights, and a graph cannot be run with weights
of another network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_similarity.encoding.card import read_header
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import WeightsRefused

FOLDER = Path(__file__).parent / "weights"
FORMAT = 1

# Entries of a network's configuration that only say how long its last layers' outputs are. The
# weights of those layers are handed to the graph with each batch, so one graph serves all lengths.
OPEN = ("dim", "scenes")

# The stored types that become float32 in numpy; bfloat16, which numpy does not know, is torch's.
_FLOATS = ("F16", "F32", "F64")


_KEYS = {"format", "sha256", "architecture", "config", "size", "tensors"}
_HINT = "Install the program again, or use --runtime torch."


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that fits a model.

    Attributes:
        path: the .onnx file, which holds no weights.
        sha256: what its bytes must hash to.
        tensors: the shape of each tensor that it takes from the weights file.
        fed: those of them that are handed over with each batch; the others become part of the session.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, tuple[int, ...]]
    fed: frozenset[str]

    def read(self) -> bytes:
        """Return the graph's bytes.

        Raises:
            WeightsRefused: the file is not the one that its description was made with.
        """
        content = self.path.read_bytes() if self.path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise WeightsRefused(
                f"{self.path} is not the graph that {describe_path(self.path).name} describes.",
                hint=_HINT,
            )
        return content


def describe_path(graph: Path) -> Path:
    """Return the path of a graph's description."""
    return graph.with_name(graph.name + ".json")


def describe(
    graph: bytes,
    architecture: str,
    config: Mapping[str, Any],
    size: int,
    tensors: Mapping[str, tuple[int | str, ...]],
) -> str:
    """Return the description of a graph as `find_graph` reads it.

    `tensors` has shapes in which an entry of `OPEN` stands for a length of the model's own.
    """
    return json.dumps(
        {
            "format": FORMAT,
            "sha256": hashlib.sha256(graph).hexdigest(),
            "architecture": architecture,
            "config": _fixed(config),
            "size": size,
            "tensors": tensors,
        }
    )


def find_graph(spec: ModelSpec) -> Graph | None:
    """Return the graph of a model's network at the size of its pictures, or None if none is shipped.

    Architecture, configuration and size must be the same. No torch is loaded, and nothing of the
    weights file but its header is read.

    Raises:
        WeightsRefused: the header of the weights file or a graph's description cannot be read.
    """
    weights = spec.weights
    if spec.build is not None or weights is None or weights.suffix.lower() != ".safetensors":
        return None
    for path in sorted(FOLDER.glob("*.onnx.json")):
        about = _read_description(path)
        if _is_of(about, spec) and _is_float(weights):
            tensors = {
                name: tuple(spec.config[side] if isinstance(side, str) else side for side in shape)
                for name, shape in about["tensors"].items()
            }
            fed = frozenset(
                name
                for name, shape in about["tensors"].items()
                if any(isinstance(side, str) for side in shape)
            )
            return Graph(
                path.with_name(path.name.removesuffix(".json")), about["sha256"], tensors, fed
            )
    return None


def _read_description(path: Path) -> dict[str, Any]:
    """Return what `describe` wrote."""
    try:
        about = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise WeightsRefused(f"{path} is damaged ({error}).", hint=_HINT) from error
    if not isinstance(about, dict) or not about.keys() >= _KEYS:
        raise WeightsRefused(f"{path} is damaged: it describes no graph.", hint=_HINT)
    return about


def _is_of(about: Mapping[str, Any], spec: ModelSpec) -> bool:
    """Whether a description is of the model's network at the model's size."""
    lengths = [spec.config.get(key) for key in OPEN]
    return (
        about["format"] == FORMAT
        and about["architecture"] == spec.architecture
        and about["config"] == _fixed(spec.config)
        and about["size"] == spec.preprocess.size
        and all(type(length) is int and length > 0 for length in lengths)
        # What the card promises must be what its configuration builds.
        and spec.dim in (None, lengths[0])
        and len(spec.scenes) in (0, lengths[1])
    )


def _fixed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that decides the graph."""
    return {key: value for key, value in config.items() if key not in OPEN}


def _is_float(weights: Path) -> bool:
    """Whether all fractional numbers of a weights file are of a type that numpy has."""
    header, _ = read_header(weights)
    types = [entry.get("dtype") for entry in header.values() if isinstance(entry, dict)]
    return all(kind is None or kind in _FLOATS or str(kind)[:1] in "IU" for kind in types)
