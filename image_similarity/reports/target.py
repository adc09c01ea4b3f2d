"""The file of a report: never in another's place, readable by its owner only, there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from image_similarity.errors import UsageError

# A file may be replaced only if it says in its first bytes that it is a report of its kind.
_BEGINNING = 4096


def refuse_existing(target: Path, *, mark: str, overwrite: bool) -> None:
    """Refuse a target that exists, unless it is an earlier report of the same kind that may be replaced.

    Args:
        target: The file to be written.
        mark: What such a report has in its first 4,096 bytes.
        overwrite: Whether an earlier report may be replaced.

    Raises:
        UsageError.
    """
    if not os.path.lexists(target):
        if not os.access(target.absolute().parent, os.W_OK):
            raise UsageError(f"The folder of {target} does not exist or cannot be written to")
        return
    if not overwrite:
        raise UsageError(
            f"{target} exists already",
            hint="Choose another name; --force replaces an earlier file of the same kind.",
        )
    if not _is_report(target, mark):
        raise UsageError(
            f"{target} was not written by this program as a file of this kind, and is not replaced"
        )


@contextmanager
def writing(target: Path, *, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Give a stream whose text takes the place of `target` in one move at the end; on an error nothing of it stays.

    Raises:
        OSError: It cannot be written; the error names the target.
    """
    with _writing(target, "w", encoding=encoding, newline="\n") as file:
        yield file


@contextmanager
def writing_bytes(target: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the place of `target` in one move at the end; on an error nothing of it stays.

    Raises:
        OSError: It cannot be written; the error names the target.
    """
    with _writing(target, "wb") as file:
        yield file


@contextmanager
def _writing(target: Path, mode: str, **options: Any) -> Iterator[Any]:
    # mkstemp gives 0600, as a report shows what its reader's colleagues need not see, and a name that no file has.
    handle, name = tempfile.mkstemp(dir=target.absolute().parent, prefix=".", suffix=target.suffix)
    try:
        with os.fdopen(handle, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException as error:
        with suppress(OSError):
            Path(name).unlink()
        # Of a full disk the system names no file, and ours has a name that nobody knows.
        if isinstance(error, OSError) and error.errno and error.filename in (None, name):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise


def _is_report(path: Path, mark: str) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return mark.encode() in file.read(_BEGINNING)
