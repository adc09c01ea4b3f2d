"""Which scenes a picture is likely to be of."""

from __future__ import annotations

from collections.abc import Sequence

from image_similarity.values import SceneScore


def likely_scenes(scores: Sequence[SceneScore], mass: float) -> tuple[str, ...]:
    """Give the smallest set of a picture's top scenes whose probabilities reach `mass`, most probable first.

    Only the stored labels are known; where all of them together stay below `mass`, all are given.

    Args:
        scores: The stored labels, most probable first.
        mass: In (0, 1].
    """
    chosen: list[str] = []
    reached = 0.0
    for score in scores:
        chosen.append(score.name)
        reached += score.probability
        if reached >= mass:
            break
    return tuple(chosen)
