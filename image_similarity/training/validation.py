"""The pictures that a training validates on, and its figures: each picture asks the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from image_similarity.evaluation.edits import edit_pictures
from image_similarity.evaluation.measures import retrieval_columns
from image_similarity.training.recipe import Figures

# What an unlabelled picture must be found in.
EDITS = ("crop-50", "rotate-5", "jpeg-20", "text", "screenshot")


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Pictures as the model wants them, uint8 (M, S, S, 3), and their groups, int64 (M,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def figures(self, vectors: NDArray[np.float32]) -> Figures:
        """Return recall@1 and MAP@R of unit vectors (M, D); pictures alone in their group ask nothing."""
        # A vector that is no number becomes one that is like no other.
        _, found = retrieval_columns(np.nan_to_num(vectors), self.labels)
        return Figures(float(found["recall@1"].mean()), float(found["mAP@R"].mean()))


def grouped_validation(pixels: NDArray[np.uint8], groups: Sequence[str]) -> ValidationSet:
    """Return a set in which the pictures of a group look for each other."""
    _, labels = np.unique(np.array(groups, dtype=object), return_inverse=True)
    return ValidationSet(pixels, labels.astype(np.int64))


def edited_validation(
    pixels: NDArray[np.uint8], views: NDArray[np.uint8], *, seed: int
) -> ValidationSet:
    """Return a set in which each picture and its edited copies look for each other.

    The edits are made on the larger `views` (M, L, L, 3) and brought to the size of `pixels`.
    """
    size = pixels.shape[1]
    copies = [edit_pictures(views, name, size=size, seed=seed) for name in EDITS]
    labels = np.tile(np.arange(len(pixels), dtype=np.int64), len(EDITS) + 1)
    return ValidationSet(np.concatenate([pixels, *copies]), labels)
