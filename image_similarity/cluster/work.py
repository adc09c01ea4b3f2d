"""What a run tells its workers, and what they tell it: values that travel between machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from image_similarity.cluster.places import Place
from image_similarity.indexing.taskset import TaskSet
from image_similarity.pictures.walk import FileEntry
from image_similarity.settings import IndexOptions
from image_similarity.values import Failure, ServerUrl


@dataclass(frozen=True, slots=True)
class Job:
    """One run, as every worker must know it.

    `began` is a time of day; `version` that of the program that began it; a worker that may not write tries again for
    `patience` seconds.
    """

    database: ServerUrl
    run_id: int
    source_id: int
    place: Place
    options: IndexOptions
    tasks: TaskSet
    careful: bool
    began: float
    version: str
    patience: float


# Path in text form, size, time of the last change: what a worker needs to find a file again.
Listed = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Portion:
    """Files that are read, embedded and written together, once: the database remembers the number."""

    number: int
    files: tuple[Listed, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What the database holds of a run once a portion is in it; `failures` are those of this portion."""

    seen: int
    embedded: int
    failed: int
    failures: tuple[Failure, ...] = ()


def portions(entries: Iterable[FileEntry], size: int, first: int = 0) -> Iterator[Portion]:
    """Cut what must be read into portions, numbered from `first`."""
    files = ((entry.path, entry.size, entry.mtime_ns) for entry in entries)
    number = first
    while some := tuple(islice(files, size)):
        yield Portion(number, some)
        number += 1


Ranges = Sequence[Sequence[int]]


def holds(ranges: Ranges, number: int) -> bool:
    """Whether a number lies in one of some ranges, first and last each."""
    return any(first <= number <= last for first, last in ranges)


def with_number(ranges: Ranges, number: int) -> list[list[int]]:
    """Give ascending ranges with a number that was in none of them: few, as portions are written nearly in order."""
    joined: list[list[int]] = []
    for first, last in sorted([*ranges, [number, number]], key=lambda each: each[0]):
        if joined and first == joined[-1][1] + 1:
            joined[-1][1] = last
        else:
            joined.append([first, last])
    return joined
