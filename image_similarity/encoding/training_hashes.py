"""The hashes of the pictures that a model was trained on, as its weights file carries them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from image_similarity.encoding.card import read_header, refuse

# Tensors of this prefix are notes on the training: no part of the network, never loaded into it.
PREFIX = "training."
TENSOR = "training.sha256"
# Of each file's SHA-256 the first bytes: among 60,000 files and a million asked for, the chance of
# one false match is 3 in a thousand million.
HASH_BYTES = 8


def read_training_hashes(path: Path) -> NDArray[np.uint8] | None:
    """Return uint8 (N, 8), ascending: the first 8 bytes of each training file's SHA-256.

    None if the file carries none, as any but a .safetensors file does. No torch is loaded and no
    other tensor is read.

    Raises:
        WeightsRefused: the file or the entry is not what it claims to be.
        OSError: the file cannot be read.
    """
    if path.suffix.lower() != ".safetensors":
        return None
    header, start = read_header(path)
    if TENSOR not in header:
        return None
    count, low = _place(header[TENSOR], path.stat().st_size - start, path)
    with path.open("rb") as file:
        file.seek(start + low)
        data = file.read(count * HASH_BYTES)
    if len(data) != count * HASH_BYTES:
        refuse(path, f"{TENSOR} was cut off while it was read")
    return np.frombuffer(data, np.uint8).reshape(count, HASH_BYTES)


def _place(entry: Any, data_bytes: int, path: Path) -> tuple[int, int]:
    """Return the number of hashes and where they begin among `data_bytes` bytes of tensors."""
    if not isinstance(entry, dict):
        refuse(path, f"{TENSOR} is no tensor")
    shape, offsets = _pair(entry.get("shape"), path), _pair(entry.get("data_offsets"), path)
    if entry.get("dtype") != "U8" or shape[1] != HASH_BYTES:
        refuse(path, f"{TENSOR} is not of type U8 and of shape (N, {HASH_BYTES})")
    low, high = offsets
    if high > data_bytes or high - low != shape[0] * HASH_BYTES:
        refuse(path, f"{TENSOR} does not lie within the file")
    return shape[0], low


def _pair(value: Any, path: Path) -> tuple[int, int]:
    """Return two whole numbers of at least 0."""
    if not isinstance(value, list) or len(value) != 2:
        refuse(path, f"{TENSOR} has no two-dimensional place in the file")
    if not all(type(each) is int and each >= 0 for each in value):
        refuse(path, f"{TENSOR} has a place that is no whole number")
    return value[0], value[1]
