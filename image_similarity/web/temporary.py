"""Folders of the page among the system's temporary ones, which only this user can enter; never in the evidence.

A folder goes with the page. It is held by a lock, which ends with the process however that ends: the next page deletes
what a killed one left there. Of a folder that holds anything but files with our names nothing is deleted: someone may
have called theirs so.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from image_similarity.case import Case
from image_similarity.errors import UsageError

_PREFIX = "image-similarity-page-"
# Pictures that were sent, layouts of maps with their cells, and what was not finished of either.
_OURS = re.compile(
    r"[0-9a-f]{64}|part-\w+|(map-[0-9a-f]+|\.\w+)\.(csv|npz)|map-[0-9a-f]+\.csv\.cells\.npz"
)


class Temporary:
    """One such folder, made when it is first needed.

    Attributes:
        made: The folder; None before, and after the page was closed.
    """

    def __init__(self, case: Case) -> None:
        self.made: Path | None = None
        self._case = case
        self._held = -1
        self._lock = threading.Lock()

    def path(self) -> Path:
        """The folder.

        Raises:
            UsageError: The system's temporary folder is evidence.
            OSError: It cannot be made.
        """
        with self._lock:
            if self.made is None:
                self._case.refuse_inside(tempfile.gettempdir())
                self.made = Path(tempfile.mkdtemp(prefix=_PREFIX))
                self._held = _hold(self.made)
            return self.made

    def close(self) -> None:
        """Delete the folder with what is in it."""
        with self._lock:
            if self.made is not None:
                _empty(self.made)
                os.close(self._held)
                self.made = None


def purge_abandoned(case: Case) -> None:
    """Delete what pages left behind that were killed: nobody holds their folders any more."""
    temporary = Path(tempfile.gettempdir())
    with suppress(UsageError):
        case.refuse_inside(temporary)
        for folder in temporary.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                names = [each.name for each in folder.iterdir()]
                # A new one is not held for a moment, and empty.
                if (
                    names
                    and all(map(_OURS.fullmatch, names))
                    and folder.lstat().st_uid == os.getuid()
                ):
                    descriptor = _hold(folder)
                    _empty(folder)
                    os.close(descriptor)


def _empty(folder: Path) -> None:
    with suppress(OSError):
        for each in folder.iterdir():
            if _OURS.fullmatch(each.name):
                each.unlink(missing_ok=True)
        # Fails, and is meant to, where something else was put there.
        folder.rmdir()


def _hold(folder: Path) -> int:
    """Hold a folder for as long as this process lives, however it ends; gives the descriptor that does.

    Raises:
        OSError: Another process holds it, or it is no folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
