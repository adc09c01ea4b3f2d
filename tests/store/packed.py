"""What must be true of the packs of any database."""

from __future__ import annotations

import numpy as np
from sqlalchemy import Connection, select

from image_similarity.ranking import codes
from image_similarity.store import models, packs
from image_similarity.store.catalog import Catalog
from image_similarity.store.engine import run_plain
from image_similarity.store.schema import embedding_table
from image_similarity.values import PackedCodes


def check(catalog: Catalog) -> int:
    """Packs and loose rows together are the rows, each once; every pack is right and complete. Gives their number."""
    with catalog.reading() as connection:
        found = models.stored(connection)
        return sum(
            check_vectors(connection, model, info.dim or 0) + check_labels(connection, model)
            for model, info in found.items()
        )


def check_vectors(connection: Connection, model: int, dim: int) -> int:
    newest = connection.exec_driver_sql("SELECT max(id) FROM image").scalar_one() or 0
    c = embedding_table.c
    rows = connection.execute(select(c.image_id, c.vector).where(c.model_id == model))
    expected = {image_id: vector for image_id, vector in rows}
    loose = packs.loose_vectors(connection, model, dim)
    ids = [*loose.image_ids.tolist()]
    found = list(packs.vector_packs(connection, model, dim))
    for pack in found:
        ids += pack.image_ids.tolist()
        assert newest > (pack.number + 1) * packs.range_size(dim), "the range is not complete"
        wanted = codes.encode(packs.vectors_at(connection, model, dim, pack.image_ids))
        for name in PackedCodes.__slots__:
            assert np.array_equal(getattr(pack, name), getattr(wanted, name)), name
    assert sorted(ids) == sorted(expected)
    assert [row.tobytes() for row in loose.vectors] == [expected[i] for i in loose.image_ids]
    assert list(packs.wrong_packs(connection, model, dim, codes.problem_of)) == []
    return len(found)


def check_labels(connection: Connection, model: int) -> int:
    rows = run_plain(
        connection,
        "SELECT image_id, position FROM image_scene JOIN scene ON scene.id = scene_id"
        " WHERE model_id = ? ORDER BY image_id, rank",
        (model,),
    )
    expected: dict[int, list[int]] = {}
    for image_id, position in rows:
        expected.setdefault(image_id, []).append(position)
    packed = list(packs.scene_packs(connection, model))
    found = [
        (image_id, [position for position in row if position != part.none])
        for part in [packs.loose_labels(connection, model), *packed]
        for image_id, row in zip(part.image_ids.tolist(), part.labels.tolist(), strict=True)
    ]
    assert sorted(found) == sorted(expected.items())
    assert list(packs.wrong_scene_packs(connection, model)) == []
    return len(packed)
