"""The batches of an epoch: whatever the groups' sizes, several pictures of each, and never only one group."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.training.finetune import group_batches


@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=12),
    per_group=st.integers(2, 6),
    spare=st.integers(0, 20),
    seed=st.integers(0, 50),
)
@settings(max_examples=200, deadline=None)
def test_every_batch_holds_two_groups_with_positives_and_is_no_larger_than_was_asked(
    sizes: list[int], per_group: int, spare: int, seed: int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    size = 2 * per_group + spare
    batches = group_batches(labels, batch_size=size, per_group=per_group, seed=seed)
    assert set(np.concatenate(batches).tolist()) == set(range(len(labels)))
    for batch in batches:
        groups, counts = np.unique(labels[batch], return_counts=True)
        assert len(batch) <= size
        assert len(groups) >= 2
        assert counts.min() >= 2


def test_one_folder_of_thousands_among_small_ones_does_not_make_one_giant_batch() -> None:
    labels = np.repeat(np.arange(3), [1000, 2, 2])
    batches = group_batches(labels, batch_size=32, per_group=4, seed=1)
    assert max(map(len, batches)) <= 32
    assert sum(map(len, batches)) < 1.2 * len(labels)
