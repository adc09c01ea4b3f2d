"""A user's own pictures for a training: in folders, in groups by a CSV file, or unlabelled."""

from __future__ import annotations

import csv
import io
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from image_similarity.errors import FolderMissing, InvalidSetting, NothingToIndex
from image_similarity.events import Failed
from image_similarity.pictures.decode import MAX_PIXELS
from image_similarity.pictures.names import from_text
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Left, read_file
from image_similarity.pictures.walk import FileEntry, walk
from image_similarity.training.recipe import Advance, Listener
from image_similarity.values import Failure, Preprocess, Skipped

MAX_CSV_BYTES = 256 * 2**20

# Crops are taken from pictures this much larger than the network's input, so that they lose little.
_VIEW_SCALE = 4 / 3

Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Pictures in memory; row i of every member belongs to the same file.

    Attributes:
        paths: relative to the folder, in text form.
        groups: the name of each picture's group.
        sha256: of each file, lower-case hexadecimal.
        pixels: uint8 (N, size, size, 3), as the model wants them.
        views: uint8 (N, larger, larger, 3), the same a third larger, to be augmented.
        copies: files left out because their group holds the same content already.
        failures, skipped: files that could not be taken, and counts of those left out by rule.
    """

    paths: tuple[str, ...]
    groups: tuple[str, ...]
    sha256: tuple[str, ...]
    pixels: NDArray[np.uint8]
    views: NDArray[np.uint8]
    copies: int
    failures: tuple[Failure, ...]
    skipped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.paths)


def read_pictures(
    folder: Path,
    preprocess: Preprocess,
    *,
    groups: Path | None = None,
    unlabelled: bool = False,
    on_event: Listener,
    stop: Stop,
) -> PictureSet | None:
    """Return the pictures below a folder with their groups, or None if `stop` ended the reading.

    A picture's group is the first folder below `folder`, or what the CSV file `groups` says, or, unlabelled, itself.
    Files that cannot be read are told of and listed; the rest is taken. In one group, or unlabelled in all, a content
    counts once.

    Raises:
        FolderMissing: there is no such folder.
        InvalidSetting: the CSV file is not what it should be.
        NothingToIndex: no picture could be taken.
    """
    if not folder.is_dir():
        raise FolderMissing(f"No such folder: {folder}")
    skipped: Counter[str] = Counter()
    failures: list[Failure] = []
    listed: list[tuple[FileEntry, str]] = []
    found = _grouped(folder) if groups is None else _listed(folder, read_groups(groups))
    for entry, group in found:
        if isinstance(entry, Failure):
            failures.append(entry)
        elif isinstance(entry, Skipped):
            skipped[entry.rule] += 1
        elif group is None and not unlabelled:
            skipped["in no group's folder"] += 1
        else:
            listed.append((entry, entry.path if unlabelled else group or ""))
    larger = round(preprocess.size * _VIEW_SCALE)
    resize = preprocess.resize and round(preprocess.resize * larger / preprocess.size)
    wanted = (preprocess, replace(preprocess, size=larger, resize=resize))
    taken: list[tuple[str, str, str, NDArray[np.uint8], NDArray[np.uint8]]] = []
    seen: set[tuple[str, str]] = set()
    copies = 0
    for done, (group, outcome) in enumerate(_load_all(listed, wanted, stop), 1):
        on_event(Advance("reading", done, len(listed)))
        if isinstance(outcome, Failure):
            failures.append(outcome)
        elif isinstance(outcome, Skipped):
            skipped[outcome.rule] += 1
        elif (key := ("" if unlabelled else group, outcome[1])) in seen:
            copies += 1
        else:
            seen.add(key)
            taken.append((outcome[0], group, *outcome[1:]))
    if stop():
        return None
    for failure in failures:
        on_event(Failed(failure))
    if not taken:
        raise NothingToIndex(
            f"No picture below {folder} could be taken for the training "
            f"({len(failures)} failed, {sum(skipped.values())} left out).",
            hint="Expected is one folder for each place or thing, or --groups, or --unlabelled.",
        )
    paths, names, hashes, pixels, views = zip(*taken, strict=True)
    return PictureSet(
        paths, names, hashes, np.stack(pixels), np.stack(views),
        copies, tuple(failures), dict(skipped),
    )  # fmt: skip


def read_groups(path: Path) -> dict[str, str]:
    """Return the group of each path that a CSV file with the columns path and group names.

    Other columns are ignored. Paths are relative to the folder, `/` between folders.

    Raises:
        InvalidSetting: it cannot be read, is no such file, or puts one path into two groups.
    """
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise InvalidSetting(f"{path} is too large for a list of groups")
        text = path.read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except OSError as error:
        raise InvalidSetting(f"{path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidSetting(f"{path} is no CSV file in UTF-8: {error}") from error
    groups: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        name, group = row.get("path") or "", row.get("group") or ""
        if not name or not group:
            raise InvalidSetting(
                f"{path}, row {number}: a path and a group are expected",
                hint="The first line must name the columns: path,group",
            )
        plain = PurePosixPath(name)
        if plain.is_absolute() or ".." in plain.parts or "\0" in name:
            raise InvalidSetting(f"{path}, row {number}: the path must lie below the folder")
        if groups.setdefault(str(plain), group) != group:
            raise InvalidSetting(f"{path}, row {number}: {name!r} is in two groups")
    if not groups:
        raise InvalidSetting(f"{path} names no picture")
    return groups


_Found = tuple[FileEntry | Skipped | Failure, str | None]
_Loaded = tuple[str, str, NDArray[np.uint8], NDArray[np.uint8]]


def _grouped(folder: Path) -> Iterator[_Found]:
    """Give every entry below a folder with the first folder on its way, None if it lies in the root."""
    for entry in walk(folder):
        first, below, _ = entry.path.partition("/")
        yield entry, (first if below else None)


def _listed(folder: Path, groups: Mapping[str, str]) -> Iterator[_Found]:
    """Give every file that the list names; one that is not there is a failure."""
    for name, group in groups.items():
        # As our own reports write it, or else as it stands.
        try:
            os_path = os.path.join(folder, from_text(name))  # noqa: PTH118 - as `walk` gives them
        except ValueError:
            os_path = os.path.join(folder, name)  # noqa: PTH118
        try:
            found = os.stat(os_path)  # noqa: PTH116
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            yield Failure(name, "stat", type(error).__name__, reason), group
            continue
        if stat.S_ISREG(found.st_mode):
            yield FileEntry(name, os_path, found.st_size, found.st_mtime_ns), group
        else:
            yield Skipped(name, "special file", "special"), group


def _load_all(
    listed: list[tuple[FileEntry, str]], wanted: tuple[Preprocess, Preprocess], stop: Stop
) -> Iterator[tuple[str, _Loaded | Skipped | Failure]]:
    """Give each file's group and what came of it, in order; ends early when asked to stop."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "reader") as pool:
        outcomes: Iterable[_Loaded | Skipped | Failure] = pool.map(
            lambda each: _load(each[0], wanted), listed
        )
        try:
            for (_, group), outcome in zip(listed, outcomes, strict=True):
                if stop():
                    return
                yield group, outcome
        finally:
            # However it ends: else a second Ctrl-C would wait until all the others are read.
            pool.shutdown(wait=False, cancel_futures=True)


def _load(entry: FileEntry, wanted: tuple[Preprocess, Preprocess]) -> _Loaded | Skipped | Failure:
    """Read and decode one file."""
    try:
        contents = read_file(entry.os_path)
        if isinstance(contents, Left):
            return Skipped(entry.path, contents.kind.rule, contents.kind.kind)
        _, pixels = decode_for(contents.data, wanted, max_pixels=MAX_PIXELS)
    except PictureError as error:
        return Failure(entry.path, error.stage, error.error, error.message)
    return entry.path, contents.digests.sha256, pixels[wanted[0]], pixels[wanted[1]]
