"""Nothing is ever written into evidence, and no file is made where none was asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from image_similarity.case import Case
from image_similarity.errors import DatabaseMissing, UsageError


def refuse_inside_sources(target: Path, cases: Iterable[Case]) -> None:
    """Refuse to write a file below a folder that one of the databases knows as a source.

    Raises:
        UsageError.
    """
    from image_similarity.pictures.names import from_text

    place = target.resolve()
    for case in cases:
        for source in case.sources():
            if place.is_relative_to(Path(from_text(source.root)).resolve()):
                raise UsageError(
                    f"{target} would be written into the indexed folder {source.root}",
                    hint="Evidence is never written to; choose another folder.",
                )


def require_database(database: Path) -> None:
    """Refuse a database that is missing, where opening it would create one.

    Raises:
        DatabaseMissing.
    """
    if not database.exists():
        raise DatabaseMissing(
            f"There is no database at {database}",
            hint="Check -dp; `image-similarity index` creates a database.",
        )
