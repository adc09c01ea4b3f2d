"""What is refused before a database is created for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.values import Location, location

if TYPE_CHECKING:
    from image_similarity.settings import IndexOptions


def is_there(database: str | Location) -> bool:
    """Whether there is a database at this place; one on a server that has no tables yet counts as none.

    Raises:
        DatabaseMissing: The server has no database of this name, where this program makes none.
        ServerRefused, ExtraMissing.
    """
    where = location(database)
    if isinstance(where, Path):
        return where.exists()
    from image_similarity.store import upgrade

    return upgrade.read_server_state(where).kind != "empty"


def check_folder(folder: str | Path, database: str | Location) -> None:
    """Refuse a folder that cannot be indexed into this database, before the database is created.

    Raises:
        FolderMissing, DatabaseInsideEvidence.
    """
    from image_similarity.indexing import check_folder as check

    check(Path(folder), location(database))


def check_options(options: IndexOptions) -> None:
    """Refuse settings with which nothing can be indexed, models among them, before a database is created for it.

    Raises:
        InvalidSetting, ExtraMissing.
        ModelError: A model is unknown, or its weights are missing, changed or refused.
    """
    from image_similarity.indexing import check_options as check

    check(options)


def check_earlier(database: str | Path) -> None:
    """Refuse what is no database of the earlier image-similarity, before one of ours is created for it.

    Raises:
        DatabaseMissing, NotOurDatabase.
    """
    from image_similarity.store import earlier

    earlier.require(Path(database))


def check_cluster(folder: str | Path, database: str | Location, options: IndexOptions) -> None:
    """Refuse what cannot be indexed on many machines, before the database is opened.

    Raises:
        InvalidSetting: The database is a file.
        FolderMissing, ExtraMissing, ModelError.
    """
    from image_similarity.cluster import check

    check(folder, location(database), options)
