"""What is refused before a database is created for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_similarity.settings import IndexOptions


def check_folder(folder: str | Path, database: str | Path) -> None:
    """Refuse a folder that cannot be indexed into this database, before the database is created.

    Raises:
        FolderMissing, DatabaseInsideEvidence.
    """
    from image_similarity.indexing import check_folder as check

    check(Path(folder), Path(database))


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
