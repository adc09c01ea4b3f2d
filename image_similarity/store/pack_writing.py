"""Writing packs: made where a complete range has none, dropped where rows come into one; see packs.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select

from image_similarity.errors import DatabaseDamaged
from image_similarity.store import packs
from image_similarity.store.gallery import Gallery
from image_similarity.store.schema import image_table, scene_pack_table, vector_pack_table
from image_similarity.values import PackedCodes

Half = npt.NDArray[np.float16]
Encode = Callable[[Half], PackedCodes]


def build_missing(
    connection: Connection, model_id: int, dim: int, encode: Encode, *, limit: int | None = None
) -> int:
    """Make the packs of complete ranges that have none, at most `limit`; gives how many were made.

    A range with a damaged vector gets none: its rows are read one by one as before, and the search says which it is.
    """
    size = packs.range_size(dim)
    made = 0
    for number in _unpacked(connection, packs.VECTORS, vector_pack_table, model_id, size):
        if made == limit:
            break
        try:
            found = packs.vectors_between(connection, model_id, dim, [packs.stretch(number, size)])
        except DatabaseDamaged:
            continue
        if not np.isfinite(found.vectors).all():
            continue
        connection.execute(insert(vector_pack_table), _row(model_id, number, size, found, encode))
        made += 1
    return made


def _row(model_id: int, number: int, size: int, found: Gallery, encode: Encode) -> dict[str, Any]:
    packed = encode(found.vectors)
    return {
        "model_id": model_id,
        "number": number,
        "image_ids": _offsets(found.image_ids, number, size),
        "scales": packed.scales.astype("<f4").tobytes(),
        "errors": packed.errors.astype("<f4").tobytes(),
        "bits": packed.bits.tobytes(),
        "codes": packed.codes.tobytes(),
    }


def _unpacked(
    connection: Connection, rows: str, table: Table, model_id: int, size: int
) -> Iterator[int]:
    """The numbers of complete ranges that hold rows, but have no pack.

    Only the first row is asked for, range by range: mostly nothing is left to be packed, and every run asks.
    """
    newest = connection.execute(select(func.max(image_table.c.id))).scalar() or 0
    for first, last in packs.gaps(connection, table, model_id, size):
        last = min(last, (newest - 1) // size * size)
        while first <= last:
            first_of = f"SELECT image_id {rows} ORDER BY image_id LIMIT 1"
            image_id = connection.exec_driver_sql(first_of, (model_id, first, last)).scalar()
            if image_id is None:
                break
            number = (image_id - 1) // size
            yield number
            first = (number + 1) * size + 1


def _offsets(image_ids: npt.NDArray[np.int64], number: int, size: int) -> bytes:
    return (image_ids - (number * size + 1)).astype("<u2").tobytes()


def build_missing_scenes(
    connection: Connection, scene_model_id: int, *, limit: int | None = None
) -> int:
    """Make the packs of labels of complete ranges that have none, at most `limit`; gives how many were made.

    A range with damaged labels gets none.
    """
    made = 0
    for number in _unpacked(
        connection, packs.LABELS, scene_pack_table, scene_model_id, packs.LARGEST_RANGE
    ):
        if made == limit:
            break
        try:
            found = packs.labels_between(
                connection, scene_model_id, [packs.stretch(number, packs.LARGEST_RANGE)]
            )
        except DatabaseDamaged:
            continue
        if not len(found.image_ids):
            continue
        row = {
            "model_id": scene_model_id,
            "number": number,
            "image_ids": _offsets(found.image_ids, number, packs.LARGEST_RANGE),
            "labels": found.labels.tobytes(),
        }
        connection.execute(insert(scene_pack_table), row)
        made += 1
    return made


def drop(connection: Connection, model_id: int, dim: int, image_ids: Iterable[int]) -> None:
    """Delete the packs of vectors that cover these contents: rows were added, and the packs no longer hold all."""
    _drop(connection, vector_pack_table, model_id, packs.range_size(dim), image_ids)


def drop_scenes(connection: Connection, scene_model_id: int, image_ids: Iterable[int]) -> None:
    """Delete the packs of labels that cover these contents."""
    _drop(connection, scene_pack_table, scene_model_id, packs.LARGEST_RANGE, image_ids)


def _drop(
    connection: Connection, table: Table, model_id: int, size: int, image_ids: Iterable[int]
) -> None:
    numbers = {(image_id - 1) // size for image_id in image_ids}
    connection.execute(
        delete(table).where(table.c.model_id == model_id, table.c.number == bindparam("of")),
        [{"of": number} for number in sorted(numbers)],
    )
