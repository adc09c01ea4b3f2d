"""From a folder on disk to what is walked: which folder it is, and what may not be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_similarity.errors import DatabaseInsideEvidence, FolderMissing
from image_similarity.pictures.names import to_text
from image_similarity.values import Location


@dataclass(frozen=True, slots=True)
class Place:
    """What to walk: the root folder of the source and, for a single picture, the file below it."""

    root: Path
    only: Path | None = None

    @property
    def target(self) -> Path:
        """The folder or file to walk."""
        return self.only or self.root


def locate(folder: Path, database: Location) -> Place:
    """Find the source's root folder; of a single picture it is the folder that holds it.

    Raises:
        FolderMissing: There is nothing, or nothing that can be walked.
        DatabaseInsideEvidence: The database lies below the folder.
    """
    try:
        resolved = folder.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = (
            "leads to itself"
            if isinstance(error, RuntimeError)
            else (getattr(error, "strerror", "") or str(error))
        )
        raise FolderMissing(
            f"no such folder or picture: {folder} ({reason})",
            hint="check -ip; is the evidence mounted?",
        ) from error
    if resolved.is_file():
        return Place(resolved.parent, resolved)
    if not resolved.is_dir():
        raise FolderMissing(f"{folder} is neither a folder nor a picture", hint="check -ip")
    if isinstance(database, Path) and Path(os.path.realpath(database)).is_relative_to(resolved):
        raise DatabaseInsideEvidence(
            f"the database {database} would lie inside the evidence folder {folder}",
            hint="nothing is ever written there: choose a -dp outside of it",
        )
    return Place(resolved)


def as_options(place: Place, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run records of its settings, so that `refresh` can repeat it."""
    only = None if place.only is None else place.only.name
    return {**settings, "only": None if only is None else to_text(only)}
