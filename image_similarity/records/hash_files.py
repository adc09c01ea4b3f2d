"""Files of known hashes, read row by row in bounded memory: plain, CSV, NSRL-like and VICS-style.

A row gives its strongest hash only: where it has a SHA-1, a picture that shares no more than its MD5 is not meant.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from image_similarity.errors import HashListRefused
from image_similarity.records.json_objects import JsonDamaged, objects_in

Form = Literal["plain", "csv", "nsrl", "vics"]
FORMS: tuple[Form, ...] = ("plain", "csv", "nsrl", "vics")
# Digits of MD5, SHA-1 and SHA-256; the strongest first.
LENGTHS = (64, 40, 32)
EMPTY_FILE = frozenset(
    hashlib.new(name, usedforsecurity=False).digest() for name in ("sha256", "sha1", "md5")
)
MAX_CATEGORY = 100
# Longer lines are no rows of such lists: a file without line ends must not fill the memory.
MAX_LINE = 2**16
# What is looked at to tell one form from another.
_HEAD = 2**16

_HEX = re.compile(r"[0-9A-Fa-f]+")
# `md5sum`: a backslash before a name with escapes, the hash, two spaces or a space and an asterisk, the name.
_PLAIN = re.compile(r"\\?([0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32})(?:[ \t].*)?")
# `md5sum --tag`, and what BSD systems write.
_TAGGED = re.compile(r"\\?(?:MD5|SHA-?1|SHA2?-?256) \(.*\) = ([0-9A-Fa-f]+)")
# Lines that explain a list. In a CSV they stand at its top only: a row may begin with the name of a file.
_COMMENT = ("#", "%%%%")
# What hashdeep writes before the names of its columns.
_HASHDEEP = "%%%% size,"
_HASHES = ("sha256", "sha1", "md5")
_CATEGORIES = ("category", "cat")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list: where it stands, its hash, its category, or why it has none.

    `digest` is of 32, 20 or 16 bytes and None where `problem` says why: "empty" for the empty file, else words for the
    user.
    """

    where: str
    digest: bytes | None
    category: str = ""
    problem: str = ""


@dataclass(slots=True)
class Opened:
    """A file that is read once: `form` is what it was taken for, `sha256` what its bytes had so far."""

    path: Path
    form: Form
    text: IO[str]
    _raw: _Hashing

    @property
    def bytes_read(self) -> int:
        """How many bytes were read so far."""
        return self._raw.count

    def sha256(self) -> str:
        """The SHA-256 of the whole file, the rest of which is read now."""
        while self._raw.read(2**20):
            pass
        return self._raw.digest.hexdigest()

    def rows(self) -> Iterator[Row]:
        """The rows of the file; blank lines and comments are none.

        Raises:
            HashListRefused: The file is no such list, or is damaged in a way that loses track of its rows.
        """
        read = {"plain": _plain, "csv": _csv, "nsrl": _csv, "vics": _vics}[self.form]
        try:
            yield from read(self.text)
        except JsonDamaged as error:
            raise HashListRefused(
                f"{self.path} is no VICS-style JSON: {error}", hint="nothing of it was imported"
            ) from error


