"""A fingerprint names exactly what decides a model's output."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from image_similarity.encoding.spec import ModelSpec, fingerprint, to_info
from image_similarity.values import ModelInfo, Preprocess

SHA = "ab" * 32
SPEC = ModelSpec(
    name="example",
    architecture="tiny",
    preprocess=Preprocess(32),
    config={"dim": 4, "scenes": 2},
    dim=4,
    scenes=("indoor", "outdoor"),
)


def test_a_fingerprint_never_changes_between_versions_of_the_program() -> None:
    """Stored databases hold it; if this fails on purpose, FORMAT_VERSION must rise."""
    assert fingerprint(SPEC, SHA) == (
        "b6b0bf24d25c138f8a1c79b6d2c60c153ff387b68c389fae0111570196bc72d8"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "torchvision/resnet18"},
        {"config": {"dim": 4, "scenes": 3}},
        {"layer": "another"},
        {"dim": 5},
        {"centre": (0.0, 0.0, 0.0, 0.0)},
        {"normalisation": "none"},
        {"metric": "cosine"},
        {"numeric_class": "int8"},
        {"scenes": ("outdoor", "indoor")},
        {"preprocess": Preprocess(32, decode_scale=0)},
        {"preprocess": Preprocess(32, interpolation="bilinear")},
        {"preprocess": Preprocess(32, mean=(0.5, 0.5, 0.5))},
    ],
)
def test_whatever_changes_the_output_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(replace(SPEC, **change), SHA) != fingerprint(SPEC, SHA)


def test_other_weights_give_another_fingerprint() -> None:
    assert fingerprint(SPEC, "cd" * 32) != fingerprint(SPEC, SHA)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "renamed"},
        {"licence": "other"},
        {"origin": "other"},
        {"scene_top_k": 3},
        {"scene_mass": 0.5},
        {"weights": Path("elsewhere.safetensors")},
        {"config": {"scenes": 2, "dim": 4}},
    ],
)
def test_what_does_not_change_the_output_leaves_the_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(replace(SPEC, **change), SHA) == fingerprint(SPEC, SHA)


def test_the_hash_of_the_weights_may_be_written_in_either_case() -> None:
    assert fingerprint(SPEC, SHA.upper()) == fingerprint(SPEC, SHA)


def test_the_recorded_information_repeats_the_spec() -> None:
    assert to_info(SPEC, SHA) == ModelInfo(
        name="example",
        fingerprint=fingerprint(SPEC, SHA),
        architecture="tiny",
        weights_sha256=SHA,
        preprocess=Preprocess(32),
        dim=4,
        scenes=("indoor", "outdoor"),
    )


@pytest.mark.parametrize("module", ["spec", "card", "registry", "weights", "encoder"])
def test_importing_a_module_of_this_room_loads_no_torch(module: str) -> None:
    """A query on a known picture must answer in milliseconds."""
    code = (
        f"import sys, image_similarity.encoding.{module}\n"
        "print(sorted({'torch', 'torchvision', 'safetensors'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
