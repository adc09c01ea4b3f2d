"""A user's list of pictures with identifiers of another system: CSV with a header, in columns `path` and `id`."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.errors import UnknownImage, UsageError
from image_similarity.search.grouped import names_of, readings
from image_similarity.store import gallery

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_BYTES = 256 * 2**20
COLUMNS = ("path", "id")
# How many lines a message names.
_FIRST = 3


@dataclass(frozen=True, slots=True)
class ListedRow:
    """One row: the number of its line, the picture (a path as hits print it, or a SHA-256), and its identifier."""

    line: int
    picture: str
    id: str


@dataclass(frozen=True, slots=True)
class PictureList:
    """The rows of a file, with its name and the SHA-256 of its bytes."""

    name: str
    sha256: str
    rows: tuple[ListedRow, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """What a list means in a database: identifiers by image id, in the order of the list, and what is not known."""

    ids: dict[int, str]
    missing: tuple[str, ...]


def read_list(path: Path) -> PictureList:
    """Return the rows of a list of pictures; further columns are ignored.

    Raises:
        UsageError: The file is no such list, or gives two pictures one identifier; the line is said.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _refused(path.name, f"it has more than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path.name, "it is not UTF-8 text") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[ListedRow] = []
    try:
        at = _columns(path.name, next(reader, []))
        for cells in reader:
            if cells:
                rows.append(_row(path.name, reader.line_num, cells, at))
    except csv.Error as error:
        raise _refused(path.name, f"line {reader.line_num}: {error}") from error
    if not rows:
        raise _refused(path.name, "it lists no picture")
    _refuse_twice(path.name, [(row.id, row.line) for row in rows], "give one identifier twice")
    return PictureList(path.name, hashlib.sha256(data).hexdigest(), tuple(rows))


def find(
    connection: Connection,
    listed: PictureList,
    places: gallery.PlaceFilter,
    embedded: Collection[int],
) -> Listed:
    """Return which pictures of a database a list names.

    A picture is named as hits print it (path below its source, "source:path" or path on disk), or by its SHA-256.

    Args:
        connection: Open.
        listed: The list.
        places: Which places count.
        embedded: The image ids of the pictures that can be meant.

    Raises:
        UsageError: Two lines name one picture.
        UnknownImage: None of the pictures is known.
    """
    wanted = {name for row in listed.rows for name in readings(row.picture)}
    known: dict[str, set[int]] = {}
    for image_id, *address in gallery.each_address(connection, places):
        for name in wanted.intersection(names_of(*address)):
            known.setdefault(name, set()).add(image_id)
    found: list[tuple[int, ListedRow]] = []
    missing: list[str] = []
    for row in listed.rows:
        meant = next((known[name] for name in readings(row.picture) if name in known), set())
        here = [image_id for image_id in meant if image_id in embedded]
        if len(meant) > 1:
            missing.append(
                f"line {row.line}: {row.picture} names several pictures; write SOURCE:PATH"
            )
        elif not here:
            what = "has no vector of this model" if meant else "is not known"
            missing.append(f"line {row.line}: {row.picture} {what}")
        else:
            found.append((here[0], row))
    if not found:
        raise UnknownImage(
            f"{listed.name}: none of its {len(listed.rows)} pictures can be taken, such as {missing[0]}",
            hint="write paths as hits print them, or SHA-256",
        )
    _refuse_twice(
        listed.name, [(image_id, row.line) for image_id, row in found], "name one picture twice"
    )
    return Listed({image_id: row.id for image_id, row in found}, tuple(missing))


def _columns(name: str, header: list[str]) -> tuple[int, int]:
    """Return where the two columns stand."""
    names = [each.strip().lower() for each in header]
    if any(names.count(column) != 1 for column in COLUMNS):
        raise _refused(name, f"its first line must name the columns {' and '.join(COLUMNS)}")
    return names.index(COLUMNS[0]), names.index(COLUMNS[1])


def _row(name: str, line: int, cells: list[str], at: tuple[int, int]) -> ListedRow:
    if len(cells) <= max(at) or not all(cells[place].strip() for place in at):
        raise _refused(name, f"line {line} lacks a path or an id")
    # A cell of CSV may hold NUL, at which the strings of HDF5 end.
    if "\0" in cells[at[1]]:
        raise _refused(name, f"line {line} has an id with a NUL character")
    return ListedRow(line, cells[at[0]], cells[at[1]].strip())


def _refuse_twice(name: str, values: Sequence[tuple[object, int]], what: str) -> None:
    first: dict[object, int] = {}
    twice = [
        f"{first[value]} and {line}"
        for value, line in values
        if first.setdefault(value, line) != line
    ]
    if twice:
        more = f", and {len(twice) - _FIRST} more" if len(twice) > _FIRST else ""
        raise _refused(name, f"lines {'; '.join(twice[:_FIRST])}{more} {what}")


def _refused(name: str, reason: str) -> UsageError:
    return UsageError(
        f"{name} is no list of pictures: {reason}",
        hint='a header "path,id", then one picture a line; a path as hits print it, or a SHA-256',
    )