class _Hashing(io.RawIOBase):
    """A file that hashes what is read of it, so that the list and its SHA-256 are of the same bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = self._file.read(len(buffer))
        buffer[: len(got)] = got
        self.digest.update(got)
        self.count += len(got)
        return len(got)


def opened(path: Path, file: IO[bytes], form: Form | None = None) -> Opened:
    """Begin to read a file, in its form or in the one that its beginning shows.

    UTF-8 and, with a byte order mark, UTF-16; what is neither stands as replacement characters, which no hash has.

    Raises:
        HashListRefused: It is asked for as NSRL and its header does not name the columns.
    """
    raw = _Hashing(file)
    buffered = io.BufferedReader(raw, _HEAD)
    head = buffered.peek(_HEAD)[:_HEAD]
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    encoding = "utf-16" if wide else "utf-8-sig"
    beginning = head.decode(encoding, errors="replace")
    if form == "nsrl" and not _is_nsrl(beginning):
        raise HashListRefused(
            f"{path} is no NSRL list: its first line does not name SHA-1 and MD5",
            hint="try --form csv or --form plain",
        )
    text = io.TextIOWrapper(buffered, encoding=encoding, errors="replace", newline="")
    return Opened(path, form or _form_of(beginning), text, raw)


def _form_of(beginning: str) -> Form:
    if beginning.lstrip()[:1] in ("{", "["):
        return "vics"
    if _is_nsrl(beginning):
        return "nsrl"
    if _HASHDEEP in beginning:
        return "csv"
    first = next((each for each in beginning.splitlines() if not _is_comment(each)), "").strip()
    if _PLAIN.fullmatch(first) or _TAGGED.fullmatch(first):
        return "plain"
    return "csv" if _delimiter(first) or _columns([first.strip()]) else "plain"


def _is_nsrl(beginning: str) -> bool:
    names = beginning.partition("\n")[0].replace('"', "").strip().lower().split(",")
    return {"sha-1", "md5"} <= set(names) and bool({"crc32", "filename"} & set(names))


def _is_comment(line: str) -> bool:
    return not line.strip() or line.startswith(_COMMENT)


def strongest(hashes: Iterable[str]) -> bytes | None:
    """The strongest of some texts that is a hash, as bytes; None if none is."""
    return max(_digests(hashes), key=len, default=None)


def _digests(hashes: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in hashes if len(each) in LENGTHS and _HEX.fullmatch(each)]


def _row(where: str, hashes: Sequence[str], category: str = "") -> Row:
    digests = _digests(hashes)
    if not EMPTY_FILE.isdisjoint(digests):
        return Row(where, None, problem="empty")
    if not digests:
        return Row(where, None, problem="it has no MD5, SHA-1 or SHA-256")
    if len(category) > MAX_CATEGORY:
        return Row(where, None, problem=f"its category has more than {MAX_CATEGORY} characters")
    return Row(where, max(digests, key=len), category)


# -- one row a line ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lines:
    """The lines of a file; of one that is too long only its number is kept."""

    text: IO[str]
    number: int = 0

    def __iter__(self) -> Iterator[str]:
        while line := self.text.readline(MAX_LINE):
            self.number += 1
            if len(line) == MAX_LINE and not line.endswith(("\n", "\r")):
                while (rest := self.text.readline(MAX_LINE)) and not rest.endswith(("\n", "\r")):
                    pass
                # Neither a comment nor a row.
                line = "a line that is too long"
            yield line


def _plain(text: IO[str]) -> Iterator[Row]:
    lines = _Lines(text)
    for line in lines:
        if _is_comment(line):
            continue
        stripped = line.strip()
        found = _PLAIN.fullmatch(stripped) or _TAGGED.fullmatch(stripped)
        yield _row(f"line {lines.number}", [found[1]] if found else [])


def _csv(text: IO[str]) -> Iterator[Row]:
    """Rows of one line each: a quote that is never closed must not swallow the rows behind it."""
    lines = _Lines(text)
    columns: _Columns | None = None
    delimiter, first = "", True
    for line in lines:
        if first and line.startswith(_HASHDEEP):
            columns, delimiter = _columns(_cells(line.removeprefix("%%%%"), ",")), ","
        if not line.strip() or (first and line.startswith(_COMMENT)):
            continue
        delimiter = delimiter or _delimiter(line) or ","
        cells = _cells(line, delimiter)
        named = _columns(cells) if first else None
        # Without names the first row that has hashes says where they stand; before it a first line is taken for names.
        columns = columns or named or _columns_of(cells)
        is_header = first and (named is not None or columns is None)
        first = False
        if not is_header:
            yield _csv_row(f"line {lines.number}", cells, columns)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where hashes and the category stand in a row."""

    hashes: tuple[int, ...]
    category: int | None = None


def _columns(names: Sequence[str]) -> _Columns | None:
    """Where a first line says that they stand."""
    plain = [re.sub("[^a-z0-9]", "", name.lower()).removesuffix("hash") for name in names]
    hashes = tuple(at for at, name in enumerate(plain) if name in _HASHES)
    category = next((at for at, name in enumerate(plain) if name in _CATEGORIES), None)
    return _Columns(hashes, category) if hashes else None


def _columns_of(cells: Sequence[str]) -> _Columns | None:
    """Where hashes stand in a row, if it has any."""
    hashes = tuple(at for at, cell in enumerate(cells) if strongest([cell]))
    return _Columns(hashes) if hashes else None


def _csv_row(where: str, cells: Sequence[str], columns: _Columns | None) -> Row:
    if columns is None:
        return _row(where, [])
    at = columns.category
    category = cells[at] if at is not None and at < len(cells) else ""
    return _row(where, [cells[each] for each in columns.hashes if each < len(cells)], category)


def _delimiter(line: str) -> str:
    counts = {each: line.count(each) for each in ",;\t|"}
    best = max(counts, key=lambda each: counts[each])
    return best if counts[best] else ""


# -- VICS-style JSON --------------------------------------------------------------------------------------------------


def _vics(text: IO[str]) -> Iterator[Row]:
    """The Media records: directly under `value` in a set of hashes, under the Media of its cases in an export.

    What the file says of itself, versions and counts, is not relied on.
    """
    for number, media in enumerate(objects_in(text, within=("value", "media")), start=1):
        named = {key.lower(): value for key, value in media.items()}
        hashes = [_text(named[name]) for name in _HASHES if name in named]
        # A case is no record, but is given, too, behind those that it holds; without them it may be empty.
        if hashes or (named and not any(name.startswith("case") for name in named)):
            yield _row(f"record {number}", hashes, _text(named.get("category")))


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip()
