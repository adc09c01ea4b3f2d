"""An .onnx file gets no further than its bytes if it asks for anything but itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.onnx_file import read_sound
from image_similarity.errors import ImageSimilarityError, WeightsRefused
from tests.encoding.onnx_samples import network, write

SOUND = network().SerializeToString()


def outside(tensor: Any) -> Any:
    """Let a tensor say that its numbers lie in another file."""
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def external() -> Any:
    model = network()
    model.graph.initializer[0].ClearField("raw_data")
    outside(model.graph.initializer[0])
    return model


def external_in_an_attribute() -> Any:
    model = network()
    tensor = outside(TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1]))
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    return model


def external_and_sparse() -> Any:
    model = network()
    outside(model.graph.sparse_initializer.add().values)
    return model


def external_inside_a_branch() -> Any:
    model = network()
    branch = helper.make_graph([], "b", [], [], [outside(TensorProto(name="c"))])
    node = helper.make_node("If", ["x"], ["y"])
    node.attribute.append(helper.make_attribute("then_branch", branch))
    model.graph.node.append(node)
    return model


def place_without_a_file() -> Any:
    model = network()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    return model


def with_node(kind: str, domain: str = "") -> Any:
    model = network()
    model.graph.node.append(helper.make_node(kind, ["vector"], ["more"], domain=domain))
    return model


def with_domain() -> Any:
    model = network()
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def with_function() -> Any:
    model = network()
    model.functions.add().name = "f"
    return model


def with_training() -> Any:
    model = network()
    model.training_info.add()
    return model


def nested(depth: int) -> Any:
    graph = helper.make_graph([], "g", [], [])
    for _ in range(depth):
        node = helper.make_node("If", ["x"], ["y"])
        node.attribute.append(
            AttributeProto(name="then_branch", type=AttributeProto.GRAPH, g=graph)
        )
        graph = helper.make_graph([node], "g", [], [])
    return helper.make_model(graph)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (external(), "numbers in another file"),
        (external_in_an_attribute(), "numbers in another file"),
        (external_and_sparse(), "numbers in another file"),
        (external_inside_a_branch(), "numbers in another file"),
        (place_without_a_file(), "numbers in another file"),
        (with_node("Anything", "com.example"), "operators of 'com.example'"),
        (with_node("Gelu", "com.microsoft"), "operators of 'com.microsoft'"),
        (with_domain(), "operators of 'com.example'"),
        (with_function(), "operators of its own"),
        (with_training(), "training"),
        (with_node("Loop"), "a loop"),
        (with_node("Scan"), "a loop"),
        (with_node("RandomNormalLike"), r"at random \(RandomNormalLike\)"),
        (with_node("Bernoulli"), "at random"),
        (nested(20), "deep in each other"),
    ],
)
def test_what_asks_for_more_than_itself_is_refused(tmp_path: Path, model: Any, said: str) -> None:
    with pytest.raises(WeightsRefused, match=said):
        read_sound(write(tmp_path / "net.onnx", model))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"no network",
        SOUND[:-1],
        SOUND[: len(SOUND) // 2],
        b"ORTM" * 10,
        # The number of the graph's field with a bit beyond 32, which readers of C++ would cut off.
        b"\xba\x80\x80\x80\x10\x00" + SOUND,
        b"\x3a" + b"\xff" * 20,
    ],
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match=r"net\.onnx"):
        read_sound(path)


def test_a_sound_file_comes_back_as_it_is(tmp_path: Path) -> None:
    assert read_sound(write(tmp_path / "net.onnx")) == SOUND


def test_nothing_is_printed_of_a_network_with_names_that_are_no_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "net.onnx")
    path.write_bytes(SOUND.replace(b"pictures", b"pictur\xff\xff"))
    with pytest.raises(WeightsRefused, match="refused the network"):
        Encoder.load(registry.get(str(path)), threads=1)
    assert capfd.readouterr() == ("", "")


def test_a_second_part_of_the_graph_is_looked_at_too(tmp_path: Path) -> None:
    """Protocol Buffers join two fields of one number, so the second adds to the first."""
    path = tmp_path / "net.onnx"
    path.write_bytes(SOUND + external().SerializeToString())
    with pytest.raises(WeightsRefused, match="another file"):
        read_sound(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("fuzz") / "net.onnx")


@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    end=st.none() | st.integers(0, len(SOUND)),
)
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_refused_with_a_named_error_or_is_another_network(
    place: Path, changes: list[tuple[int, int]], end: int | None
) -> None:
    content = bytearray(SOUND)
    for at, value in changes:
        content[at] = value
    place.write_bytes(content[:end])
    try:
        encoder = Encoder.load(registry.get(str(place)), threads=1)
    except ImageSimilarityError as error:
        assert "\n" not in error.message
        return
    assert encoder.encode(np.zeros((1, 16, 16, 3), np.uint8)).finite.shape == (1,)


@given(content=st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_refused_with_a_named_error(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    with pytest.raises(WeightsRefused):
        Encoder.load(registry.get(str(place)), threads=1)
