"""What is asked of a search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from image_similarity.errors import InvalidSetting
from image_similarity.pictures.region import Region
from image_similarity.settings import MAX_MEGAPIXELS
from image_similarity.store import dates
from image_similarity.values import Calibration

MODES = ("auto", "hard", "off")
# How many of the nearest pictures a geometric check compares.
CANDIDATES = 200


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is asked: a picture on disk (`query`) or a stored content (`sha256`), and how to answer.

    `scene` holds scene names, or one of "auto" (the query's likely scenes; names may be added), "hard" (the one most
    probable scene on either side) and "off". With a `calibration` of the model hits carry likelihood ratios. An
    `approximate` search may miss some of the nearest and says how often it did on a sample; others are exact, but for
    the index of a server: with that many pictures are searched unless `exact` is asked for. An `index`, the file that
    `analyse ann` wrote for the one database, is for approximate searches. A `region` of the query picture is always
    encoded anew; the places of that picture are still left out, or marked as identical.

    `with_basis` asks for what a manifest keeps of an answer, `with_scene_counts` for what scenes there are. With
    `strength` hits say how many unrelated pictures are expected to come as close; those where it is more than
    `max_expected_false` are left out. Pictures of hash lists are marked, or with `known` hidden, or they alone are
    searched; what was judged irrelevant for the query is left out unless `include_irrelevant`; with `tags` only
    pictures that have one of them are searched; with `taken_from` and `taken_to`, a year, month or day each, only those
    whose EXIF says that they were taken then.

    `near` also finds the near duplicates of the query by PDQ, with `turned` in all eight orientations. `verify` counts
    the inliers of the hits; `by_inliers` orders the nearest `candidates` by them.
    """

    query: Path | None = None
    sha256: str | None = None
    model: str | None = None
    k: int = 5
    max_distance: float | None = None
    scene: tuple[str, ...] = ("auto",)
    sources: tuple[str, ...] = ()
    under: str | None = None
    include_gone: bool = False
    include_partial: bool = True
    device: str = "auto"
    runtime: str = "auto"
    max_megapixels: float = MAX_MEGAPIXELS
    calibration: Calibration | None = None
    approximate: bool = False
    exact: bool = False
    index: Path | None = None
    region: Region | None = None
    strength: bool = False
    max_expected_false: float | None = None
    near: bool = False
    turned: bool = False
    verify: bool = False
    by_inliers: bool = False
    candidates: int = CANDIDATES
    with_basis: bool = False
    with_scene_counts: bool = False
    known: Literal["mark", "hide", "only"] = "mark"
    include_irrelevant: bool = False
    tags: tuple[str, ...] = ()
    taken_from: str | None = None
    taken_to: str | None = None

    def check(self) -> None:
        """Refuse what has no answer.

        Raises:
            InvalidSetting.
        """
        if self.k < 1:
            raise InvalidSetting(f"k is {self.k}: that asks for no hits", hint="-k takes 1 or more")
        if self.max_distance is not None and not 0 <= self.max_distance < math.inf:
            raise InvalidSetting(
                f"a maximum distance of {self.max_distance}",
                hint="a distance is 0 or more; between vectors of length 1 it is at most 2",
            )
        if self.index is not None and not self.approximate:
            raise InvalidSetting(
                "an index was given for an exact search", hint="ask for an approximate one"
            )
        if self.exact and self.approximate:
            raise InvalidSetting(
                "a search cannot be both exact and approximate", hint="ask for one of the two"
            )
        if self.region is not None and self.sha256 is not None:
            raise InvalidSetting(
                "part of a stored picture cannot be searched with by its SHA-256",
                hint="give the picture itself as the query",
            )
        most = self.max_expected_false
        if most is not None and not 0 < most < math.inf:
            raise InvalidSetting(
                f"at most {most} false hits expected", hint="give a number above 0, such as 1"
            )
        if most is not None and not self.strength:
            raise InvalidSetting(
                "a limit was given for a strength that is not asked for", hint="ask for it"
            )
        mask = None if self.region is None else self.region.mask
        if mask is not None and not mask.is_file():
            raise InvalidSetting(f"there is no mask {mask}", hint="check --mask")
        self._check_beside()
        dates.checked(self.taken_from, "the first date")
        dates.checked(self.taken_to, "the last date")
        if self.known not in ("mark", "hide", "only"):
            raise InvalidSetting(
                f"known pictures cannot be treated as {self.known!r}", hint="mark, hide or only"
            )
        if len(self.scene) > 1 and {"hard", "off"} & set(self.scene):
            raise InvalidSetting(
                "--scene hard and --scene off stand alone", hint="auto takes further names"
            )

    def _check_beside(self) -> None:
        if self.turned and not self.near:
            raise InvalidSetting(
                "orientations were named, but no near duplicates asked for", hint="add --near"
            )
        if self.near and self.region is not None:
            raise InvalidSetting(
                "near duplicates are found of whole pictures, not of a part",
                hint="ask for them with the whole picture",
            )
        if self.by_inliers and not self.verify:
            raise InvalidSetting("an order by inliers needs a geometric check", hint="add --verify")
        if self.by_inliers and self.with_basis:
            raise InvalidSetting(
                "a manifest holds the order by distance", hint="leave out --by-inliers"
            )
        if self.candidates < 1:
            raise InvalidSetting(
                f"a geometric check of {self.candidates} pictures", hint="give 1 or more"
            )
