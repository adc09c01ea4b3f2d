"""The likely scenes are the fewest that reach the mass."""

from __future__ import annotations

from image_similarity.ranking.scenes import likely_scenes
from image_similarity.values import SceneScore

SCORES = (SceneScore("bedroom", 0.5), SceneScore("attic", 0.3), SceneScore("street", 0.1))


def test_scenes_are_taken_until_the_mass_is_reached() -> None:
    assert likely_scenes(SCORES, 0.4) == ("bedroom",)
    assert likely_scenes(SCORES, 0.5) == ("bedroom",)
    assert likely_scenes(SCORES, 0.51) == ("bedroom", "attic")


def test_all_stored_scenes_are_taken_if_they_do_not_reach_it() -> None:
    assert likely_scenes(SCORES, 0.99) == ("bedroom", "attic", "street")


def test_no_labels_give_no_scenes() -> None:
    assert likely_scenes((), 0.9) == ()
