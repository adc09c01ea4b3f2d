"""Which contents are copies of each other: those that lie at several places, and the PDQ hashes of the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, func, select

from image_similarity.errors import DatabaseDamaged
from image_similarity.store.gallery import PlaceFilter, counting
from image_similarity.store.schema import file_table, image_table, pdq_table

HASH_BYTES = 32


@dataclass(frozen=True, slots=True, eq=False)
class Hashes:
    """PDQ hashes of contents, in order of image id: ids int64 (n,), hashes uint8 (n, 32), qualities int64 (n,).

    `pictures` counts the contents that they were looked for of.
    """

    image_ids: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint8]
    qualities: npt.NDArray[np.int64]
    pictures: int


def load(connection: Connection, places: PlaceFilter) -> Hashes:
    """Load the PDQ hashes of all contents that have a place that counts.

    Raises:
        DatabaseDamaged: A hash is not of 32 bytes.
    """
    counted = select(image_table.c.id).where(
        image_table.c.id.in_(select(file_table.c.image_id).where(counting(places)))
    )
    if not places.include_partial:
        counted = counted.where(image_table.c.partial.is_(False))
    pictures = connection.execute(select(func.count()).select_from(counted.subquery())).scalar_one()
    statement = (
        select(pdq_table.c.image_id, pdq_table.c.hash, pdq_table.c.quality)
        .where(pdq_table.c.image_id.in_(counted))
        .order_by(pdq_table.c.image_id)
    )
    rows = connection.execute(statement).all()
    # Two wrong lengths may add up to a right one.
    damaged = sum(not isinstance(hash_, bytes) or len(hash_) != HASH_BYTES for _, hash_, _ in rows)
    if damaged:
        raise DatabaseDamaged(
            f"{damaged} of {len(rows)} stored PDQ hashes are not of {HASH_BYTES} bytes",
            hint="see: image-similarity db verify; then restore a backup",
        )
    count = len(rows)
    return Hashes(
        np.fromiter((row[0] for row in rows), dtype=np.int64, count=count),
        np.frombuffer(b"".join(row[1] for row in rows), dtype=np.uint8).reshape(count, HASH_BYTES),
        np.fromiter((row[2] for row in rows), dtype=np.int64, count=count),
        pictures,
    )


def hash_of(connection: Connection, sha256: str) -> tuple[bytes, int] | None:
    """The PDQ hash of a content and its quality, or None."""
    statement = (
        select(pdq_table.c.hash, pdq_table.c.quality)
        .join(image_table, image_table.c.id == pdq_table.c.image_id)
        .where(image_table.c.sha256 == sha256)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else (row[0], row[1])


def at_several_places(connection: Connection, places: PlaceFilter) -> list[int]:
    """The ids of the contents that lie at more than one place that counts, ascending."""
    statement = (
        select(file_table.c.image_id)
        .where(counting(places))
        .group_by(file_table.c.image_id)
        .having(func.count() > 1)
        .order_by(file_table.c.image_id)
    )
    return list(connection.execute(statement).scalars())
