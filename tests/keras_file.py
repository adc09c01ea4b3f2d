"""Weights files as Keras writes them, of a narrow DeepRanking network, for every test that needs one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# Of VGG16: the layers of each block.
BLOCKS = (2, 2, 3, 3, 3)
# Channels of the blocks, of the two shallow paths, of the two hidden layers, and the length of a vector.
NARROW = ((4, 4, 6, 6, 8), (6, 6), (10, 12), 16)
FULL = ((64, 128, 256, 512, 512), (96, 96), (4096, 4096), 4096)
CONVOLUTIONS = tuple(
    f"block{block + 1}_conv{layer + 1}" for block, n in enumerate(BLOCKS) for layer in range(n)
)
Widths = tuple[tuple[int, ...], tuple[int, int], tuple[int, int], int]


def shapes(widths: Widths = NARROW) -> list[tuple[int, ...]]:
    """Return the shapes of the 18 kernels in the file's order."""
    blocks, (first, second), (one, two), dim = widths
    trunk = [width for width, layers in zip(blocks, BLOCKS, strict=True) for _ in range(layers)]
    return [
        *((3, 3, before, here) for before, here in zip([3, *trunk], trunk, strict=False)),
        (8, 8, 3, first),
        (8, 8, 3, second),
        (trunk[-1], one),
        (one, two),
        (16 * (first + second) + two, dim),
    ]


def names(first: int = 0) -> list[str]:
    """Return the names of the 18 layers, their suffixes beginning with 0 (not written) or with another number."""

    def numbered(stem: str, number: int) -> str:
        return f"{stem}_{number}" if number else stem

    return [
        *CONVOLUTIONS,
        *(numbered("conv2d", first + number) for number in range(2)),
        *(numbered("dense", first + number) for number in range(3)),
    ]


def arrays(widths: Widths = NARROW, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (kernel, bias) of the 18 layers, float32, drawn from a seed; signals keep their size on the way."""
    random = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...], scale: float) -> np.ndarray:
        drawn: np.ndarray = random.standard_normal(shape, np.float32) * np.float32(scale)
        return drawn

    return [
        (draw(shape, (2 / np.prod(shape[:-1])) ** 0.5), draw(shape[-1:], 0.1))
        for shape in shapes(widths)
    ]


def write(
    path: Path,
    weights: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    layers: Sequence[str] | None = None,
    *,
    nested: bool = False,
    shuffled: bool = False,
    suffix: str = ":0",
    fixed: bool = False,
    bias_first: bool = False,
) -> Path:
    """Write a file in the layout of `save_weights`, or `nested` as `model.save` does, and return its path.

    With `shuffled` the groups are made in another order than the one that `layer_names` says; with `fixed` the names
    are texts of a fixed length.
    """
    layers = names() if layers is None else layers
    weights = arrays() if weights is None else weights
    # Layers without weights are listed too.
    listed = ["input_1", *layers[:13], "block5_pool", "input_2", *layers[13:], "lambda"]

    def texts(names: Sequence[str]) -> Any:
        encoded = [name.encode() for name in names]
        return np.array(encoded, "S") if fixed and encoded else encoded

    held: dict[str, Any] = dict(zip(layers, weights, strict=True))
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if nested else file
        root.attrs["layer_names"] = texts(listed)
        root.attrs["backend"] = b"tensorflow"
        root.attrs["keras_version"] = b"2.1.6"
        for name in reversed(listed) if shuffled else listed:
            group = root.create_group(name)
            parts = zip(("kernel", "bias"), held.get(name, ()), strict=False)
            kept = {f"{name}/{part}{suffix}": array for part, array in parts}
            if bias_first:
                kept = dict(reversed(kept.items()))
            group.attrs["weight_names"] = texts(list(kept))
            for each, array in kept.items():
                group.create_dataset(each, data=array)
    return path
