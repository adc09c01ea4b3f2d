"""From a scene head's probabilities to the labels that are kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def top_scenes(probabilities: npt.NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    """Return the k most probable classes as (position, probability in [0, 1]); ties go to the lower position.

    Args:
        probabilities: float32 (C,), one picture.
        k: how many to keep; all C if there are fewer.
    """
    order = np.argsort(-probabilities, kind="stable")[:k]
    return [
        (int(position), min(1.0, max(0.0, float(probabilities[position])))) for position in order
    ]
