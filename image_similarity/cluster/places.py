"""What a run on many machines walks and reads: a folder that they all see, or an object store."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from image_similarity.cluster import stores
from image_similarity.errors import FolderMissing, InvalidSetting
from image_similarity.indexing import loader, sources
from image_similarity.pictures.names import from_text, to_text
from image_similarity.pictures.read import Contents, Left
from image_similarity.pictures.walk import Entry, FileEntry, walk
from image_similarity.values import Location, is_uri


class Place(Protocol):
    """Where a source's files are; sent to every worker.

    Attributes:
        root: What is recorded of it: the path of the folder, in text form, or the URI.
        only: The path below it of the one picture that is asked for, if one is.
    """

    @property
    def root(self) -> str:
        """See the class."""

    @property
    def only(self) -> str | None:
        """See the class."""

    @property
    def folder(self) -> Path | None:
        """The folder on this machine, if it is one."""

    def walk(self, exclude: Sequence[str]) -> Iterator[Entry]:
        """Give every entry once, in the order and by the rules of `pictures.walk`."""

    def entry(self, path: str, size: int, mtime_ns: int) -> FileEntry:
        """Give a file that was walked on another machine."""

    def read(self, entry: FileEntry) -> tuple[Contents | Left, int | None, int | None]:
        """Read a file; see `loader.Reading`."""

    def require(self) -> None:
        """Refuse to go on where this machine does not see the place.

        Raises:
            FolderMissing.
        """


class Folder:
    """A folder, or one picture in it, that lies at the same path on every machine."""

    def __init__(self, place: sources.Place) -> None:
        self._root = os.fspath(place.root)
        self._target = place.target
        self.root = to_text(self._root)
        self.only = None if place.only is None else to_text(place.only.name)

    @property
    def folder(self) -> Path | None:
        """The folder itself."""
        return Path(self._root)

    def walk(self, exclude: Sequence[str]) -> Iterator[Entry]:
        """Walk it as a local run does."""
        return walk(self._target, exclude=exclude)

    def entry(self, path: str, size: int, mtime_ns: int) -> FileEntry:
        """Give the file where this machine has it."""
        return FileEntry(path, os.path.join(self._root, from_text(path)), size, mtime_ns)  # noqa: PTH118

    def read(self, entry: FileEntry) -> tuple[Contents | Left, int | None, int | None]:
        """Read it as a local run does."""
        return loader.from_disk(entry)

    def require(self) -> None:
        """Refuse a machine where the folder is missing, or empty as a mount point is where nothing is mounted."""
        try:
            with os.scandir(self._root) as listing:
                if next(listing, None) is not None:
                    return
            reason = "is empty"
        except OSError as error:
            reason = f"cannot be listed ({error.strerror})"
        raise FolderMissing(
            f"{self.root} {reason} on {platform.node()}",
            hint="every machine of the cluster must see the evidence at the same path",
        )


class ObjectStore:
    """What lies below a URI; every machine must be able to reach it by itself."""

    def __init__(self, uri: str) -> None:
        found = stores.open_store(uri.rstrip("/"))
        # Without its settings, which say how it is reached and not what it is.
        self.root = to_text(uri.partition("?")[0].rstrip("/"))
        self._store, name = found.single_file()
        self.only = None if name is None else to_text(name)
        if name is not None:
            self.root = self.root.rpartition("/")[0]

    @property
    def folder(self) -> Path | None:
        """None: no folder of this machine."""
        return None

    def walk(self, exclude: Sequence[str]) -> Iterator[Entry]:
        """Walk it by the rules of a folder, as far as they mean anything there."""
        return self._store.walk(exclude)

    def entry(self, path: str, size: int, mtime_ns: int) -> FileEntry:
        """Give the object under its key."""
        return self._store.entry(path, size, mtime_ns)

    def read(self, entry: FileEntry) -> tuple[Contents | Left, int | None, int | None]:
        """Read the object's bytes; such a store has no access and no change times."""
        return self._store.read(entry), None, None

    def require(self) -> None:
        """Refuse a machine that cannot reach the store, or may not look into it."""
        self._store.require()


def locate(given: str | Path, database: Location) -> Folder | ObjectStore:
    """Find what is to be indexed: a folder, one picture, or a URI; `file://` is a folder by another name.

    Raises:
        FolderMissing: There is nothing.
        InvalidSetting: The URI is of no file system that is known here, or carries a password.
        ExtraMissing: Object stores are reached through packages that are not installed.
    """
    text = os.fspath(given)
    if "://" in text and "::" in text:
        # One URI within another, of which each may carry a password.
        raise InvalidSetting(
            "the URI after -ip is a chain of several",
            hint="index the folder or the object store itself, or unpack it first",
        )
    if not is_uri(text):
        return Folder(sources.locate(Path(text), database))
    parts = urlsplit(text)
    if parts.scheme == "file":
        return Folder(sources.locate(Path(unquote(parts.path)), database))
    if "@" in parts.netloc:
        raise InvalidSetting(
            "the URI after -ip carries a user or a password",
            hint="what opens the store belongs into the environment or the files of each machine",
        )
    return ObjectStore(text)
