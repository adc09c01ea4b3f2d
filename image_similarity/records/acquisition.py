r"""Lists of hashes that were made when evidence was acquired: of hashdeep, of md5sum and its kin, or bare hashes.

Read strictly: a line that is none of what the form allows refuses the list, because a list that is read in part says
nothing of the files it leaves out. The forms:

 - hashdeep: `%%%% HASHDEEP-1.0`, `%%%% size,md5,sha256,filename`, then one line a file; `##` begins a remark.
 - md5sum, sha1sum, sha256sum, md5deep: `HASH  NAME` or `HASH *NAME`; a line that begins with `\` escapes its name.
 - BSD: `SHA256 (NAME) = HASH`.
 - plain: one hash a line.

UTF-8 with or without a byte order mark, or UTF-16 with one; lines end with LF or CRLF; digits of either case.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from image_similarity.errors import HashListRefused, UsageError
from image_similarity.pictures.names import to_text

DIGITS = {32: "md5", 40: "sha1", 64: "sha256"}
# hashdeep writes these, too; the database holds none of them.
_NOT_OURS = frozenset({"tiger", "whirlpool"})
# Longer than any path, so that a file without lines is not read into memory whole.
LONGEST_LINE = 2**20

_SUM = re.compile(r"(\\?)([0-9a-fA-F]+) [ *](.+)", re.DOTALL)
_BSD = re.compile(r"(\\?)(MD5|SHA1|SHA256) ?\((.+)\) = ([0-9a-fA-F]+)", re.DOTALL)
_HEX = re.compile(r"[0-9a-fA-F]+")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_MEANT = {"\\": "\\", "n": "\n", "r": "\r"}


@dataclass(frozen=True, slots=True)
class Acquired:
    """One entry: the path as the list says it, in text form; hashes in lower case. "" is what it does not say."""

    path: str
    sha256: str = ""
    sha1: str = ""
    md5: str = ""

    def agrees(self, sha256: str, sha1: str | None, md5: str | None) -> bool:
        """Whether each hash that is given here and known there is the same."""
        pairs = ((self.sha256, sha256), (self.sha1, sha1), (self.md5, md5))
        return all(not ours or theirs is None or ours == theirs for ours, theirs in pairs)


@dataclass(frozen=True, slots=True)
class AcquisitionList:
    """A list, read: `form` is "hashdeep", "sum", "bsd" or "plain", `hashes` the kinds of hash that it gives."""

    path: str
    sha256: str
    form: str
    hashes: tuple[str, ...]
    entries: tuple[Acquired, ...]


class _Strange(Exception):
    """A line is none of what the form allows; the message says why."""


def read_list(path: Path) -> AcquisitionList:
    """Read a list whole.

    Raises:
        HashListRefused: A line is none of what its form allows, or the list is empty.
        UsageError: There is no such file.
    """
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            form, entries = _read(stream)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="check --against") from error
    except (_Strange, UnicodeError) as error:
        raise HashListRefused(
            f"{path} is no list of acquisition hashes: {error}",
            hint="it may be of hashdeep, md5sum, sha1sum or sha256sum, or hold one hash a line",
        ) from error
    if not entries:
        raise HashListRefused(f"{path} lists no hash", hint="check --against")
    kinds = tuple(kind for kind in DIGITS.values() if any(getattr(e, kind) for e in entries))
    return AcquisitionList(str(path), sha256, form, kinds, tuple(_with_slashes(entries)))


def _read(stream: IO[bytes]) -> tuple[str, list[Acquired]]:
    form, entries = "", list[Acquired]()
    parse: Callable[[str], Acquired] = _sum
    for number, line in enumerate(_lines(stream), start=1):
        try:
            if line.startswith("%%%%"):
                form, parse = "hashdeep", _hashdeep_header(line, parse)
            elif line.strip() and not line.startswith(("#", ";")):
                if not form:
                    form, parse = _form_of(line)
                entries.append(parse(line))
        except _Strange as error:
            raise _Strange(f"line {number}: {error}") from None
    return form, entries


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """The lines as text, without their ends; bytes that are not UTF-8 as Python keeps them in file names."""
    start = stream.read(3)
    stream.seek(0)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # Windows PowerShell writes its output so.
        yield from (line.removesuffix("\r") for line in stream.read().decode("utf-16").split("\n"))
        return
    if start.startswith(codecs.BOM_UTF8):
        stream.seek(3)
    while line := stream.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE or b"\0" in line:
            raise _Strange("it is no text")
        text = line.decode("utf-8", "surrogateescape")
        yield text.removesuffix("\n").removesuffix("\r")


def _form_of(line: str) -> tuple[str, Callable[[str], Acquired]]:
    if _BSD.fullmatch(line):
        return "bsd", _bsd
    if _HEX.fullmatch(line.strip()):
        return "plain", _plain
    return "sum", _sum


def _plain(line: str) -> Acquired:
    return _acquired("", line.strip())


def _sum(line: str) -> Acquired:
    match = _SUM.fullmatch(line)
    if match is None:
        raise _Strange(f"{_shown(line)} is no hash with a name")
    escaped, digits, name = match.groups()
    return _acquired(_unescaped(name) if escaped else name, digits)


def _bsd(line: str) -> Acquired:
    match = _BSD.fullmatch(line)
    if match is None:
        raise _Strange(f"{_shown(line)} is not like the lines before it")
    escaped, kind, name, digits = match.groups()
    if DIGITS.get(len(digits)) != kind.lower():
        raise _Strange(f"{_shown(digits)} is no {kind}")
    return _acquired(_unescaped(name) if escaped else name, digits)


def _hashdeep_header(line: str, before: Callable[[str], Acquired]) -> Callable[[str], Acquired]:
    said = line.removeprefix("%%%%").strip()
    if re.fullmatch(r"HASHDEEP-1\.\d+", said):
        return before
    columns = said.lower().split(",")
    ours = [column for column in columns[1:-1] if column in DIGITS.values()]
    known = {*DIGITS.values(), *_NOT_OURS}
    if columns[0] != "size" or columns[-1] != "filename" or set(columns[1:-1]) - known:
        raise _Strange(f"{_shown(line)} names other columns than hashdeep writes")
    if not ours:
        raise _Strange("it gives no MD5, SHA-1 or SHA-256")

    def parse(row: str) -> Acquired:
        fields = row.split(",", len(columns) - 1)
        if len(fields) != len(columns) or not fields[0].isdecimal() or not fields[-1]:
            raise _Strange(f"{_shown(row)} does not have {len(columns)} fields")
        found = dict(zip(columns, fields, strict=True))
        hashes = {kind: _hash(found[kind], kind) for kind in ours}
        return Acquired(found["filename"], **hashes)

    return parse


def _acquired(name: str, digits: str) -> Acquired:
    kind = DIGITS.get(len(digits))
    if kind is None:
        raise _Strange(
            f"a hash of {len(digits)} digits; MD5 has 32, SHA-1 40, SHA-256 64, and others are not recorded"
        )
    return Acquired(name, **{kind: _hash(digits, kind)})


def _hash(digits: str, kind: str) -> str:
    if not _HEX.fullmatch(digits) or DIGITS.get(len(digits)) != kind:
        raise _Strange(f"{_shown(digits)} is no {kind.upper()}")
    return digits.lower()


def _unescaped(name: str) -> str:
    def meant(match: re.Match[str]) -> str:
        if match[1] not in _MEANT:
            raise _Strange(f"{_shown(name)} holds an escape that is none")
        return _MEANT[match[1]]

    return _ESCAPE.sub(meant, name)


def _with_slashes(entries: list[Acquired]) -> Iterator[Acquired]:
    """The entries with paths in text form; those of a list that was made on Windows with slashes."""
    of_windows = any(_WINDOWS.match(entry.path) for entry in entries) or (
        any("\\" in entry.path for entry in entries)
        and not any("/" in entry.path for entry in entries)
    )
    for entry in entries:
        name = entry.path.replace("\\", "/") if of_windows else entry.path
        parts = [part for part in name.split("/") if part not in ("", ".")]
        text = to_text(("/" if name.startswith("/") else "") + "/".join(parts))
        yield Acquired(text, entry.sha256, entry.sha1, entry.md5)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")
