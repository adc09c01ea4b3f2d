"""Folders of small pictures with classes, and requests on them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from image_similarity.evaluation import EvaluationRequest
from tests.conftest import draw_picture
from tests.tiny_model import tiny_card, write_tiny_model


def class_folder(root: Path, classes: int = 3, each: int = 4, names: Any = None) -> Path:
    """A folder of `classes` folders with `each` pictures, those of a class being crops of one picture."""
    for number in range(classes):
        base = draw_picture(100 + number, (120, 90))
        folder = root / (names[number] if names else f"class-{number}")
        folder.mkdir(parents=True)
        for row in range(each):
            base.crop((row * 4, row * 3, 96 + row * 4, 72 + row * 3)).save(folder / f"{row}.png")
    return root


def flat_folder(root: Path, count: int, seed: int = 0) -> Path:
    """A folder of pictures that all differ."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        draw_picture(seed + number, (80, 60)).save(root / f"{number:02d}.png")
    return root


def request(model: Path, **given: Any) -> EvaluationRequest:
    """A request for a few resamples."""
    return EvaluationRequest(
        models=given.pop("models", (str(model),)), device="cpu", resamples=20, **given
    )


def trained_on(path: Path, pictures: list[Path]) -> Path:
    """A tiny model that says which pictures it was trained on."""
    import json

    write_tiny_model(path)
    digests = sorted(hashlib.sha256(each.read_bytes()).digest()[:8] for each in pictures)
    tensors = load_file(path)
    tensors["training.sha256"] = np.array([list(each) for each in digests], dtype=np.uint8)
    save_file(tensors, path, metadata={"card": json.dumps(tiny_card())})
    return path
