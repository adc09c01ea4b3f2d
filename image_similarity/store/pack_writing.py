"""Writing packs: made where a complete range has none, dropped where rows come into one; see packs.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select

from image_similarity.errors import DatabaseDamaged
from image_similarity.store import packs
from image_similarity.store.engine import run_plain
from image_similarity.store.schema import image_table, scene_pack_table, vector_pack_table
from image_similarity.values import PackedCodes

Half = npt.NDArray[np.float16]
Ids = npt.NDArray[np.int64]
Encode = Callable[[Half], PackedCodes]


def build_missing(
    connection: Connection, model_id: int, dim: int, encode: Encode, *, limit: int | None = None
) -> int:
    """Make the packs of complete ranges that have none, at most `limit`; gives how many were made.

    A range with a damaged vector gets none: its rows are read one by one as before, and the search says which it is.
    """

    def read(stretch: tuple[int, int]) -> tuple[Ids, dict[str, bytes]] | None:
        found = packs.vectors_between(connection, model_id, dim, [stretch])
        if not np.isfinite(found.vectors).all():
            return None
        packed = encode(found.vectors)
        return found.image_ids, {
            "scales": packed.scales.astype("<f4").tobytes(),
            "errors": packed.errors.astype("<f4").tobytes(),
            "bits": packed.bits.tobytes(),
            "codes": packed.codes.tobytes(),
        }

    size = packs.range_size(dim)
    return _build(connection, packs.VECTORS, vector_pack_table, model_id, size, read, limit)


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
            image_id = run_plain(connection, first_of, (model_id, first, last)).scalar()
            if image_id is None:
                break
            number = (image_id - 1) // size
            yield number
            first = (number + 1) * size + 1


def build_missing_scenes(
    connection: Connection, scene_model_id: int, *, limit: int | None = None
) -> int:
    """Make the packs of labels of complete ranges that have none, at most `limit`; gives how many were made.

    A range with damaged labels gets none.
    """

    def read(stretch: tuple[int, int]) -> tuple[Ids, dict[str, bytes]] | None:
        found = packs.labels_between(connection, scene_model_id, [stretch])
        if not len(found.image_ids):
            return None
        return found.image_ids, {"labels": found.labels.tobytes()}

    size = packs.LARGEST_RANGE
    rows = packs.label_rows(connection)
    return _build(connection, rows, scene_pack_table, scene_model_id, size, read, limit)


def _build(
    connection: Connection,
    rows: str,
    table: Table,
    model_id: int,
    size: int,
    read: Callable[[tuple[int, int]], tuple[Ids, dict[str, bytes]] | None],
    limit: int | None,
) -> int:
    """Make packs of what `read` gives for a stretch of image ids; where it gives None or finds damage, none is made."""
    made = 0
    for number in _unpacked(connection, rows, table, model_id, size):
        if made == limit:
            break
        try:
            found = read(packs.stretch(number, size))
        except DatabaseDamaged:
            continue
        if found is None:
            continue
        image_ids, columns = found
        offsets = (image_ids - (number * size + 1)).astype("<u2").tobytes()
        row = {"model_id": model_id, "number": number, "image_ids": offsets, **columns}
        connection.execute(insert(table), row)
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
    if not numbers:
        return
    connection.execute(
        delete(table).where(table.c.model_id == model_id, table.c.number == bindparam("of")),
        [{"of": number} for number in sorted(numbers)],
    )
