"""Portions and the ranges of their numbers."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from image_similarity.cluster.work import Portion, holds, portions, with_number
from image_similarity.pictures.walk import FileEntry


def test_every_file_is_in_one_portion_and_they_are_numbered_from_where_one_says() -> None:
    files = [FileEntry(f"{n}.jpg", f"/evidence/{n}.jpg", n, 10 * n) for n in range(5)]
    assert list(portions(files, 2, first=7)) == [
        Portion(7, (("0.jpg", 0, 0), ("1.jpg", 1, 10))),
        Portion(8, (("2.jpg", 2, 20), ("3.jpg", 3, 30))),
        Portion(9, (("4.jpg", 4, 40),)),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_numbers_in_any_order_make_the_fewest_ranges(seed: int) -> None:
    numbers = list(range(50))
    random.Random(seed).shuffle(numbers)
    ranges: list[list[int]] = []
    for done, number in enumerate(numbers):
        assert not holds(ranges, number)
        ranges = with_number(ranges, number)
        assert all(holds(ranges, each) for each in numbers[: done + 1])
        assert not any(holds(ranges, each) for each in numbers[done + 1 :])
        assert all(a[1] + 1 < b[0] for a, b in pairwise(ranges))
    assert ranges == [[0, 49]]
