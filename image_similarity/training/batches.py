"""Which pictures go into which batch: few scenes, several pictures of each, some twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def epoch_batches(
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    scenes_per_batch: int,
    pictures_per_scene: int,
    second_views: int,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Return the batches of one epoch, as row numbers.

    Every row is drawn at most once an epoch; the few that fill no group of
    `pictures_per_scene` are left for another epoch's drawing. The groups of a batch are of
    different scenes where enough scenes remain. The first `second_views` rows of a batch come
    once more at its end: as the augmentation differs, these are copies of each other.

    Args:
        labels: scene of every row of the data.
        rows: the rows to draw from.
        scenes_per_batch: groups in a batch.
        pictures_per_scene: rows in a group.
        second_views: rows that appear twice.
        seed: equal seeds give equal epochs.
    """
    generator = np.random.default_rng(seed)
    groups: list[tuple[float, NDArray[np.int64]]] = []
    for label in np.unique(labels[rows]):
        mine = generator.permutation(rows[labels[rows] == label])
        count = len(mine) // pictures_per_scene
        # Spreading every scene's groups evenly over the epoch, with some noise, keeps two
        # groups of one scene out of the same batch without any search.
        places = (np.arange(count) + generator.random(count)) / max(count, 1)
        groups += [
            (float(place), mine[start * pictures_per_scene : (start + 1) * pictures_per_scene])
            for start, place in enumerate(places)
        ]
    groups.sort(key=lambda group: group[0])
    batches = []
    for start in range(0, len(groups) - scenes_per_batch + 1, scenes_per_batch):
        chosen = [group for _, group in groups[start : start + scenes_per_batch]]
        batch = generator.permutation(np.concatenate(chosen))
        batches.append(np.concatenate([batch, batch[:second_views]]))
    return batches
