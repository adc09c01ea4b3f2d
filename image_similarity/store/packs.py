"""Packs: compact, immutable blocks of a model's vectors and of scene labels, beside the rows that they are made of.

Pack number k of a model covers the contents whose ids are k * R + 1 to (k + 1) * R; R is `range_size`. It is made once
that range is complete, that is once a content beyond it exists, and holds those of the range that have a vector (or
labels). Vectors and labels of all other ranges are *loose*: they are read from their rows. So a database without a
single pack is right, only slower to search; each content is in one pack or loose, never both and never neither.

Rows that come later into a packed range (a second model, a picture that failed before) delete its pack in their own
transaction; `pack_writing.py` makes it anew. What codes are the caller knows, who hands the function that encodes.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Table, func, select

from image_similarity.errors import DatabaseDamaged
from image_similarity.store import half_vectors
from image_similarity.store.engine import is_sqlite, plain_portions, run_plain
from image_similarity.store.gallery import Gallery
from image_similarity.store.schema import (
    scene_pack_table,
    scene_table,
    vector_pack_table,
)
from image_similarity.values import PackedCodes

Half = npt.NDArray[np.float16]
Ids = npt.NDArray[np.int64]

# Ids are stored as offsets of two bytes. At 256 dimensions the codes of a pack are 1 MiB.
LARGEST_RANGE = 4096
# Numbers in a pack of long vectors: they must be encoded, and searched, within a few megabytes.
MOST_NUMBERS = 2**21
# Rows of vectors turned into one array at a time.
ROWS_AT_ONCE = 10_000
# Packs, without their codes, that a server sends at a time.
PACKS_AT_ONCE = 32
# The number that no pack reaches.
_BEYOND = 2**40
# The rows of a model from one image id to another.
VECTORS = "FROM embedding WHERE model_id = ? AND image_id BETWEEN ? AND ?"
# CROSS JOIN on SQLite, which then takes the contents in their order and looks up each scene, not the other way round.
_LABELS = (
    "FROM image_scene {join} scene ON scene.id = scene_id"
    " WHERE model_id = ? AND image_id BETWEEN ? AND ?"
)
HINT = "see which: image-similarity db verify; db upgrade --repair makes packs anew; all else is in a backup"


@dataclass(frozen=True, slots=True)
class VectorPack(PackedCodes):
    """The codes of n contents, in order of image id: `image_ids` int64 (n,).

    Whichever of `codes` and `bits` was not asked for has no rows. The arrays cannot be written to.
    """

    number: int
    image_ids: Ids


@dataclass(frozen=True, slots=True)
class ScenePack:
    """The labels of n contents: `image_ids` int64 (n,), ascending; `labels` (n, K), the most probable scene first.

    A label is the position of a scene in its model. uint8 for a model of at most 255 scenes, else uint16; the
    greatest value of the type (`none`) stands where a content has fewer than K labels. K is the most that a content of
    this pack has.
    """

    image_ids: Ids
    labels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

    @property
    def none(self) -> int:
        """The label that stands for no scene."""
        return int(np.iinfo(self.labels.dtype).max)


def range_size(dim: int) -> int:
    """How many image ids a pack of vectors covers: 4096, or for long vectors the power of two that keeps it small."""
    return min(LARGEST_RANGE, 1 << max(0, (MOST_NUMBERS // dim).bit_length() - 1))


def stretch(number: int, size: int) -> tuple[int, int]:
    """The first and last image id that a pack covers."""
    return number * size + 1, (number + 1) * size


def bytes_of(dim: int) -> int:
    """How many bytes a vector's bits take, one bit a dimension."""
    return (dim + 7) // 8


# -- reading --------------------------------------------------------------------------------------------------------


def vector_packs(
    connection: Connection,
    model_id: int,
    dim: int,
    *,
    bits_only: bool = False,
    codes_only: bool = False,
) -> Iterator[VectorPack]:
    """Give the packs of a model in order of their numbers, one at a time, straight from the file.

    Args:
        connection: Open, until the last pack was taken.
        model_id: The model.
        dim: Its dimensions.
        bits_only: Leave `codes` unread, which are seven eighths of the whole.
        codes_only: Leave `bits` unread.

    Raises:
        DatabaseDamaged: If a pack has not the size that its number of contents asks for.
    """
    for row in _vector_rows(connection, model_id, with_bits=not codes_only):
        yield _vector_pack(connection, model_id, dim, row, with_codes=not bits_only)


