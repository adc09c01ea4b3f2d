"""From a folder on disk to a source in the database: which folder it is, under which name, and what may not be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_similarity.errors import DatabaseInsideEvidence, FolderMissing, InvalidSetting
from image_similarity.pictures.names import to_text
from image_similarity.store import catalog as stored

if TYPE_CHECKING:
    from sqlalchemy import Connection

UNNAMED = "root"


@dataclass(frozen=True, slots=True)
class Place:
    """What to walk: the root folder of the source and, for a single picture, the file below it."""

    root: Path
    only: Path | None = None

    @property
    def target(self) -> Path:
        """The folder or file to walk."""
        return self.only or self.root


def locate(folder: Path, database: Path) -> Place:
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
    target = Path(os.path.realpath(database))
    if target.is_relative_to(resolved):
        raise DatabaseInsideEvidence(
            f"the database {database} would lie inside the evidence folder {folder}",
            hint="nothing is ever written there: choose a -dp outside of it",
        )
    return Place(resolved)


def enter(connection: Connection, place: Place, name: str | None) -> tuple[int, str]:
    """Give the id and name of the source, recording it at first sight.

    A folder that is known keeps its name. A new one is known by its own name, or the one given.

    Raises:
        InvalidSetting: The name is empty, or belongs to another folder.
    """
    root = to_text(str(place.root))
    if name is not None and not name.strip():
        raise InvalidSetting("the name of a source must not be empty")
    if name is not None and not name.isprintable():
        # SQLite cannot hold every name that a shell can give, and a report must keep each name on its line.
        raise InvalidSetting(
            f"the name of a source must be printable text, not {to_text(name)}",
            hint="give it another name: --source NAME",
        )
    if name is None:
        known = stored.source_at(connection, root)
        name = known or to_text(place.root.name) or UNNAMED
    found = stored.find_source(connection, name)
    if found is None:
        return stored.add_source(connection, name, root), name
    source_id, recorded = found
    if recorded != root:
        raise InvalidSetting(
            f"the source {name!r} is the folder {recorded}, not {root}",
            hint="give this one another name: --source NAME",
        )
    return source_id, name


def as_options(place: Place, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run records of its settings, so that `refresh` can repeat it."""
    only = None if place.only is None else place.only.name
    return {**settings, "only": None if only is None else to_text(only)}
