"""A tiny deterministic model with meaningful vectors, for every test that needs one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

SCENES = ("bedroom", "kitchen", "street", "forest")


def tiny_card(dim: int = 16, scenes: Sequence[str] = SCENES) -> dict[str, Any]:
    """Return the card of a tiny model: 32 x 32 pixels in, an 8 x 8 thumbnail inside."""
    return {
        "format": 1,
        "name": "tiny",
        "architecture": "tiny",
        "config": {"dim": dim, "scenes": len(scenes), "thumbnail": 8},
        "layer": "linear map of the thumbnail",
        "dim": dim,
        "preprocess": {
            "size": 32,
            "fit": "squash",
            "interpolation": "bilinear",
            "decode_scale": 2,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
        },
        "scenes": list(scenes),
        "scene_filter": {"top_k": 3, "mass": 0.95},
        "licence": "same as the program",
        "origin": "drawn at random from a fixed seed",
    }


def tiny_state(dim: int = 16, scenes: int = len(SCENES), seed: int = 0) -> dict[str, np.ndarray]:
    """Return the weights of a tiny model, float32: rows of a random projection."""
    random = np.random.default_rng(seed)
    inputs = 3 * 8 * 8
    shapes = {"embedding.weight": (dim, inputs)}
    if scenes:
        shapes["scene_head.weight"] = (scenes, inputs)
    return {
        name: (random.standard_normal(shape) / inputs**0.5).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_tiny_model(
    path: Path, dim: int = 16, scenes: Sequence[str] = SCENES, seed: int = 0
) -> Path:
    """Write a .safetensors file with its card and return the path.

    The same arguments give the same bytes; another seed gives another fingerprint.
    """
    metadata = {"card": json.dumps(tiny_card(dim, scenes))}
    save_file(tiny_state(dim, len(scenes), seed), path, metadata=metadata)
    return path
