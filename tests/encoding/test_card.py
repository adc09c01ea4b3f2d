"""A card is believed only where it is sound; whatever else is refused with a typed error."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_similarity.encoding.card import MAX_HEADER_BYTES, read_card, spec_from_card
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import WeightsRefused
from image_similarity.settings import MAX_DIM
from image_similarity.values import Preprocess
from tests.tiny_model import SCENES, tiny_card, write_tiny_model

FILE = Path("model.safetensors")

KEYS = (*tiny_card(), "centre", "weights_sha256", "layer", "metric")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 0, 2**63])
    | st.floats()
    | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def safetensors_bytes(header: bytes, length: int | None = None, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def with_entry(path: str, value: Any) -> dict[str, Any]:
    card = tiny_card()
    *folders, last = path.split(".")
    place = card
    for folder in folders:
        place = place[folder]
    place[last] = value
    return card


def test_a_sound_card_is_read_whole() -> None:
    assert spec_from_card(tiny_card(), FILE) == ModelSpec(
        name="tiny",
        architecture="tiny",
        preprocess=Preprocess(
            32, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
        ),
        config={"dim": 16, "scenes": 4, "thumbnail": 8},
        layer="linear map of the thumbnail",
        dim=16,
        scenes=SCENES,
        scene_top_k=3,
        scene_mass=0.95,
        licence="same as the program",
        origin="drawn at random from a fixed seed",
        weights=FILE,
    )


def test_entries_that_are_not_known_are_ignored() -> None:
    card = tiny_card() | {"recall": {"at": 1}, "steps": 10}
    assert spec_from_card(card, FILE) == spec_from_card(tiny_card(), FILE)


def test_prose_may_have_several_lines() -> None:
    assert spec_from_card(with_entry("origin", "one\n  two"), FILE).origin == "one two"


@pytest.mark.parametrize("key", ["format", "name", "architecture", "preprocess"])
def test_a_missing_entry_is_named(key: str) -> None:
    card = tiny_card()
    del card[key]
    with pytest.raises(WeightsRefused, match=f"{key}: missing"):
        spec_from_card(card, FILE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 2),
        ("format", True),
        ("name", ""),
        ("name", "x" * 101),
        ("name", "a\nb"),
        ("name", "\ud800"),
        ("architecture", "os/system"),
        ("architecture", "multiscale/"),
        ("architecture", ["tiny"]),
        ("dim", 0),
        ("dim", True),
        ("dim", 16.0),
        ("dim", 10**12),
        ("config", []),
        ("config", {"dim": {"deep": 1}}),
        ("config", {"dim": 10**400}),
        ("config", {str(number): 1 for number in range(101)}),
        ("preprocess", "imagenet"),
        ("preprocess.size", 7),
        ("preprocess.size", 100_000),
        ("preprocess.fit", "stretch"),
        ("preprocess.fit", "crop"),
        ("preprocess.interpolation", "nearest"),
        ("preprocess.decode_scale", -1),
        ("preprocess.mean", [0.5, 0.5]),
        ("preprocess.mean", [0.5, 0.5, float("nan")]),
        ("preprocess.std", [0.2, 0.2, 0.0]),
        ("preprocess.std", [0.2, 0.2, True]),
        ("scenes", "kitchen"),
        ("scenes", ["kitchen", "kitchen"]),
        ("scenes", ["kitchen", ""]),
        ("scenes", ["kitchen", 3]),
        ("scene_filter", {"top_k": 0}),
        ("scene_filter", {"mass": 1.5}),
        ("scene_filter", []),
        ("centre", [0.0]),
        ("centre", "mean"),
        ("normalisation", "l1"),
        ("metric", "manhattan"),
        ("numeric_class", "int8"),
        ("weights_sha256", "abc"),
        ("weights_sha256", "g" * 64),
    ],
)
def test_a_wrong_entry_is_refused_and_named(path: str, value: Any) -> None:
    with pytest.raises(WeightsRefused) as refusal:
        spec_from_card(with_entry(path, value), FILE)
    named = path if path != "preprocess.fit" or value != "crop" else "preprocess.resize"
    assert f"card entry {named}" in refusal.value.message
    assert refusal.value.hint


def test_a_model_that_neither_embeds_nor_classifies_is_refused() -> None:
    card = tiny_card(scenes=()) | {"dim": None}
    with pytest.raises(WeightsRefused, match="embed"):
        spec_from_card(card, FILE)


@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=4))
@settings(deadline=None)
def test_any_card_gives_a_spec_or_a_refusal(changes: dict[str, Any]) -> None:
    try:
        spec = spec_from_card(tiny_card() | changes, FILE)
    except WeightsRefused:
        return
    assert spec.dim is None or 1 <= spec.dim <= MAX_DIM
    assert json.dumps(dict(spec.config), allow_nan=False)


@given(st.dictionaries(st.sampled_from(list(tiny_card()["preprocess"])), values, max_size=3))
@settings(deadline=None)
def test_any_preprocessing_gives_a_spec_or_a_refusal(changes: dict[str, Any]) -> None:
    preprocess = tiny_card()["preprocess"] | changes
    try:
        spec = spec_from_card(tiny_card() | {"preprocess": preprocess}, FILE)
    except WeightsRefused:
        return
    assert 8 <= spec.preprocess.size <= 4096


@given(st.binary(max_size=60) | st.binary(max_size=60).map(safetensors_bytes))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_no_card_or_a_refusal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "random.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(WeightsRefused):
        assert read_card(path) is None


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_model_file_with_a_changed_byte_gives_a_card_or_a_refusal(
    tmp_path: Path, position: int, byte: int
) -> None:
    path = tmp_path / "changed.safetensors"
    content = bytearray(write_tiny_model(path).read_bytes())
    content[position % 1500] = byte
    path.write_bytes(content)
    try:
        if (card := read_card(path)) is not None:
            spec_from_card(card, path)
    except WeightsRefused:
        pass


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00",
        safetensors_bytes(b"", length=2**63),
        safetensors_bytes(b"{}", length=MAX_HEADER_BYTES + 1, data=b"\0" * 100),
        safetensors_bytes(b"[]"),
        safetensors_bytes(b"\xff\xfe"),
        safetensors_bytes(b"[" * 100_000),
        safetensors_bytes(b'{"__metadata__": {"card": ' + b'"' + b"[" * 50_000 + b'"}}'),
        safetensors_bytes(b'{"__metadata__": 3}'),
        safetensors_bytes(b'{"__metadata__": {"card": {}}}'),
        safetensors_bytes(b'{"__metadata__": {"card": "[1]"}}'),
        safetensors_bytes(b'{"__metadata__": {"card": "{\\"dim\\": NaN}"}}'),
        safetensors_bytes(b'{"__metadata__": {"card": "{\\"dim\\": ' + b"9" * 5_000 + b'}"}}'),
    ],
)
def test_a_hostile_header_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused):
        read_card(path)


def test_a_file_without_a_card_has_none(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    path.write_bytes(safetensors_bytes(b"{}"))
    assert read_card(path) is None


def test_a_card_may_lie_beside_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "plain.pth"
    path.write_bytes(b"weights")
    (tmp_path / "plain.pth.json").write_text(json.dumps(tiny_card()))
    assert read_card(path) == tiny_card()


def test_the_card_inside_the_weights_comes_before_the_one_beside_them(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors.json").write_text(json.dumps({"name": "other"}))
    assert read_card(path) == tiny_card()


@pytest.mark.parametrize("content", [b"\xff", b"", b'"card"', b"{" * 2000, b" " * (2**20 + 1)])
def test_a_wrong_card_beside_the_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plain.pth"
    path.write_bytes(b"weights")
    (tmp_path / "plain.pth.json").write_bytes(content)
    with pytest.raises(WeightsRefused):
        read_card(path)
