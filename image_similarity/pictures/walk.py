"""Every entry below a folder, in a fixed order: files to read, what a rule leaves out, and what cannot be reached."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from image_similarity.pictures.names import is_plain, to_text
from image_similarity.values import Failure, Skipped

_name = attrgetter("name")

# Entries of a folder that are examined before the first of them is given: milliseconds.
ENTRIES_AT_ONCE = 256

# What SQLite may lay beside a database while it is written.
_SIDE_FILES = ("", "-journal", "-wal", "-shm")


class FileEntry(NamedTuple):
    """A regular file, or a link to one.

    `path` is relative to the root, in text form; `os_path` opens it. Size and time are those of the link's target.
    A tuple, because one is made for every file of every run, and a frozen dataclass takes three times as long.
    """

    path: str
    os_path: str
    size: int
    mtime_ns: int


Entry = FileEntry | Skipped | Failure


@dataclass(frozen=True, slots=True)
class _Rules:
    """What this walk leaves out; `avoid` holds paths relative to the root, as `os.path.normcase` writes them."""

    exclude: tuple[str, ...]
    avoid: frozenset[str]

    def excludes(self, text: str, name: str) -> bool:
        """See the function of that name."""
        return excludes(self.exclude, text, name)


def excludes(patterns: Collection[str], text: str, name: str) -> bool:
    """Whether a pattern matches the path or the name, both in text form."""
    return any(fnmatchcase(text, pattern) or fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(slots=True)
class _Folder:
    """A folder that is being walked: what is left of it, and its path as on disk and as text, with a separator."""

    entries: Iterator[Entry | os.DirEntry[str]]
    relative: str
    text: str


def walk(
    root: Path, *, exclude: Sequence[str] = (), avoid: Collection[Path] = ()
) -> Iterator[Entry]:
    """Give every entry below `root` once, sorted by the bytes of its name, depth first.

    Links to folders are reported and not followed, so loops cannot happen; `root` itself may be one. A folder that
    cannot be listed is a `Failure` of stage "walk" whose path is the folder's ("" for the root): what lies below it is
    unknown, not gone. If `root` is a file, it is the one entry.

    Args:
        root: a folder or a file.
        exclude: glob patterns, matched with their case against the relative path (where `*` also crosses `/`) and
            against the name; an excluded folder is one `Skipped` and is not entered.
        avoid: files that are never given, nor the side files that SQLite lays beside them.
    """
    top = os.fspath(root)
    rules = _Rules(tuple(p.rstrip("/") for p in exclude), _avoided(avoid, os.path.realpath(top)))
    try:
        is_folder = stat.S_ISDIR(os.stat(top).st_mode)  # noqa: PTH116 - one form of path in this module
    except OSError as error:
        yield _failure("", "walk", error)
        return
    if not is_folder:
        yield _single(top)
        return
    # An explicit stack: nesting is as deep as the evidence makes it, which must not meet Python's recursion limit.
    pending = [_Folder(_examine(top, "", "", rules), "", "")]
    while pending:
        folder = pending[-1]
        for entry in folder.entries:
            if not isinstance(entry, os.DirEntry):
                yield entry
                continue
            relative = folder.relative + entry.name + os.sep
            text = folder.text + to_text(entry.name) + "/"
            pending.append(_Folder(_examine(entry.path, relative, text, rules), relative, text))
            break
        else:
            pending.pop()


def _examine(
    path: str, relative: str, above: str, rules: _Rules
) -> Iterator[Entry | os.DirEntry[str]]:
    """Give the entries of a folder in order, some at a time; those that are folders to enter as they were listed."""
    listing, plain, failure = _list(path)
    if failure:
        yield _failure(above.removesuffix("/"), "walk", failure)
    for start in range(0, len(listing), ENTRIES_AT_ONCE):
        examined: list[Entry | os.DirEntry[str]] = []
        with _opened(path) as folder:
            for entry in listing[start : start + ENTRIES_AT_ONCE]:
                text = above + (entry.name if plain else to_text(entry.name))
                if rules.avoid and os.path.normcase(relative + entry.name) in rules.avoid:
                    examined.append(Skipped(text, "our own database", "database"))
                else:
                    examined.append(_classify(entry, text, rules, folder) or entry)
        yield from examined


@contextmanager
def _opened(folder: str) -> Iterator[int | None]:
    """The descriptor of a folder, by which its files are examined without following its path again for each of them.

    None where the system knows no such thing, and where the folder cannot be opened; that tells of each of its files.
    """
    descriptor = None
    if os.stat in os.supports_dir_fd:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _avoided(avoid: Collection[Path], root: str) -> frozenset[str]:
    """Both the name as given and the file that it leads to, each with its side files, if they lie below the root."""
    names = {os.path.abspath(path) for path in avoid} | {os.path.realpath(path) for path in avoid}  # noqa: PTH100
    paths = (os.path.normcase(name + suffix) for name in names for suffix in _SIDE_FILES)
    below = os.path.normcase(os.path.join(root, ""))  # noqa: PTH118
    return frozenset(path.removeprefix(below) for path in paths if path.startswith(below))


def _list(folder: str) -> tuple[list[os.DirEntry[str]], bool, OSError | None]:
    """The entries of a folder in order, as far as they could be listed, whether all are plain, and what ended that."""
    entries: list[os.DirEntry[str]] = []
    failure = None
    try:
        with os.scandir(folder) as listing:
            entries.extend(listing)
    except OSError as error:
        failure = error
    names = "".join(map(_name, entries))
    if names.isascii():
        # The same order, found in a third of the time.
        entries.sort(key=_name)
    else:
        entries.sort(key=lambda entry: os.fsencode(entry.name))
    return entries, is_plain(names), failure


def _classify(
    entry: os.DirEntry[str], text: str, rules: _Rules, folder: int | None
) -> Entry | None:
    """What is known of one entry without opening it; None for a folder to enter. `folder` is where it lies, if open."""
    try:
        is_folder = entry.is_dir(follow_symlinks=False)
        if rules.exclude and rules.excludes(text, to_text(entry.name)):
            return Skipped(text, "excluded", "folder" if is_folder else "file")
        if is_folder and not _is_junction(entry):
            return None
        found = entry.stat() if folder is None else os.stat(entry.name, dir_fd=folder)
    except OSError as error:
        # A link whose target is missing, or that leads to itself.
        if entry.is_symlink() and (isinstance(error, FileNotFoundError) or _leads_to_itself(error)):
            return Skipped(text, "broken link", "link")
        return _failure(text, "stat", error)
    if stat.S_ISREG(found.st_mode):
        # Not FileEntry(...), which would be a twentieth of a re-scan.
        return tuple.__new__(FileEntry, (text, entry.path, found.st_size, found.st_mtime_ns))
    if stat.S_ISDIR(found.st_mode):
        return Skipped(text, "symbolic link to a folder", "link")
    return Skipped(text, "special file", "special")


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Whether a folder is a Windows mount point, which `is_symlink` does not know; always false elsewhere."""
    if os.name != "nt":
        return False
    tag: int = getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0)
    return tag == 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT


def _leads_to_itself(error: OSError) -> bool:
    return error.errno == errno.ELOOP or getattr(error, "winerror", None) == 1921


def _single(path: str) -> Entry:
    """The root that is no folder."""
    name = to_text(os.path.basename(path))  # noqa: PTH119
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError as error:
        return _failure(name, "stat", error)
    if not stat.S_ISREG(found.st_mode):
        return Skipped(name, "special file", "special")
    return FileEntry(name, path, found.st_size, found.st_mtime_ns)


def _failure(path: str, stage: str, error: OSError) -> Failure:
    message = error.strerror or str(error) or type(error).__name__
    return Failure(path, "walk" if stage == "walk" else "stat", type(error).__name__, message)
