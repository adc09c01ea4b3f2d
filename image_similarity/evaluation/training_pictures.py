"""No figure on pictures that a model was trained on: they are known by their SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from image_similarity.encoding.training_hashes import HASH_BYTES, read_training_hashes
from image_similarity.errors import TrainingPicturesMet

UNKNOWN = "training pictures unknown"
UNTRAINED = "not trained"


def check_unseen(model: str, weights: Path | None, pictures: Mapping[str, str]) -> str:
    """Return in words what is known of a model's training pictures, none of which it is measured on.

    Args:
        model: its name.
        weights: its file; the first 8 bytes of each training picture's SHA-256 may stand in it (`training.sha256`).
        pictures: the name of each by its SHA-256; two folders may have pictures of one name, so names are no keys.

    Raises:
        TrainingPicturesMet: one of the pictures is a training picture.
        WeightsRefused: the file's list of training pictures is damaged.
    """
    known = read_training_hashes(weights) if weights is not None else None
    if known is None:
        return UNKNOWN
    prefixes = {row.tobytes() for row in np.asarray(known)}
    met = [
        name for digest, name in pictures.items() if bytes.fromhex(digest)[:HASH_BYTES] in prefixes
    ]
    if met:
        raise TrainingPicturesMet(
            f"{model} was trained on {len(met)} of the {len(pictures)} pictures given; the first is {met[0]}",
            hint="a model must be measured on pictures that it never saw: take others",
        )
    return f"none of its {len(prefixes)} training pictures is among those evaluated"
