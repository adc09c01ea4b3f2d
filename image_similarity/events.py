"""What a run tells its caller while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from image_similarity.values import Failure, RunReport


@dataclass(frozen=True, slots=True)
class Started:
    """A run began; `total` is the number of entries that the walk found, or of whatever else `unit` says."""

    source: str
    root: str
    total: int
    unit: str = "files"


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` entries are accounted for and stored; `embedded` pictures went through the network."""

    done: int
    total: int
    embedded: int
    failed: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A file could not be taken; the run goes on."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the user should know: a database was upgraded, a batch was halved, a journal was recovered."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A run ended, whatever its status."""

    report: RunReport


Event = Started | Progress | Failed | Notice | Finished
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of a caller that does not listen."""
