"""Vectors that are computed from stored ones: which contents lack them, and their rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, func, select

from image_similarity.store import batch, pack_writing
from image_similarity.store.schema import embedding_table, file_table


def lacking(connection: Connection, base_id: int, model_id: int) -> dict[int, list[int]]:
    """Give, by source, the ids of contents that have a vector of the one model and none of the other, ascending.

    A content that lies in several sources counts to the first of them.
    """
    of_model = select(embedding_table.c.image_id).where
    without = of_model(embedding_table.c.model_id == base_id).except_(
        of_model(embedding_table.c.model_id == model_id)
    )
    statement = (
        select(embedding_table.c.image_id, func.min(file_table.c.source_id))
        .join(file_table, file_table.c.image_id == embedding_table.c.image_id)
        .where(embedding_table.c.model_id == base_id, embedding_table.c.image_id.in_(without))
        .group_by(embedding_table.c.image_id)
        .order_by(embedding_table.c.image_id)
    )
    found: dict[int, list[int]] = {}
    for image_id, source_id in connection.execute(statement):
        found.setdefault(source_id, []).append(image_id)
    return found


def holding(connection: Connection, model_id: int) -> npt.NDArray[np.int64]:
    """Give the ids of contents that have a vector of a model and still lie somewhere, ascending."""
    live = select(file_table.c.image_id).where(file_table.c.gone_run_id.is_(None))
    statement = (
        select(embedding_table.c.image_id)
        .where(embedding_table.c.model_id == model_id, embedding_table.c.image_id.in_(live))
        .order_by(embedding_table.c.image_id)
    )
    return np.fromiter(connection.execute(statement).scalars(), dtype=np.int64)


def write(
    connection: Connection,
    run_id: int,
    model_id: int,
    image_ids: Sequence[int],
    vectors: npt.NDArray[np.float16],
) -> None:
    """Store vectors (N, dim) of contents within the caller's transaction; packs that they belong into are deleted."""
    if not image_ids:
        return
    rows = [
        (model_id, image_id, vector.astype("<f2").tobytes())
        for image_id, vector in zip(image_ids, vectors, strict=True)
    ]
    batch.insert_vectors(connection, run_id, rows)
    pack_writing.drop(connection, model_id, vectors.shape[1], image_ids)
