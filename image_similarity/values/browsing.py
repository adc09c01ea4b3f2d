"""Which pictures of a case are looked through, page by page, and how many there are of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from image_similarity.values.pictures import SceneScore

Order = Literal["path", "taken", "added"]
# What facets of dates call pictures that do not tell when they were taken.
UNDATED = "undated"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which contents are looked through: those that meet every choice made; of several values of one any suffices.

    `scenes` are most probable scenes; `lists` hash lists, `categories` those of examiners. `taken` are years or months,
    "2024" or "2024-03", or "undated"; `taken_from` and `taken_to`, each included, may be days, too. `known` hides
    contents that any hash list holds, or leaves them alone. Without a choice it is everything that still lies
    somewhere, or with `include_gone` also what no longer does.
    """

    scenes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    under: str | None = None
    tags: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    taken_from: str | None = None
    taken_to: str | None = None
    known: Literal["any", "hide", "only"] = "any"
    include_gone: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """A name with the number of contents that have it."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    """Of the contents that meet a choice, how many have which scene, source and so on.

    What is chosen of a facet does not narrow its own counts: they say what one more click would give. The most frequent
    first; `taken` by time, months where these are few, else years, with "undated" last.
    """

    total: int
    scenes: tuple[Counted, ...]
    sources: tuple[Counted, ...]
    tags: tuple[Counted, ...]
    lists: tuple[Counted, ...]
    categories: tuple[Counted, ...]
    taken: tuple[Counted, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A content as lists show it, at the first of its places that count: live ones first, by source and path.

    `places` are those where it lies, or lay if it lies nowhere any more; `gone`: it left the one that is shown.
    `scene` is the most probable one, `taken` when its camera says that it was taken, `known` the hash lists that hold
    it, `verdicts` what was said of it as a hit.
    """

    sha256: str
    width: int
    height: int
    partial: bool
    source: str
    path: str
    places: int
    gone: bool
    scene: SceneScore | None
    taken: str
    tags: tuple[str, ...]
    category: str
    known: tuple[str, ...]
    verdicts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of contents in order; `following` is the cursor of the next page, None on the last."""

    items: tuple[Listed, ...]
    following: str | None
    total: int
