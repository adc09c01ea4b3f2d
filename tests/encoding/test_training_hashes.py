"""A weights file says which pictures it was taught, and the network never sees that."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from image_similarity.encoding.training_hashes import TENSOR, read_training_hashes
from image_similarity.encoding.weights import load_state
from image_similarity.errors import WeightsRefused

HASHES = np.arange(24, dtype=np.uint8).reshape(3, 8)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"layer.weight": torch.ones(2, 3), TENSOR: torch.from_numpy(HASHES)}, path)
    return path


def write_header(path: Path, entry: Any, *, data: bytes = bytes(64)) -> None:
    text = json.dumps({TENSOR: entry}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_the_hashes_come_back_as_they_were_written(weights: Path) -> None:
    assert read_training_hashes(weights).tolist() == HASHES.tolist()


def test_a_file_without_hashes_has_none(tmp_path: Path) -> None:
    save_file({"layer.weight": torch.ones(2, 3)}, tmp_path / "model.safetensors")
    assert read_training_hashes(tmp_path / "model.safetensors") is None
    assert read_training_hashes(tmp_path / "model.pth") is None


def test_an_empty_list_of_hashes_is_a_list(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_header(path, {"dtype": "U8", "shape": [0, 8], "data_offsets": [0, 0]})
    assert read_training_hashes(path).shape == (0, 8)


def test_the_hashes_are_no_part_of_the_network(weights: Path) -> None:
    assert list(load_state(weights)) == ["layer.weight"]


def test_reading_the_hashes_loads_no_torch(weights: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from image_similarity.encoding.training_hashes import read_training_hashes\n"
        f"assert read_training_hashes(Path({str(weights)!r})) is not None\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {},
        {"dtype": "F32", "shape": [1, 8], "data_offsets": [0, 8]},
        {"dtype": "U8", "shape": [1, 7], "data_offsets": [0, 7]},
        {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
        {"dtype": "U8", "shape": [1, 8, 1], "data_offsets": [0, 8]},
        {"dtype": "U8", "shape": [-1, 8], "data_offsets": [8, 0]},
        {"dtype": "U8", "shape": [True, 8], "data_offsets": [0, 8]},
        {"dtype": "U8", "shape": [1, 8], "data_offsets": [0, 9]},
        {"dtype": "U8", "shape": [1, 8], "data_offsets": [64, 72]},
        {"dtype": "U8", "shape": [10**30, 8], "data_offsets": [0, 8 * 10**30]},
    ],
)
def test_an_entry_that_is_no_list_of_hashes_is_refused(tmp_path: Path, entry: Any) -> None:
    path = tmp_path / "model.safetensors"
    write_header(path, entry)
    with pytest.raises(WeightsRefused, match=TENSOR):
        read_training_hashes(path)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 200), place=st.integers(0, 300), byte=st.integers(0, 255))
def test_a_damaged_file_is_refused_or_read_and_nothing_else(
    tmp_path: Path, cut: int, place: int, byte: int
) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"layer": torch.ones(2), TENSOR: torch.from_numpy(HASHES)}, path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = byte
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        found = read_training_hashes(path)
    except WeightsRefused:
        return
    assert found is None or (found.dtype == np.uint8 and found.shape[1:] == (8,))