def _vector_rows(connection: Connection, model_id: int, *, with_bits: bool) -> Iterable[Any]:
    columns = "id, number, image_ids, scales, errors" + (", bits" if with_bits else "")
    statement = f"SELECT {columns} FROM vector_pack WHERE model_id = ? ORDER BY number"  # noqa: S608
    if is_sqlite(connection):
        return run_plain(connection, statement, (model_id,))
    return chain.from_iterable(plain_portions(connection, statement, (model_id,), PACKS_AT_ONCE))


def _vector_pack(
    connection: Connection, model_id: int, dim: int, row: Any, *, with_codes: bool
) -> VectorPack:
    # Of 245 packs (a million vectors of 256), the file in the page cache, one process: reading the file's bytes alone
    # 1.0 times; codes by blobopen 2.0, by SELECT through the driver 2.5, through Core's types 3.0; by SELECT with all
    # rows kept in a list 11. PRAGMA mmap_size would save another third, but a disk that fails while its file is mapped
    # ends the process by a signal, without a word.
    pack_id, number, ids, scales, errors, *bits = row
    with _damage_named(f"pack {number} of the vectors of model {model_id}"):
        image_ids = _image_ids(ids, number, range_size(dim))
        count = len(image_ids)
        codes = _codes(connection, pack_id) if with_codes else b""
        return VectorPack(
            _array(codes, "codes", "i1", (count if with_codes else 0, dim)),
            _array(scales, "scales", "<f4", (count,)),
            _array(errors, "errors", "<f4", (count,)),
            _array(bits[0] if bits else b"", "bits", "u1", (count if bits else 0, bytes_of(dim))),
            number,
            image_ids,
        )


def _codes(connection: Connection, pack_id: int) -> bytes:
    if not is_sqlite(connection):
        of_pack = "SELECT codes FROM vector_pack WHERE id = ?"
        codes: bytes = run_plain(connection, of_pack, (pack_id,)).scalar_one()
        return codes
    raw: Any = connection.connection.driver_connection
    with raw.blobopen("vector_pack", "codes", pack_id, readonly=True) as blob:
        found: bytes = blob.read()
        return found


@contextmanager
def _damage_named(what: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, sqlite3.Error) as error:
        raise DatabaseDamaged(f"{what} is damaged: {error}", hint=HINT) from error


def _image_ids(blob: bytes, number: int, size: int) -> Ids:
    offsets = np.frombuffer(blob, dtype="<u2").astype(np.int64)
    if not len(offsets) or offsets[-1] >= size or (np.diff(offsets) <= 0).any():
        raise ValueError("its contents are not in order")
    return offsets + (number * size + 1)


