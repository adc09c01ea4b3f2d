"""The folder in which a codebook is built: finished pieces as plain arrays, for one plan, gone at the end."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from image_similarity.errors import TrainingRefused, UsageError
from image_similarity.events import Listener, Notice
from image_similarity.whole_file import writing

Arrays = Mapping[str, npt.NDArray[Any]]

_PLAN = "plan.json"
_SUFFIX = ".npz"
# What numpy and zipfile raise on a damaged archive; a pickle in one is refused with a ValueError.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Work:
    """Named pieces of arrays, each written whole or not at all.

    Attributes:
        folder: where they lie.
        resumed: whether an earlier process began with the same plan.
    """

    def __init__(self, folder: Path, *, resumed: bool) -> None:
        self.folder = folder
        self.resumed = resumed

    @classmethod
    def open(cls, folder: Path, plan: Mapping[str, Any], on_event: Listener) -> Self:
        """Go on in a folder of the same plan, or begin anew in one that is empty, missing or of another plan.

        Raises:
            UsageError: the folder holds something else.
            OSError: it cannot be written.
        """
        known = (folder / _PLAN).is_file()
        if not known and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                f"{folder} exists and is no work folder of this program",
                hint="move it away, or name another output file",
            )
        resumed = is_begun(folder, plan)
        if known and not resumed:
            on_event(Notice(f"{folder} was begun with other options or pictures: begun anew"))
            _clear(folder)
        if not resumed:
            folder.mkdir(exist_ok=True)
            with writing(folder / _PLAN) as file:
                file.write(_text_of(plan))
        return cls(folder, resumed=resumed)

    def find(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return a piece, or None if it is not there or damaged; nothing in it is run."""
        try:
            # Opened here, as numpy leaves a damaged file open.
            with (
                self._path(name).open("rb") as file,
                np.load(file, allow_pickle=False) as archive,
            ):
                return {key: archive[key] for key in archive.files}
        except _UNREADABLE:
            return None

    def get(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Return a piece that was written before.

        Raises:
            TrainingRefused: it is no longer there, or damaged.
        """
        found = self.find(name)
        if found is None:
            raise TrainingRefused(
                f"{self._path(name)} can no longer be read", hint="give the same command again"
            )
        return found

    def put(self, name: str, arrays: Arrays) -> None:
        """Write a piece in place of an earlier one of its name.

        Raises:
            OSError: it cannot be written.
        """
        with writing(self._path(name)) as file:
            np.savez(file, allow_pickle=False, **arrays)

    def remove(self) -> None:
        """Delete all pieces, then the folder, unless somebody else put something there."""
        _clear(self.folder)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, name: str) -> Path:
        return self.folder / (name + _SUFFIX)


def is_begun(folder: Path, plan: Mapping[str, Any]) -> bool:
    """Whether a folder holds the pieces of a build of this plan that was not finished."""
    path = folder / _PLAN
    return path.is_file() and path.read_bytes() == _text_of(plan)


def _text_of(plan: Mapping[str, Any]) -> bytes:
    return json.dumps(plan, sort_keys=True).encode("ascii")


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name.endswith((_SUFFIX, ".partial")):
            path.unlink()
    # Last: without it the folder would look like somebody else's.
    (folder / _PLAN).unlink(missing_ok=True)
