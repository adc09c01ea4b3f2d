"""The scene filter's figures follow from its definition."""

from __future__ import annotations

import numpy as np
import pytest

from image_similarity.evaluation.scene_filter import (
    asked_scenes,
    filter_figures,
    hidden_shares,
    lost_shares,
    stored_scenes,
)

PROBABILITIES = np.array([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]], dtype=np.float32)


def test_a_query_asks_for_the_fewest_scenes_that_reach_the_mass() -> None:
    assert asked_scenes(PROBABILITIES, 3, 0.5).tolist() == [
        [True, False, False, False],
        [False, False, True, True],
    ]


def test_a_query_that_cannot_reach_the_mass_asks_for_all_its_stored_scenes() -> None:
    assert asked_scenes(PROBABILITIES, 2, 1.0).sum(axis=1).tolist() == [2, 2]


def test_a_picture_stores_its_likeliest_scenes() -> None:
    assert stored_scenes(PROBABILITIES, 2).tolist() == [
        [True, True, False, False],
        [False, False, True, True],
    ]


def test_an_unchanged_copy_is_never_lost_and_a_stranger_is_hidden() -> None:
    figures = filter_figures(PROBABILITIES, PROBABILITIES, asked=(1, 1.0), stored=1)
    assert figures.lost == 0.0
    assert figures.hidden == 0.5
    shares = hidden_shares(PROBABILITIES, PROBABILITIES[:1], asked=(1, 1.0), stored=1)
    assert shares.tolist() == [0.0, 1.0]


def test_a_copy_with_another_first_scene_is_lost_to_the_hard_filter_only() -> None:
    original = np.array([[0.45, 0.40, 0.10, 0.05]], dtype=np.float32)
    copy = np.array([[0.40, 0.45, 0.10, 0.05]], dtype=np.float32)
    assert lost_shares(original, copy, asked=(1, 1.0), stored=1).tolist() == [1.0]
    assert lost_shares(original, copy, asked=(2, 0.5), stored=2).tolist() == [0.0]


def test_a_copy_that_is_lost_in_one_direction_is_half_lost() -> None:
    original = np.array([[0.9, 0.05, 0.03, 0.02]], dtype=np.float32)
    copy = np.array([[0.3, 0.4, 0.2, 0.1]], dtype=np.float32)
    # The copy asks for scenes 1 and 0, of which the original has 0; it stores only scene 1.
    assert lost_shares(original, copy, asked=(2, 0.5), stored=1) == pytest.approx([0.5])
