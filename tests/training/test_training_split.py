"""The split of own pictures: by group, seeded, scanned for copies, and written down."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.errors import TrainingRefused
from image_similarity.training.near_duplicates import parts_of
from image_similarity.training.split import split_groups, write_split


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=30),
    share=st.floats(0.01, 0.9),
    seed=st.integers(0, 50),
)
@settings(max_examples=100, deadline=None)
def test_no_group_is_on_both_sides_and_each_side_has_two_to_tell_apart(
    sizes: list[int], share: float, seed: int
) -> None:
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    usable = sum(size >= 2 for size in sizes)
    try:
        validates = split_groups(groups, share=share, seed=seed)
    except TrainingRefused:
        assert usable - max(2, round(share * usable)) < 2
        return
    names = np.array(groups)
    inside, outside = set(names[validates]), set(names[~validates])
    assert not inside & outside
    assert len(inside) >= 2
    assert sum(sizes[int(name[1:])] >= 2 for name in outside) >= 2
    assert all(sizes[int(name[1:])] >= 2 for name in inside)


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    groups = [f"g{number // 3}" for number in range(90)]
    first = split_groups(groups, share=0.3, seed=1)
    assert (first == split_groups(groups, share=0.3, seed=1)).all()
    assert (first != split_groups(groups, share=0.3, seed=2)).any()
    assert first.sum() == 27


def test_too_few_groups_are_refused_with_what_is_needed() -> None:
    with pytest.raises(TrainingRefused, match="2 are needed to learn from") as caught:
        split_groups(["a", "a", "b", "b", "c", "c", "d"], share=0.2, seed=1)
    assert "--unlabelled" in caught.value.hint
    with pytest.raises(TrainingRefused, match="3 pictures are too few"):
        split_groups(["a", "b", "c"], share=0.2, seed=1, singles=True)


def test_copies_and_near_duplicates_across_the_parts_leave_the_validation() -> None:
    vectors = np.array(
        [[1, 0], [0, 1], [1, 0], [0.99, 0.141], [-1, 0], [np.nan, 0]], dtype=np.float32
    )
    validates = np.array([False, False, True, True, True, True])
    a, b, c, d, e = (letter * 64 for letter in "abcde")
    parts = parts_of(validates, [a, b, a, c, d, e], vectors, threshold=0.95)
    assert parts == [
        "training", "training", "exact copy", "near-duplicate", "validation", "validation",
    ]  # fmt: skip
    known = [bytes.fromhex(d[:16]), bytes.fromhex(b[:16])]
    parts = parts_of(validates, [a, b, a, c, d, e], vectors, threshold=0.95, known=known)
    assert parts[4] == "known to the start model"
    assert parts[:2] == ["training", "training"]


def test_the_split_is_written_with_every_picture_whatever_its_name(tmp_path: Path) -> None:
    target = tmp_path / "split.csv"
    write_split(target, ["a,b.jpg", 'c"\u00e9.jpg'], ["one", "two"], ["training", "near-duplicate"])
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "group", "part"],
        ["a,b.jpg", "one", "training"],
        ['c"\u00e9.jpg', "two", "near-duplicate"],
    ]
    assert [each.name for each in tmp_path.iterdir()] == ["split.csv"]
