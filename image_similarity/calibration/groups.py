"""A user's list of groups: CSV with a header, one picture a row, in columns `path` and `group`."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from image_similarity.errors import CalibrationRefused

MAX_BYTES = 64 * 2**20
COLUMNS = ("path", "group")


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One row: the number of its line, the picture (a path as hits print it, or a SHA-256), and its group."""

    line: int
    picture: str
    group: str


@dataclass(frozen=True, slots=True)
class GroupList:
    """The rows of a file, with its name and the SHA-256 of its bytes."""

    name: str
    sha256: str
    rows: tuple[GroupRow, ...]


def read_groups(path: Path) -> GroupList:
    """Return the rows of a list of groups; further columns are ignored.

    Raises:
        CalibrationRefused: The file is no such list, or names a picture in two groups; the line is said.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _refused(path, f"it has more than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, "it is not UTF-8 text") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: dict[str, GroupRow] = {}
    try:
        places = _places(path, next(reader, []))
        for cells in reader:
            if cells:
                row = _row(path, reader.line_num, cells, places)
                known = rows.setdefault(row.picture, row)
                if known.group != row.group:
                    raise _refused(
                        path, f"lines {known.line} and {row.line} put {row.picture} in two groups"
                    )
    except csv.Error as error:
        raise _refused(path, f"line {reader.line_num}: {error}") from error
    # The name goes into the proposition that each result shows: one that cannot be printed would not be read again.
    name = "".join(each if each.isprintable() else "\ufffd" for each in path.name)
    return GroupList(name, hashlib.sha256(data).hexdigest(), tuple(rows.values()))


def _places(path: Path, header: list[str]) -> tuple[int, int]:
    """Return where the two columns stand."""
    names = [name.strip().lower() for name in header]
    if any(names.count(column) != 1 for column in COLUMNS):
        raise _refused(path, f"its first line must name the columns {' and '.join(COLUMNS)}")
    return names.index(COLUMNS[0]), names.index(COLUMNS[1])


def _row(path: Path, line: int, cells: list[str], places: tuple[int, int]) -> GroupRow:
    if len(cells) <= max(places) or not all(cells[place].strip() for place in places):
        raise _refused(path, f"line {line} lacks a path or a group")
    return GroupRow(line, cells[places[0]], cells[places[1]].strip())


def _refused(path: Path, reason: str) -> CalibrationRefused:
    return CalibrationRefused(
        f"{path} is no list of groups: {reason}",
        hint='a header "path,group", then one picture a line; a path as hits print it, or a SHA-256',
    )
