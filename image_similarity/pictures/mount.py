"""How evidence is mounted: whether anything there can be written, and whether access times are."""

from __future__ import annotations

import os
from pathlib import Path

from image_similarity.pictures.names import to_text
from image_similarity.values import Mount

# Linux; elsewhere only whether it is read-only can be told.
_NOATIME = getattr(os, "ST_NOATIME", 0)
_RELATIME = getattr(os, "ST_RELATIME", 0)


def state(folder: Path) -> Mount | None:
    """Give the state of the mount that holds a folder or file, or None where the system does not say.

    Mounts below the folder may have others. Read-only is the mount, not the device below it: a file system that was
    not unmounted cleanly may have had its journal replayed when it was mounted.
    """
    try:
        flags = os.statvfs(folder).f_flag
        point = _mount_point(folder)
    except (OSError, AttributeError):
        return None
    access = "off" if flags & _NOATIME else "relative" if flags & _RELATIME else "on"
    return Mount(
        point=to_text(str(point)), read_only=bool(flags & os.ST_RDONLY), access_times=access
    )


def _mount_point(folder: Path) -> Path:
    place = Path(os.path.realpath(folder))
    return next(each for each in (place, *place.parents) if os.path.ismount(each))
