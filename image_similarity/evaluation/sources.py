"""Which files are evaluated and what they show: folders, lists, pairs, and the names of classes."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from image_similarity.errors import InvalidSetting
from image_similarity.pictures.walk import FileEntry, walk
from image_similarity.values import Failure

PAIR_COLUMNS = ("a", "b", "same")
TRIPLET_COLUMNS = ("query", "positive", "negative")


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file to evaluate: its name for people, the path that opens it, and its class if one is known."""

    name: str
    os_path: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """The rows of a pairs file, as names: pairs with whether they show the same, or triplets."""

    pairs: tuple[tuple[str, str, bool], ...] = ()
    triplets: tuple[tuple[str, str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every file named, once, in the order of first mention."""
        named = [name for first, second, _ in self.pairs for name in (first, second)]
        named += [name for row in self.triplets for name in row]
        return tuple(dict.fromkeys(named))


def read_pictures(
    source: Path, *, root: Path | None = None, class_names: Mapping[str, str] | None = None
) -> tuple[list[PictureFile], list[Failure]]:
    """Return the files of a folder or of a list file, and what could not be reached.

    Below a folder, a file's class is its first folder; files that lie flat have none. In a list each line is a path,
    and its last word the class unless the whole line names a file.

    Args:
        source: a folder or a list file.
        root: where relative paths of a list begin; the list's folder unless given.
        class_names: what the classes are called; those that are not in it keep their own name.

    Raises:
        InvalidSetting: the list is no text.
    """
    if source.is_dir():
        return _from_folder(source, class_names or {})
    base, names = root or source.parent, class_names or {}
    found, failures = [], []
    for line in _lines(source):
        path, label = _parted(base, line)
        if not (base / path).is_file():
            message = "the list names a file that is not there"
            failures.append(Failure(path, "stat", "FileNotFoundError", message, source.name))
            continue
        named = None if label is None else names.get(label, label)
        found.append(PictureFile(path, os.fspath(base / path), named))
    return found, failures


def read_class_names(path: Path) -> dict[str, str]:
    """Return plain names of classes by number from lines of a name and a number.

    `/b/bakery/shop 10`, as MiniPlaces has it, becomes `bakery shop`.

    Raises:
        InvalidSetting: a line has no number.
    """
    names = {}
    for line in _lines(path):
        name, _, number = line.rpartition(" ")
        if not name or not number.isdecimal():
            raise InvalidSetting(f"{path}: {line[:80]!r} is no name with a number")
        names[number] = plain_name(name)
    return names


def plain_name(name: str) -> str:
    """Return the name of a class or scene so that spellings can be compared: `/a/art_gallery` as `art gallery`."""
    if len(name) > 3 and name[0] == "/" and name[2] == "/":
        name = name[3:]
    return " ".join(name.replace("/", " ").replace("_", " ").split()).casefold()


def read_pairs(path: Path) -> Pairs:
    """Return the rows of a CSV file with the columns a,b,same or query,positive,negative.

    Raises:
        InvalidSetting: the columns are missing, a row is short, or `same` is not 0 or 1.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = tuple(rows.fieldnames or ())
            if set(PAIR_COLUMNS) <= set(columns):
                return Pairs(
                    pairs=tuple(_pair(path, number, row) for number, row in enumerate(rows, 2))
                )
            if set(TRIPLET_COLUMNS) <= set(columns):
                return Pairs(
                    triplets=tuple(
                        _triplet(path, number, row) for number, row in enumerate(rows, 2)
                    )
                )
    except OSError as error:
        raise InvalidSetting(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidSetting(f"{path} is no CSV file in UTF-8: {error}") from error
    raise InvalidSetting(
        f"{path} has no header that names its columns",
        hint=f"the first line must be {','.join(PAIR_COLUMNS)} or {','.join(TRIPLET_COLUMNS)}",
    )


def pair_files(
    pairs: Pairs, source: Path, *, root: Path | None = None
) -> tuple[list[PictureFile], list[Failure]]:
    """Return the files that a pairs file names, and a failure for each that is not there."""
    base = root or source.parent
    found, failures = [], []
    for name in pairs.names:
        if _is_file(base / name):
            found.append(PictureFile(name, os.fspath(base / name)))
        else:
            message = "the pairs file names a file that is not there"
            failures.append(Failure(name, "stat", "FileNotFoundError", message, source.name))
    return found, failures


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than a path may be
        return False


def _from_folder(
    folder: Path, class_names: Mapping[str, str]
) -> tuple[list[PictureFile], list[Failure]]:
    found, failures = [], []
    for entry in walk(folder):
        if isinstance(entry, Failure):
            failures.append(entry)
        elif isinstance(entry, FileEntry):
            first, slash, _ = entry.path.partition("/")
            label = class_names.get(first, first) if slash else None
            found.append(PictureFile(entry.path, entry.os_path, label))
    return found, failures


def _lines(path: Path) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidSetting(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidSetting(f"{path} is no list: it is not text in UTF-8") from error
    if "\0" in text:
        raise InvalidSetting(f"{path} is no list: it is not text")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _parted(base: Path, line: str) -> tuple[str, str | None]:
    """A path and its class, which a line need not have."""
    path, space, label = line.rpartition(" ")
    try:
        if not space or (base / line).is_file():
            return line, None
    except OSError:  # a line longer than a path may be
        return line[:200], None
    return path.strip(), label


def _pair(path: Path, number: int, row: Mapping[str, str | None]) -> tuple[str, str, bool]:
    first, second, same = (_cell(path, number, row, name) for name in PAIR_COLUMNS)
    if same not in ("0", "1"):
        raise InvalidSetting(f"{path}, line {number}: same is {same!r}, expected 0 or 1")
    return first, second, same == "1"


def _triplet(path: Path, number: int, row: Mapping[str, str | None]) -> tuple[str, str, str]:
    query, positive, negative = (_cell(path, number, row, name) for name in TRIPLET_COLUMNS)
    return query, positive, negative


def _cell(path: Path, number: int, row: Mapping[str, str | None], name: str) -> str:
    value = (row.get(name) or "").strip()
    if not value or "\0" in value:
        raise InvalidSetting(f"{path}, line {number}: nothing under {name}")
    return value
