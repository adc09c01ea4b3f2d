"""The reference table: how it is drawn, counted and read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from image_similarity.calibration.reference import (
    as_close,
    measure_distances,
    same_scene_pairs,
    share,
    unrelated_pairs,
)
from image_similarity.values import DISTANCE_STEPS, DistanceTable, Share

FINGERPRINT = "f1" * 32


def table(unrelated: list[float], same_scene: list[float]) -> DistanceTable:
    """A table of these distances, counted the slow way."""

    def counts(distances: list[float]) -> tuple[int, ...]:
        return tuple(
            sum(distance <= step / 100 for distance in distances)
            for step in range(DISTANCE_STEPS + 1)
        )

    return DistanceTable(
        FINGERPRINT, "made up", len(unrelated), counts(unrelated), counts(same_scene)
    )


def unit_vectors(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(0, 2**32))
def test_no_picture_stands_in_two_pairs_of_a_kind(labels: list[int], seed: int) -> None:
    scenes = np.array(labels, dtype=np.int64)
    for draw, alike in ((unrelated_pairs, False), (same_scene_pairs, True)):
        pairs = draw(scenes, np.random.default_rng(seed))
        assert len(set(pairs.ravel().tolist())) == pairs.size
        assert ((scenes[pairs[:, 0]] == scenes[pairs[:, 1]]) == alike).all()


def test_equally_many_pictures_of_each_scene_are_all_used() -> None:
    scenes = np.repeat(np.arange(100), 30)
    random = np.random.default_rng(1)
    assert len(same_scene_pairs(scenes, random)) == 1500
    assert len(unrelated_pairs(scenes, random)) >= 1499


def test_a_measured_table_counts_the_distances_of_the_stored_vectors() -> None:
    vectors, scenes = unit_vectors(400), np.repeat(np.arange(10), 40)
    found = measure_distances(vectors, scenes, fingerprint=FINGERPRINT, made_on="noise", seed=3)
    assert (found.fingerprint, found.made_on, found.pictures) == (FINGERPRINT, "noise", 400)
    random = np.random.default_rng(3)
    stored = vectors.astype(np.float16).astype(np.float64)
    for draw, counts in ((unrelated_pairs, found.unrelated), (same_scene_pairs, found.same_scene)):
        distances = [float(np.linalg.norm(stored[a] - stored[b])) for a, b in draw(scenes, random)]
        assert counts == tuple(
            sum(distance <= step / 100 + 1e-9 for distance in distances)
            for step in range(DISTANCE_STEPS + 1)
        )
        assert counts[-1] == len(distances)


def test_the_same_seed_gives_the_same_table() -> None:
    vectors, scenes = unit_vectors(40), np.repeat(np.arange(4), 10)
    tables = [
        measure_distances(vectors, scenes, fingerprint=FINGERPRINT, made_on="noise")
        for _ in range(2)
    ]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("scenes", [[0, 1], [0, 0], [], [0, 1, 2]])
def test_too_few_pictures_make_no_table(scenes: list[int]) -> None:
    with pytest.raises(ValueError, match="two"):
        measure_distances(
            unit_vectors(len(scenes)), np.array(scenes), fingerprint=FINGERPRINT, made_on="noise"
        )


def test_every_picture_needs_a_label() -> None:
    with pytest.raises(ValueError, match="3 embeddings, but 2 labels"):
        measure_distances(
            unit_vectors(3), np.array([0, 1]), fingerprint=FINGERPRINT, made_on="noise"
        )


def test_a_distance_between_two_steps_counts_as_the_larger() -> None:
    found = table([0.10, 0.11, 0.12, 1.5], [0.2])
    assert [as_close(found, d).unrelated.count for d in (0.0, 0.1, 0.101, 0.11, 0.119)] == [
        0, 1, 2, 2, 3,
    ]  # fmt: skip


distances = st.lists(st.floats(0, 2), min_size=1, max_size=30)


@given(distances, distances, st.floats(0, 2.0000001))
def test_a_reading_never_makes_a_hit_look_rarer_than_it_is(
    unrelated: list[float], same_scene: list[float], distance: float
) -> None:
    found = as_close(table(unrelated, same_scene), distance)
    for kind, all_of_them in ((found.unrelated, unrelated), (found.same_scene, same_scene)):
        assert kind.pairs == len(all_of_them)
        # Within the millionth of a step that is taken for rounding.
        assert kind.count >= sum(each <= distance - 1e-8 for each in all_of_them)
        assert 0 <= kind.low <= kind.count / kind.pairs <= kind.high <= 1


@pytest.mark.parametrize("distance", [-0.1, math.nan])
def test_what_is_no_distance_has_no_reading(distance: float) -> None:
    with pytest.raises(ValueError, match="is no distance"):
        as_close(table([1.0], [1.0]), distance)


def test_none_of_n_means_up_to_three_in_n() -> None:
    assert share(0, 1500) == Share(0, 1500, 0.0, 0.002)
    assert share(0, 2).high == 1.0


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_an_interval_is_wilsons(count: int, pairs: int) -> None:
    count = min(count, pairs)
    wanted = binomtest(count, pairs).proportion_ci(0.95, method="wilson")
    found = share(count, pairs)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """By simulation, at the small shares that matter: coverage near 95 %, and rarely above the upper end."""
    random = np.random.default_rng(0)
    for truth in (0.002, 0.01, 0.2):
        counts = random.binomial(1500, truth, size=2000)
        held = [share(int(count), 1500) for count in counts]
        assert np.mean([one.low <= truth <= one.high for one in held]) > 0.93
        assert np.mean([truth > one.high for one in held]) < 0.06
