"""The scene filter's figures follow from its definition; edits change pictures and repeat."""

from __future__ import annotations

import numpy as np
import pytest

from image_similarity.training.edits import EDITS, UNCHANGED, edit_pictures
from image_similarity.training.scene_filter import (
    asked_scenes,
    filter_figures,
    stored_scenes,
)
from tests.training.training_samples import sample_pictures

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


def test_a_copy_with_another_first_scene_is_lost_to_the_hard_filter_only() -> None:
    original = np.array([[0.45, 0.40, 0.10, 0.05]], dtype=np.float32)
    copy = np.array([[0.40, 0.45, 0.10, 0.05]], dtype=np.float32)
    assert filter_figures(original, copy, asked=(1, 1.0), stored=1).lost == 1.0
    assert filter_figures(original, copy, asked=(2, 0.5), stored=2).lost == 0.0


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_is_repeatable_and_alters_the_picture(name: str) -> None:
    pictures, _ = sample_pictures()
    first = edit_pictures(pictures[:3], name, size=32, seed=1)
    again = edit_pictures(pictures[:3], name, size=32, seed=1)
    assert first.shape == (3, 32, 32, 3)
    assert np.array_equal(first, again)
    assert np.array_equal(first, pictures[:3]) == (name == UNCHANGED)
