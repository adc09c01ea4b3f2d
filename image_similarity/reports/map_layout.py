"""The layout of a map as a file: positions that took minutes to compute, to draw pictures and pages from again."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from image_similarity.errors import UsageError
from image_similarity.reports.rows import csv_value
from image_similarity.values import Place

COLUMNS = (
    "x",
    "y",
    "sha256",
    "source",
    "path",
    "scene",
    "mapped",
    "model",
    "fingerprint",
    "perplexity",
    "seed",
)
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a picture lies on a map: `mapped` by t-SNE itself, or by its nearest neighbours that are."""

    x: float
    y: float
    mapped: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of pictures, by SHA-256, and what they were computed of and with.

    `perplexity` is the one that was asked for.
    """

    model: str
    fingerprint: str
    perplexity: float
    seed: int
    positions: Mapping[str, Position]


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A picture on a map: its position, its content, the places that count, its most probable scene or ""."""

    position: Position
    sha256: str
    places: tuple[Place, ...]
    scene: str = ""

    @property
    def place(self) -> Place:
        """The place to show."""
        return self.places[0]


def write(stream: TextIO, layout: Layout, points: Iterable[MapPoint]) -> None:
    """Write a layout as CSV, a row for each picture; source, path and scene are for people and are not read again."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    made = (layout.model, layout.fingerprint, repr(layout.perplexity), layout.seed)
    for point in points:
        at = point.position
        row = (point.sha256, point.place.source, point.place.path, point.scene, at.mapped)
        writer.writerow([repr(at.x), repr(at.y), *map(csv_value, (*row, *made))])


def read(path: Path) -> Layout:
    """Read a layout.

    Raises:
        UsageError: The file is none: which line, and why.
        OSError.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _read(csv.reader(stream))
    except (ValueError, OverflowError, csv.Error) as error:
        raise UsageError(
            f"{path} is no layout of a map: {error}",
            hint="`analyse map --layout FILE.csv` writes one where no file lies yet",
        ) from error


def _read(rows: Iterator[list[str]]) -> Layout:
    if tuple(next(rows, [])) != COLUMNS:
        raise ValueError("its first line does not name the columns of one")
    positions: dict[str, Position] = {}
    made: tuple[str, ...] = ()
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS):
            raise ValueError(f"line {number} has {len(row)} cells, not {len(COLUMNS)}")
        x, y, sha256, _, _, _, mapped, *rest = row
        if made and made != tuple(rest):
            raise ValueError(f"line {number} is of another computation than those before")
        made = tuple(rest)
        if not _SHA256.fullmatch(sha256) or mapped not in ("true", "false"):
            raise ValueError(f"line {number} names no SHA-256, or does not say whether mapped")
        positions[sha256] = Position(_number(x, number), _number(y, number), mapped == "true")
    if not made:
        raise ValueError("it holds no positions")
    model, fingerprint, perplexity, seed = made
    if not _SHA256.fullmatch(fingerprint):
        raise ValueError("it names no fingerprint of a model")
    if _number(perplexity, 2) < 1 or not 0 <= int(seed) < 2**32:
        raise ValueError("it names no perplexity and seed that a map can be made with")
    return Layout(model, fingerprint, _number(perplexity, 2), int(seed), positions)


def _number(text: str, line: int) -> float:
    value = float(text)
    if not math.isfinite(value) or abs(value) > 1e30:
        raise ValueError(f"line {line} has {text!r} where a number should be")
    return value
