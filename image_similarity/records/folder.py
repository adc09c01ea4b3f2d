"""A folder of evidence that is named in a command: it is there, and no database of ours lies in it."""

from __future__ import annotations

import os
from pathlib import Path

from image_similarity.errors import DatabaseInsideEvidence, FolderMissing
from image_similarity.values import Location


def evidence_folder(folder: Path, database: Location) -> Path:
    """Give the folder with links resolved.

    Raises:
        FolderMissing: There is nothing, or no folder.
        DatabaseInsideEvidence: The database lies below it.
    """
    try:
        resolved = folder.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise FolderMissing(f"no such folder: {folder}", hint="is the evidence mounted?") from error
    if not resolved.is_dir():
        raise FolderMissing(f"{folder} is no folder", hint="is the evidence mounted?")
    if isinstance(database, Path) and Path(os.path.realpath(database)).is_relative_to(resolved):
        raise DatabaseInsideEvidence(
            f"the database {database} lies inside the evidence folder {folder}",
            hint="nothing is ever written there: move the database out of it",
        )
    return resolved