def _array(blob: bytes, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Any:
    # SQLite keeps any type in any column.
    array = np.frombuffer(blob, dtype=dtype)
    if array.size != math.prod(shape):
        raise ValueError(f"{name} of {array.size} values instead of {math.prod(shape)}")
    return array.reshape(shape)


def loose_vectors(connection: Connection, model_id: int, dim: int) -> Gallery:
    """Give the vectors of a model that are in no pack, from their rows.

    Raises:
        DatabaseDamaged: If one is not of `dim` numbers.
    """
    return vectors_between(
        connection, model_id, dim, gaps(connection, vector_pack_table, model_id, range_size(dim))
    )


def gaps(
    connection: Connection, table: Table, model_id: int, size: int
) -> Iterator[tuple[int, int]]:
    """The image ids that no pack covers, as first and last of each stretch."""
    statement = select(table.c.number).where(table.c.model_id == model_id).order_by(table.c.number)
    first = 0
    for number in [*connection.execute(statement).scalars(), _BEYOND]:
        if number > first:
            yield first * size + 1, number * size
        first = number + 1


def vectors_between(
    connection: Connection, model_id: int, dim: int, stretches: Iterable[tuple[int, int]]
) -> Gallery:
    """Give the vectors of a model, from their rows, of stretches of image ids, each its first and last.

    Raises:
        DatabaseDamaged: If one is not of `dim` numbers.
    """
    statement = f"SELECT image_id, {_vector(connection)} {VECTORS} ORDER BY image_id"
    ids: list[Ids] = []
    vectors: list[Half] = []
    with _damage_named(f"the table of the vectors of model {model_id}"):
        for stretch in stretches:
            values = (model_id, *stretch)
            for part in plain_portions(connection, statement, values, ROWS_AT_ONCE):
                ids.append(np.fromiter((row[0] for row in part), np.int64, len(part)))
                vectors.append(_stacked(connection, [row[1] for row in part], dim))
    if not ids:
        return Gallery(np.empty(0, np.int64), np.empty((0, dim), np.float16))
    return Gallery(np.concatenate(ids), np.concatenate(vectors))


def _vector(connection: Connection) -> str:
    """The column of vectors as bytes."""
    return "vector" if is_sqlite(connection) else "halfvec_send(vector)"


def _stacked(connection: Connection, blobs: Sequence[bytes], dim: int) -> Half:
    on_server = not is_sqlite(connection)
    size = 2 * dim + (half_vectors.HEADER if on_server else 0)
    # Two wrong lengths may add up to a right one: each vector behind them would go to another picture.
    damaged = sum(not isinstance(blob, bytes) or len(blob) != size for blob in blobs)
    if damaged:
        raise DatabaseDamaged(
            f"{damaged} stored vectors have another length than {dim} numbers", hint=HINT
        )
    if on_server:
        return half_vectors.stacked(blobs, dim)
    return np.frombuffer(b"".join(blobs), dtype="<f2").reshape(len(blobs), dim)


def vectors_at(connection: Connection, model_id: int, dim: int, image_ids: Ids) -> Half:
    """Give the stored vectors of contents, float16 (n, dim), in the order asked; an id may be asked for twice.

    Raises:
        DatabaseDamaged: If one is not there, so that a pack must hold what the rows do not, or not of `dim` numbers.
    """
    wanted, at = np.unique(image_ids, return_inverse=True)
    # One value, however many ids.
    if is_sqlite(connection):
        several, ids = "IN (SELECT value FROM json_each(?))", str(wanted.tolist())
    else:
        several, ids = "= ANY(CAST(? AS bigint[]))", f"{{{str(wanted.tolist())[1:-1]}}}"
    statement = (
        f"SELECT image_id, {_vector(connection)} FROM embedding"  # noqa: S608 - words of ours
        f" WHERE model_id = ? AND image_id {several} ORDER BY image_id"
    )
    rows = run_plain(connection, statement, (model_id, ids)).all()
    if len(rows) != len(wanted):
        raise DatabaseDamaged(
            f"{len(wanted) - len(rows)} contents in packs of model {model_id} have no vector",
            hint=HINT,
        )
    return _stacked(connection, [row[1] for row in rows], dim)[at]


def scene_packs(connection: Connection, scene_model_id: int) -> Iterator[ScenePack]:
    """Give the packs of labels of a scene model in order of their numbers, one at a time.

    Raises:
        DatabaseDamaged: If a pack has not the size that its number of contents asks for.
    """
    dtype = _label_type(connection, scene_model_id)
    for row in _scene_rows(connection, scene_model_id):
        yield _scene_pack(scene_model_id, row, dtype)


def _scene_rows(connection: Connection, scene_model_id: int) -> Iterable[Any]:
    statement = (
        "SELECT number, image_ids, labels FROM scene_pack WHERE model_id = ? ORDER BY number"
    )
    return run_plain(connection, statement, (scene_model_id,))


def _scene_pack(scene_model_id: int, row: Any, dtype: np.dtype[Any]) -> ScenePack:
    number, ids, labels = row
    with _damage_named(f"pack {number} of the labels of scene model {scene_model_id}"):
        image_ids = _image_ids(ids, number, LARGEST_RANGE)
        width = max(1, len(labels) // (len(image_ids) * dtype.itemsize))
        return ScenePack(image_ids, _array(labels, "labels", dtype, (len(image_ids), width)))


def loose_labels(connection: Connection, scene_model_id: int) -> ScenePack:
    """Give the labels of a scene model that are in no pack, from their rows, in the form of a pack.

    Raises:
        DatabaseDamaged: If two labels of a content have the same rank, or a rank or position is out of its range.
    """
    stretches = gaps(connection, scene_pack_table, scene_model_id, LARGEST_RANGE)
    return labels_between(connection, scene_model_id, stretches)


def _label_type(connection: Connection, scene_model_id: int) -> np.dtype[Any]:
    statement = select(func.count()).where(scene_table.c.model_id == scene_model_id)
    return np.dtype("u1" if connection.execute(statement).scalar_one() <= 255 else "<u2")


def label_rows(connection: Connection) -> str:
    """The labels of a model from one image id to another, as the words behind the columns that are wanted."""
    return _LABELS.format(join="CROSS JOIN" if is_sqlite(connection) else "JOIN")


def labels_between(
    connection: Connection, scene_model_id: int, stretches: Iterable[tuple[int, int]]
) -> ScenePack:
    """Give the labels of a scene model, from their rows, of stretches of image ids; see `loose_labels`."""
    statement = f"SELECT image_id, rank, position {label_rows(connection)}"
    parts = [np.empty(0, np.int64)]
    with _damage_named(f"the table of the labels of scene model {scene_model_id}"):
        for stretch in stretches:
            values = (scene_model_id, *stretch)
            for part in plain_portions(connection, statement, values, ROWS_AT_ONCE):
                parts.append(np.fromiter(chain.from_iterable(part), np.int64, 3 * len(part)))
    dtype = _label_type(connection, scene_model_id)
    table = np.concatenate(parts).reshape(-1, 3)
    image_ids, row = np.unique(table[:, 0], return_inverse=True)
    ranks, positions = table[:, 1] - 1, table[:, 2]
    none = np.iinfo(dtype).max
    width = int(ranks.max(initial=0)) + 1
    sound = (ranks >= 0) & (ranks < none) & (positions >= 0) & (positions < none)
    labels = np.full((len(image_ids), width), none, dtype=dtype)
    if sound.all():
        labels[row, ranks] = positions
    # Two labels of one rank fill one cell. Counted so since np.unique would load numpy.ma, a thirtieth of a query.
    if np.count_nonzero(labels != none) != len(table):
        raise DatabaseDamaged(
            f"labels of scene model {scene_model_id} are damaged: ranks twice or out of range",
            hint=HINT,
        )
    return ScenePack(image_ids, labels)


# -- checking -------------------------------------------------------------------------------------------------------


def wrong_packs(
    connection: Connection, model_id: int, dim: int, problem_of: Callable[[Half, PackedCodes], str]
) -> Iterator[tuple[int, str]]:
    """Compare every pack of a model with its rows: the number of each wrong one, and what is wrong with it.

    `problem_of` gets the stored vectors and the codes of the same contents, and says what is wrong with them, or "".
    """
    size = range_size(dim)
    for row in _vector_rows(connection, model_id, with_bits=True):
        try:
            pack = _vector_pack(connection, model_id, dim, row, with_codes=True)
            found = vectors_between(connection, model_id, dim, [stretch(row.number, size)])
        except DatabaseDamaged as error:
            yield row.number, str(error.__cause__ or error)
            continue
        if not np.array_equal(pack.image_ids, found.image_ids):
            yield row.number, "holds other contents than the rows"
            continue
        if problem := problem_of(found.vectors, pack):
            yield row.number, problem


def wrong_scene_packs(connection: Connection, scene_model_id: int) -> Iterator[tuple[int, str]]:
    """Compare every pack of labels with its rows: the number of each wrong one, and what is wrong with it."""
    dtype = _label_type(connection, scene_model_id)
    for row in _scene_rows(connection, scene_model_id):
        try:
            pack = _scene_pack(scene_model_id, row, dtype)
            found = labels_between(connection, scene_model_id, [stretch(row.number, LARGEST_RANGE)])
        except DatabaseDamaged as error:
            yield row.number, str(error.__cause__ or error)
            continue
        if not np.array_equal(pack.image_ids, found.image_ids):
            yield row.number, "holds other contents than the rows"
        elif not np.array_equal(pack.labels, found.labels):
            yield row.number, "holds other labels than the rows"
