"""What one row of an earlier database means: where its picture lies now, its vector, its scene."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from image_similarity.pictures.names import from_text, to_text

# The most text that a number of an embedding takes, with room to spare.
LONGEST_NUMBER = 64
LONGEST_SCENE = 200
# Vectors that were not of unit length to this are counted: they were made so, and ranked otherwise before.
LENGTH_TOLERANCE = 1e-3


class Malformed(Exception):
    """A row that cannot be taken; `error` is a short class name, the message says why."""

    def __init__(self, error: str, message: str) -> None:
        self.error = error
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Vector:
    """A unit vector as it is stored, float16 little-endian; `rescaled` if it was not of unit length before."""

    data: bytes
    rescaled: bool


def read_vector(embedding: object, dim: int) -> Vector:
    """Give the vector of a row.

    Raises:
        Malformed: It is no JSON list of `dim` finite numbers, or all of them are zero.
    """
    if not isinstance(embedding, str) or len(embedding) > LONGEST_NUMBER * (dim + 1):
        raise Malformed("MalformedEmbedding", "the embedding is no JSON list of numbers")
    try:
        numbers = json.loads(embedding)
    except (ValueError, RecursionError):
        numbers = None
    if not isinstance(numbers, list) or any(type(n) not in (int, float) for n in numbers):
        raise Malformed("MalformedEmbedding", "the embedding is no JSON list of numbers")
    if len(numbers) != dim:
        raise Malformed(
            "WrongDimension", f"the embedding has {len(numbers)} numbers, most have {dim}"
        )
    try:
        vector = np.array(numbers, dtype=np.float64)
    except OverflowError:
        vector = np.full(dim, np.inf)
    if not np.isfinite(vector).all():
        raise Malformed("NotFinite", "the embedding holds NaN or infinity")
    largest = float(np.abs(vector).max(initial=0.0))
    if largest == 0.0:
        raise Malformed("ZeroLength", "all numbers of the embedding are zero")
    # In two steps: the squares of very large or small numbers are none.
    length = largest * float(np.linalg.norm(vector / largest))
    unit = (vector / largest) / np.linalg.norm(vector / largest)
    return Vector(unit.astype("<f2").tobytes(), abs(length - 1.0) > LENGTH_TOLERANCE)


def read_scene(scene: object) -> str:
    """Give the label of a row as printable text, "" if it has none."""
    if not isinstance(scene, str):
        return ""
    return to_text(scene.strip())[:LONGEST_SCENE]


class Whereabouts:
    """Where the pictures of the recorded paths lie below a folder.

    A path that names the folder itself is taken as it is. Of the others some leading folders are left out, the same
    for all: those by which most pictures are found. A path that does not begin with these is no picture's, so two paths
    never stand for one.
    """

    def __init__(self, root: Path, recorded: Sequence[str]) -> None:
        self.root = root
        self._of_windows = any("\\" in path for path in recorded) and not any(
            "/" in path for path in recorded
        )
        self.left_out: list[str] = []
        best, self.found = self.left_out, 0
        for tried in _beginnings([self._parts(path)[:-1] for path in recorded]):
            self.left_out = tried
            found = sum(self._is_there(path) for path in recorded)
            if found > self.found:
                best, self.found = tried, found
        self.left_out = best

    def _parts(self, path: str) -> list[str]:
        named = path.replace("\\", "/") if self._of_windows else path
        return [part for part in named.split("/") if part not in ("", ".")]

    def _is_there(self, path: str) -> bool:
        place = self.place(path)
        try:
            return place is not None and os.path.lexists(self.root / from_text(place))
        except (OSError, ValueError):
            return False

    def place(self, path: object) -> str | None:
        """The path below the folder in text form; None if the row names none, or one that leads out of it."""
        if not isinstance(path, str) or "\0" in path:
            return None
        parts = self._parts(path)
        root = [part for part in str(self.root).split("/") if part]
        is_below = path.startswith("/") and parts[: len(root)] == root
        if not is_below and parts[: len(self.left_out)] != self.left_out:
            return None
        below = parts[len(root if is_below else self.left_out) :]
        if not below or ".." in below:
            return None
        return to_text("/".join(below))


def _beginnings(folders: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """The folders in which most paths lie, from none on, each within the one before."""
    beginning: list[str] = []
    while folders:
        yield list(beginning)
        depth = len(beginning)
        named = Counter(parts[depth] for parts in folders if len(parts) > depth)
        if not named:
            return
        beginning.append(named.most_common(1)[0][0])
        folders = [parts for parts in folders if parts[depth : depth + 1] == beginning[depth:]]
