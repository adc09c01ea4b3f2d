"""Calibration from groups: which pairs, how many groups, and what is held out."""

from __future__ import annotations

import numpy as np
import pytest

from image_similarity.calibration.calibrate import (
    MAX_PER_GROUP,
    Grouped,
    calibrate,
    cross_validate,
    draw_pairs,
    split,
)
from image_similarity.calibration.groups import GroupList
from image_similarity.calibration.ratio import cllr
from image_similarity.errors import CalibrationRefused
from image_similarity.values import Calibration
from tests.reports.samples import MODEL

LIST = GroupList("rooms.csv", "ab" * 32, ())


def made_up(
    groups: int, size: int = 3, *, noise: float = 0.3, scenes: int = 0, seed: int = 0
) -> Grouped:
    """Groups around random unit vectors; with `scenes` the groups have that many labels in turn."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.standard_normal((groups, 16)), size, axis=0)
    vectors = centres + noise * 4 * random.standard_normal(centres.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = np.repeat(np.arange(groups), size)
    labels = [f"scene {number % scenes}" if scenes else None for number in numbers]
    return Grouped(vectors.astype(np.float16), numbers, labels)


def learned(grouped: Grouped, **settings: str) -> Calibration:
    return calibrate(grouped, LIST, MODEL, **settings)  # type: ignore[arg-type]


def test_199_groups_are_refused_with_their_number() -> None:
    with pytest.raises(CalibrationRefused, match=r"rooms.csv has 199 groups .* 200 are needed"):
        learned(made_up(199))


def test_200_groups_are_enough_and_bound_the_ratio() -> None:
    found = learned(made_up(200))
    assert (found.groups, found.pictures, found.same_pairs) == (200, 600, 600)
    assert 10**found.bound == pytest.approx(200)
    assert found.slope < 0
    assert found.cllr_low <= found.cllr <= found.cllr_high < 1
    assert found.cllr_min <= found.cllr
    assert (found.fingerprint, found.groups_sha256) == (MODEL.fingerprint, LIST.sha256)


def test_a_group_of_one_picture_counts_for_nothing() -> None:
    grouped = made_up(200)
    single = Grouped(
        np.concatenate([grouped.vectors, grouped.vectors[:1]]),
        np.append(grouped.groups, 200),
        [*grouped.scenes, None],
    )
    assert learned(single).pictures == 600
    with pytest.raises(CalibrationRefused, match="has 199 groups"):
        learned(Grouped(grouped.vectors[:-2], grouped.groups[:-2], grouped.scenes[:-2]))


def test_vectors_that_say_nothing_of_the_groups_cost_one_bit() -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((800, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    noise = Grouped(vectors.astype(np.float16), np.repeat(np.arange(200), 4), [None] * 800)
    found = learned(noise)
    assert found.cllr == pytest.approx(1.0, abs=0.02)
    assert abs(found.intercept + found.slope) < 0.15


def test_no_group_is_fitted_on_and_tested_on() -> None:
    pairs, _ = draw_pairs(made_up(200), np.random.default_rng(1))
    tested = 0
    for fitted, held_out in split(pairs, np.random.default_rng(1)):
        known, unseen = pairs.where(fitted), pairs.where(held_out)
        of_known = set(known.first.tolist()) | set(known.second.tolist())
        of_unseen = set(unseen.first.tolist()) | set(unseen.second.tolist())
        assert not of_known & of_unseen
        tested += int(unseen.same.sum())
    assert tested == pairs.same.sum(), "each pair of one group is tested once"


def test_pairs_of_different_groups_share_their_likeliest_scene_where_labels_allow() -> None:
    grouped = made_up(220, scenes=11)
    pairs, same_scene = draw_pairs(grouped, np.random.default_rng(1))
    assert same_scene
    apart = pairs.where(~pairs.same)
    assert len(apart.first)
    assert (apart.first % 11 == apart.second % 11).all()
    assert learned(grouped).different == (
        "they are of two different groups of rooms.csv, pictures of the same likeliest scene"
    )


def test_without_labels_all_other_groups_are_the_alternative() -> None:
    found = learned(made_up(200))
    assert found.different == "they are of two different groups of rooms.csv"
    assert found.same == "both pictures are of one group of rooms.csv"


def test_hard_pairs_make_ratios_smaller() -> None:
    """Groups of one scene lie nearer together: to compare with all others would flatter."""
    random = np.random.default_rng(2)
    grouped = made_up(200, scenes=10)
    scene = np.array([int(str(label)[6:]) for label in grouped.scenes])
    kinds = random.standard_normal((10, 16))
    vectors = grouped.vectors.astype(np.float64) + 0.4 * kinds[scene]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = Grouped(vectors.astype(np.float16), grouped.groups, grouped.scenes)
    unlabelled = Grouped(near.vectors, near.groups, [None] * len(near.groups))
    assert learned(near).cllr > learned(unlabelled).cllr


def test_the_words_for_a_group_are_the_users() -> None:
    assert learned(made_up(200), same="both show one room").same == "both show one room"


def test_each_group_weighs_the_same_and_a_burst_is_cut() -> None:
    grouped = made_up(200)
    burst = made_up(1, 50, seed=1)
    both = Grouped(
        np.concatenate([grouped.vectors, burst.vectors]),
        np.concatenate([grouped.groups, burst.groups + 200]),
        [*grouped.scenes, *burst.scenes],
    )
    pairs, _ = draw_pairs(both, np.random.default_rng(1))
    within = pairs.where(pairs.same)
    assert np.bincount(within.first)[200] == MAX_PER_GROUP * (MAX_PER_GROUP - 1) / 2
    assert np.bincount(within.first, weights=within.weights) == pytest.approx(np.ones(201))


def test_the_same_groups_give_the_same_calibration() -> None:
    first, second = learned(made_up(200)), learned(made_up(200))
    assert (first.intercept, first.slope, first.cllr_low) == (
        second.intercept, second.slope, second.cllr_low,
    )  # fmt: skip


def test_the_interval_is_that_of_groups_not_of_pairs() -> None:
    """Copies of the pictures in each group add pairs, but no knowledge: the interval must not shrink with them."""
    few = made_up(200, 2)
    many = Grouped(
        np.repeat(few.vectors, 4, axis=0), np.repeat(few.groups, 4), [None] * (4 * len(few.groups))
    )
    widths = [found.cllr_high - found.cllr_low for found in (learned(few), learned(many))]
    assert widths[1] > 0.6 * widths[0]


def test_the_cost_of_what_was_held_out_is_near_that_of_fresh_groups() -> None:
    pairs, _ = draw_pairs(made_up(300, seed=5), np.random.default_rng(1))
    tested, cost = cross_validate(pairs, np.random.default_rng(1))
    fresh = learned(made_up(400, seed=6))
    assert cllr(cost, tested.same, tested.weights) == pytest.approx(fresh.cllr, abs=0.08)
