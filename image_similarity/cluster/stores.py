"""Object stores and other file systems that a URI names, walked and read through pyarrow and fsspec.

The rules are those of `pictures.walk` and `pictures.read`, as far as they mean anything there: there are no links, and
of times only that of the last change.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from image_similarity.errors import ExtraMissing, FolderMissing, InvalidSetting
from image_similarity.indexing.loader import EARLIEST_NS
from image_similarity.pictures.kinds import HEAD_BYTES, sniff
from image_similarity.pictures.names import from_text, to_text
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.read import SIZE_LIMIT, Contents, Left, digests_of, is_settled
from image_similarity.pictures.walk import Entry, FileEntry, excludes
from image_similarity.values import Failure, Skipped

# The time of a file whose store knows none: it is never taken for unchanged.
UNKNOWN_NS = EARLIEST_NS - 1


class Store:
    """A file system and a folder in it, of which `only` one file may be meant; it travels as the URI that opened it."""

    def __init__(self, filesystem: Any, base: str, uri: str = "", only: str | None = None) -> None:
        self._filesystem, self._base = filesystem, base.rstrip("/")
        self._uri, self._only = uri, only

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_again, (self._uri, self._only)

    def single_file(self) -> tuple[Store, str | None]:
        """Give the folder of what may be a single file, and the file's name if it is one.

        Raises:
            FolderMissing: There is nothing.
        """
        found = self.require()
        if found.type != _kinds().File:
            return self, None
        base, _, name = self._base.rpartition("/")
        return Store(self._filesystem, base, self._uri, name), name

    def require(self) -> Any:
        """Give what is known of the folder, which this machine must be able to reach.

        Raises:
            FolderMissing.
        """
        try:
            found = self._filesystem.get_file_info(self._base)
        except Exception as error:  # whatever a file system of fsspec's has for errors
            raise FolderMissing(
                f"{platform.node()} cannot reach {self._uri}: {_said(error)}",
                hint="check -ip and the rights to it, on every machine",
            ) from error
        if found.type == _kinds().NotFound:
            raise FolderMissing(
                f"there is nothing at {self._uri}", hint="check -ip, on every machine"
            )
        return found

    def walk(self, exclude: Sequence[str]) -> Iterator[Entry]:
        """Give every entry once, sorted by the bytes of its name, depth first."""
        patterns = tuple(pattern.rstrip("/") for pattern in exclude)
        if self._only is not None:
            info = self._filesystem.get_file_info(f"{self._base}/{self._only}")
            yield self._classify(info, to_text(self._only))
            return
        pending = [self._listed("")]
        while pending:
            for entry in pending[-1]:
                if isinstance(entry, Failure):
                    yield entry
                    continue
                text, is_folder, info = entry
                if patterns and excludes(patterns, text, text.rpartition("/")[2]):
                    yield Skipped(text, "excluded", "folder" if is_folder else "file")
                elif is_folder:
                    pending.append(self._listed(text))
                    break
                else:
                    yield self._classify(info, text)
            else:
                pending.pop()

    def _listed(self, folder: str) -> Iterator[tuple[str, bool, Any] | Failure]:
        """The entries of a folder in order: text form of the path, whether it is a folder, and what is known of it."""
        from pyarrow.fs import FileSelector

        try:
            infos = self._filesystem.get_file_info(
                FileSelector(self._path(folder), recursive=False)
            )
        except Exception as error:  # whatever a file system of fsspec's has for errors
            yield Failure(folder, "walk", type(error).__name__, _said(error))
            return
        infos.sort(key=lambda info: info.base_name.encode("utf-8", "surrogateescape"))
        above = f"{folder}/" if folder else ""
        directory = _kinds().Directory
        for info in infos:
            # Some stores list a folder among what lies in it.
            if info.base_name and info.path.rstrip("/") != self._path(folder):
                yield above + to_text(info.base_name), info.type == directory, info

    def _classify(self, info: Any, text: str) -> Entry:
        if info.type != _kinds().File:
            return Skipped(text, "special file", "special")
        if info.size is None:
            return Failure(text, "stat", "NoSize", "its store does not tell its size")
        return FileEntry(text, info.path, info.size, _time(info))

    def entry(self, path: str, size: int, mtime_ns: int) -> FileEntry:
        """Give the file with a path in text form."""
        return FileEntry(path, self._path(path), size, mtime_ns)

    def _path(self, text: str) -> str:
        return f"{self._base}/{from_text(text)}" if text else self._base

    def read(self, entry: FileEntry) -> Contents | Left:
        """Return all bytes of a picture file, or what else it is; opened once, for reading.

        Raises:
            PictureError: As of `pictures.read.read_file`.
        """
        try:
            return self._read(entry)
        except (PictureError, MemoryError):
            raise
        except Exception as error:  # whatever a file system of fsspec's has for errors
            raise PictureError("read", type(error).__name__, _said(error)) from error

    def _read(self, entry: FileEntry) -> Contents | Left:
        path, now_ns = entry.os_path, time.time_ns()
        before = self._filesystem.get_file_info(path)
        if before.type != _kinds().File:
            raise PictureError("read", "FileNotFoundError", "it is not there any more")
        mtime_ns = _time(before)
        with self._filesystem.open_input_stream(path) as stream:
            head = _take(stream, HEAD_BYTES)
            kind = sniff(head, path.rpartition("/")[2])
            if kind.kind != "picture":
                return Left(kind, before.size, mtime_ns)
            if before.size > SIZE_LIMIT:
                raise PictureError(
                    "read", "TooLarge", f"{before.size} bytes; the limit is {SIZE_LIMIT} bytes"
                )
            # One byte more than announced, so that a file that grew is seen to have grown.
            data = head + _take(stream, max(0, before.size - len(head)) + 1)
        after = self._filesystem.get_file_info(path)
        if (before.size, mtime_ns) != (after.size, _time(after)) or len(data) != after.size:
            raise PictureError("read", "Changed", "the file changed while it was read")
        if not data:
            raise PictureError("read", "Empty", "the file has zero bytes")
        settled = mtime_ns != UNKNOWN_NS and is_settled(mtime_ns, now_ns)
        return Contents(data, digests_of(data), kind, len(data), mtime_ns, settled)


def _opened_again(uri: str, only: str | None) -> Store:
    found = open_store(uri)
    return found if only is None else found.single_file()[0]


@cache
def open_store(uri: str) -> Store:
    """Open what a URI names, with pyarrow's own file systems, or else with fsspec's.

    Raises:
        ExtraMissing, InvalidSetting.
    """
    try:
        import pyarrow
        from pyarrow import fs
    except ImportError as error:
        raise ExtraMissing(
            "object stores are read with pyarrow, which is not installed",
            hint='pip install "image_similarity[ray]"',
        ) from error
    try:
        filesystem, base = fs.FileSystem.from_uri(uri)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError):
        filesystem, base = _by_fsspec(uri)
    return Store(filesystem, base, uri)


def _by_fsspec(uri: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs
    from pyarrow.fs import PyFileSystem

    try:
        found, base = url_to_fs(uri)
    except ImportError as error:
        raise ExtraMissing(f"{uri} cannot be opened: {_said(error)}") from error
    except (ValueError, OSError) as error:
        raise InvalidSetting(
            f"{uri} cannot be opened: {_said(error)}",
            hint="-ip takes a folder or a URI such as s3://bucket/folder",
        ) from error
    return PyFileSystem(_handler(found)), base


def _handler(filesystem: Any) -> Any:
    """Show pyarrow a file system of fsspec's: its own way takes a folder that cannot be listed for an empty one."""
    from pyarrow.fs import FSSpecHandler

    class Handler(FSSpecHandler):  # type: ignore[misc]  # pyarrow has no types
        def get_file_info_selector(self, selector: Any) -> list[Any]:
            folder = selector.base_dir
            # What was listed before may be of another time.
            self.fs.invalidate_cache(folder)
            entries = self.fs.ls(folder, detail=True)
            return [
                self._create_file_info(entry["name"].rstrip("/"), {"size": None, **entry})
                for entry in entries
            ]

    return Handler(filesystem)


def _kinds() -> Any:
    from pyarrow.fs import FileType

    return FileType


def _time(info: Any) -> int:
    return UNKNOWN_NS if info.mtime_ns is None else int(info.mtime_ns)


def _take(stream: Any, count: int) -> bytes:
    """Read `count` bytes, fewer only at the end: a single read may return less than there is."""
    chunks = []
    while count > 0 and (chunk := stream.read(count)):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def _said(error: Exception) -> str:
    """The first line of what a foreign file system says."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
