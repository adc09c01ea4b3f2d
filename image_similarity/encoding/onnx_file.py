"""What an .onnx file asks for, read from its bytes before any library is handed them.

ONNX Runtime would open other files that a network names as the place of its weights. It is therefore only given
networks that name none, have nothing but standard operators, draw nothing at random, and cannot run for ever. The file
is a message in the wire format of Protocol Buffers; read here are those few fields, by their numbers in onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from image_similarity.errors import WeightsRefused

# Protocol Buffers allow no message of more; the largest network that is supported has 0.6 GB.
MAX_BYTES = 2**31 - 1
# The operators of ONNX itself, and those for trees and tables. Those of ONNX Runtime's own may change.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
# A picture needs a fixed number of steps; a loop may have as many as its author likes.
LOOPS = ("Loop", "Scan", "SequenceMap")
# A picture has one vector; with these it would get another one each time.
DRAWS = (
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Bernoulli", "Multinomial"),
)
# Graphs lie inside of nodes (If); real ones two deep.
MAX_DEPTH = 16
MAX_NODES = 100_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field numbers of ModelProto, GraphProto, NodeProto, AttributeProto, SparseTensorProto and TensorProto.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 20, 25
_OPSET_DOMAIN = 1
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE = (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_OUTSIDE, _TENSOR_PLACE = 13, 14

_HINT = "Export the network again as one file of standard operators (opset 11 or later)."


def read_sound(path: Path) -> bytes:
    """Return the bytes of an .onnx file that asks for nothing but itself and standard operators.

    Raises:
        WeightsRefused: it is no such file, too large, keeps numbers in other files, or has operators of its own,
            loops, or such as draw at random.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise WeightsRefused(f"{path}: {size} bytes cannot be a network in the form of ONNX.")
    content = path.read_bytes()
    _Inspection(path).model(memoryview(content))
    return content


class _Inspection:
    """One walk through a file; each method refuses what it may not hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes = 0

    def refuse(self, reason: str) -> NoReturn:
        raise WeightsRefused(f"{self.path}: {reason}", hint=_HINT)

    def model(self, message: memoryview) -> None:
        # A graph given in two parts is one to ONNX Runtime, so every part is looked at.
        graphs = 0
        for number, value in self.fields(message):
            if number == _MODEL_OPSET:
                for inner, name in self.fields(self.message(value)):
                    if inner == _OPSET_DOMAIN:
                        self.domain(name)
            elif number == _MODEL_GRAPH:
                graphs += 1
                self.graph(self.message(value), depth=0)
            elif number == _MODEL_TRAINING:
                self.refuse("it holds a training, not only a network")
            elif number == _MODEL_FUNCTIONS:
                self.refuse("it defines operators of its own")
        if not graphs:
            self.refuse("no network in the form of ONNX")

    def graph(self, message: memoryview, *, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.refuse(f"its graphs lie more than {MAX_DEPTH} deep in each other")
        for number, value in self.fields(message):
            if number == _GRAPH_NODE:
                self.node(self.message(value), depth)
            elif number == _GRAPH_TENSOR:
                self.tensor(self.message(value))
            elif number == _GRAPH_SPARSE:
                self.sparse(self.message(value))

    def node(self, message: memoryview, depth: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.refuse(f"it has more than {MAX_NODES} nodes")
        for number, value in self.fields(message):
            if number == _NODE_DOMAIN:
                self.domain(value)
            elif number == _NODE_TYPE:
                self.kind(self.text(value))
            elif number == _NODE_ATTRIBUTE:
                self.attribute(self.message(value), depth)

    def kind(self, name: str) -> None:
        if name in LOOPS:
            self.refuse(f"it holds a loop ({name})")
        if name in DRAWS:
            self.refuse(f"it draws numbers at random ({name})")

    def attribute(self, message: memoryview, depth: int) -> None:
        for number, value in self.fields(message):
            if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                self.tensor(self.message(value))
            elif number in _ATTRIBUTE_SPARSE:
                self.sparse(self.message(value))
            elif number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                self.graph(self.message(value), depth=depth + 1)

    def sparse(self, message: memoryview) -> None:
        for number, value in self.fields(message):
            if number in _SPARSE_TENSORS:
                self.tensor(self.message(value))

    def tensor(self, message: memoryview) -> None:
        for number, value in self.fields(message):
            if number == _TENSOR_OUTSIDE or (number == _TENSOR_PLACE and value != 0):
                self.refuse("it keeps its numbers in another file")

    def domain(self, value: memoryview | int) -> None:
        if (name := self.text(value)) not in DOMAINS:
            self.refuse(f"it needs operators of {name[:100]!r}, which are not standard")

    def message(self, value: memoryview | int) -> memoryview:
        if isinstance(value, int):
            self.refuse("no network in the form of ONNX")
        return value

    def text(self, value: memoryview | int) -> str:
        return bytes(self.message(value)).decode("utf-8", "replace")

    def fields(self, message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
        """Give number and value of each field: bytes as they lie, whole numbers; other numbers as 0."""
        at = 0
        while at < len(message):
            tag, at = self.varint(message, at)
            number, kind = tag >> 3, tag & 7
            # A reader of C++ cuts a larger tag to 32 bits, and would see another field than we do.
            if not number or tag >= 2**32:
                self.refuse("no network in the form of ONNX")
            value: memoryview | int = 0
            if kind == _VARINT:
                value, at = self.varint(message, at)
            elif kind == _BYTES:
                length, at = self.varint(message, at)
                value, at = message[at : at + length], at + length
            elif kind in (_FIXED32, _FIXED64):
                at += 4 if kind == _FIXED32 else 8
            else:
                self.refuse("no network in the form of ONNX")
            if at > len(message):
                self.refuse("it ends in the middle")
            yield number, value

    def varint(self, message: memoryview, at: int) -> tuple[int, int]:
        """Return a whole number of variable length and the place behind it."""
        value = 0
        for position, byte in enumerate(message[at : at + 10]):
            value |= (byte & 127) << 7 * position
            if byte < 128:
                break
        else:
            self.refuse("no network in the form of ONNX, or it ends in the middle")
        return value, at + position + 1
