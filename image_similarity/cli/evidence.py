"""Nothing is ever written into evidence, and no file is made where none was asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from image_similarity.case import Case, is_there
from image_similarity.errors import DatabaseMissing
from image_similarity.values import Location


def refuse_inside_sources(target: Path, cases: Iterable[Case]) -> None:
    """Refuse to write a file below a folder that one of the databases knows as a source.

    Raises:
        UsageError.
    """
    from image_similarity.records.exports import refuse_inside

    for case in cases:
        refuse_inside(target, case.sources())


def require_database(database: Location) -> None:
    """Refuse a database that is missing, where opening it would create one.

    Raises:
        DatabaseMissing.
    """
    if not is_there(database):
        raise DatabaseMissing(
            f"There is no database at {database}"
            if isinstance(database, Path)
            else f"There is nothing in the database {database}",
            hint="Check -dp; `image-similarity index` creates a database.",
        )
