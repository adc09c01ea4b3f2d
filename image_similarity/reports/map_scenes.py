"""The scenes of a map: in order of how many pictures show them, and the colours of the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from image_similarity.reports.map_layout import MapPoint

# As many as can be told apart, on white and on black; after Okabe and Ito (2008) and Tol (2021).
COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccaa22", "#55bbdd", "#aa3377",
    "#ee8844", "#33aa88", "#9970cc", "#a0622d", "#88aa33", "#dd66bb",
)  # fmt: skip
OTHER = "#8a9199"
NO_SCENE = "no scene"


@dataclass(frozen=True, slots=True)
class SceneShown:
    """A scene with the number of its pictures and its colour; further scenes share the colour `OTHER`."""

    name: str
    pictures: int
    colour: str


def scenes_of(points: Iterable[MapPoint]) -> list[SceneShown]:
    """Give the scenes of some pictures, the most frequent first, then by name; pictures without one come last."""
    return scenes_named(point.scene for point in points)


def scenes_named(names: Iterable[str]) -> list[SceneShown]:
    """Give the scenes of pictures by the name that each has, "" for none; in the order of `scenes_of`."""
    counts = Counter(names)
    without = counts.pop("", 0)
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    colours = [*COLOURS, *[OTHER] * len(ordered)]
    found = [
        SceneShown(name, count, colour)
        for (name, count), colour in zip(ordered, colours, strict=False)
    ]
    return found + ([SceneShown(NO_SCENE, without, OTHER)] if without else [])


def name_of(point: MapPoint) -> str:
    """Return the name under which a picture's scene stands in the legend."""
    return point.scene or NO_SCENE
