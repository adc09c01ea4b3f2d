"""What a search reads: the vectors of a model, who passes a filter, and the records of the pictures to show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, Select, and_, func, select, true

from image_similarity.errors import DatabaseDamaged
from image_similarity.store import hash_lists, marks
from image_similarity.store.engine import is_sqlite
from image_similarity.store.schema import (
    embedding_table,
    file_table,
    image_scene_table,
    image_table,
    run_table,
    scene_table,
    source_table,
)
from image_similarity.values import Digests, ImageRecord, Place, SceneScore

# SQLite's default limit of variables in a statement is 32,766; ids are asked for in portions well below it.
PORTION = 10_000
# Made once: an alias costs more to make than the look-up it is for.
_GONE = run_table.alias("gone")


@dataclass(frozen=True, slots=True)
class PlaceFilter:
    """Which places count: of which sources, below which path, and whether those that are gone do."""

    sources: tuple[str, ...] = ()
    under: str | None = None
    include_gone: bool = False
    include_partial: bool = True

    @property
    def below(self) -> str:
        """The folder that paths must lie below, without slashes around it; "" for all, as "/" is the source itself."""
        return (self.under or "").strip("/")


@dataclass(frozen=True, slots=True)
class Gallery:
    """Contents with their vectors: `image_ids` int64 (N,), `vectors` float16 (N, dim), in order of image id."""

    image_ids: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float16]


def counting(filter_: PlaceFilter) -> ColumnElement[bool]:
    """The condition on rows of `file` that a filter puts on places."""
    conditions: list[ColumnElement[bool]] = [true()]
    if not filter_.include_gone:
        conditions.append(file_table.c.gone_run_id.is_(None))
    if filter_.sources:
        conditions.append(
            file_table.c.source_id.in_(
                select(source_table.c.id).where(source_table.c.name.in_(filter_.sources))
            )
        )
    if filter_.below:
        prefix = filter_.below + "/"
        conditions.append(func.substr(file_table.c.path, 1, len(prefix)) == prefix)
    return and_(*conditions)


def load(connection: Connection, model_id: int, dim: int, filter_: PlaceFilter) -> Gallery:
    """Load the vectors of one model for every content that has a place that counts."""
    holding = select(file_table.c.image_id).where(counting(filter_))
    statement = (
        select(embedding_table.c.image_id, embedding_table.c.vector)
        .where(embedding_table.c.model_id == model_id, embedding_table.c.image_id.in_(holding))
        .order_by(embedding_table.c.image_id)
    )
    if not filter_.include_partial:
        whole = select(image_table.c.id).where(image_table.c.partial.is_(False))
        statement = statement.where(embedding_table.c.image_id.in_(whole))
    ids, blobs, damaged = [np.empty(0, np.int64)], [b""], 0
    for rows in _portions_of(connection, statement):
        # Two wrong lengths may add up to a right one: each vector behind them would go to another picture.
        damaged += sum(len(vector) != 2 * dim for _, vector in rows)
        ids.append(np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows)))
        blobs.append(b"".join(row[1] for row in rows))
    image_ids = np.concatenate(ids)
    if damaged:
        raise DatabaseDamaged(
            f"{damaged} of {len(image_ids)} stored vectors have another length than {dim} numbers",
            hint="see which: image-similarity db verify; then restore a backup or index anew",
        )
    vectors = np.frombuffer(b"".join(blobs), dtype="<f2").reshape(len(image_ids), dim)
    return Gallery(image_ids, vectors)


def _portions_of(connection: Connection, statement: Select[Any]) -> Iterator[Sequence[Any]]:
    """The rows of a query, a portion at a time: a server would send them all at once else."""
    options = {} if is_sqlite(connection) else {"binary": True, "yield_per": PORTION}
    yield from connection.execute(statement, execution_options=options).partitions(PORTION)


def embedded_ids(
    connection: Connection, model_id: int, filter_: PlaceFilter
) -> npt.NDArray[np.int64]:
    """The ids of the contents that have a vector of a model and a place that counts, ascending."""
    holding = select(file_table.c.image_id).where(counting(filter_))
    statement = (
        select(embedding_table.c.image_id)
        .where(embedding_table.c.model_id == model_id, embedding_table.c.image_id.in_(holding))
        .order_by(embedding_table.c.image_id)
    )
    return np.array(connection.execute(statement).scalars().all(), dtype=np.int64)


def vector_of(
    connection: Connection, model_id: int, dim: int, sha256: str
) -> npt.NDArray[np.float16] | None:
    """The stored vector of a content, float16 (dim,), or None.

    Raises:
        DatabaseDamaged: If it is not of `dim` numbers.
    """
    statement = (
        select(embedding_table.c.vector)
        .join(image_table, image_table.c.id == embedding_table.c.image_id)
        .where(image_table.c.sha256 == sha256, embedding_table.c.model_id == model_id)
    )
    blob = connection.execute(statement).scalar()
    if blob is None:
        return None
    # SQLite keeps any type in any column.
    if not isinstance(blob, bytes) or len(blob) != 2 * dim:
        raise DatabaseDamaged(
            f"the stored vector of {sha256} is not of {dim} numbers",
            hint="see: image-similarity db verify; then restore a backup",
        )
    return np.frombuffer(blob, dtype="<f2")


def id_of(connection: Connection, sha256: str) -> int | None:
    """The id of a content, or None."""
    return connection.execute(
        select(image_table.c.id).where(image_table.c.sha256 == sha256)
    ).scalar()


def ids_of(connection: Connection, hashes: Collection[str]) -> dict[str, int]:
    """The ids of those contents that are stored, by their SHA-256."""
    found: dict[str, int] = {}
    waiting = iter(hashes)
    while portion := list(islice(waiting, PORTION)):
        statement = select(image_table.c.sha256, image_table.c.id)
        rows = connection.execute(statement.where(image_table.c.sha256.in_(portion)))
        found.update({sha256: id_ for sha256, id_ in rows})
    return found


def hashes_of(connection: Connection, image_ids: Collection[int]) -> list[str]:
    """The SHA-256 of contents, in order of id."""
    found: list[str] = []
    for portion in _portions(sorted(image_ids)):
        statement = select(image_table.c.sha256).where(image_table.c.id.in_(portion))
        found += connection.execute(statement.order_by(image_table.c.id)).scalars()
    return found


def labels_of(connection: Connection, scene_model_id: int, sha256: str) -> tuple[SceneScore, ...]:
    """The labels that a scene model gave a content, most probable first; none if it is not stored or has none."""
    image_id = id_of(connection, sha256)
    return (
        ()
        if image_id is None
        else scenes_of(connection, [image_id], scene_model_id).get(image_id, ())
    )


def scenes_of(
    connection: Connection, image_ids: Collection[int], model_id: int | None
) -> dict[int, tuple[SceneScore, ...]]:
    """The stored labels of contents, most probable first; with None those of every scene model, by model."""
    labels: dict[int, list[SceneScore]] = {}
    for portion in _portions(image_ids):
        statement = (
            select(
                image_scene_table.c.image_id, scene_table.c.name, image_scene_table.c.probability
            )
            .join(scene_table, scene_table.c.id == image_scene_table.c.scene_id)
            .where(image_scene_table.c.image_id.in_(portion))
            .order_by(
                image_scene_table.c.image_id, scene_table.c.model_id, image_scene_table.c.rank
            )
        )
        if model_id is not None:
            statement = statement.where(scene_table.c.model_id == model_id)
        for image_id, name, probability in connection.execute(statement):
            labels.setdefault(image_id, []).append(SceneScore(name, probability))
    return {image_id: tuple(scores) for image_id, scores in labels.items()}


def first_scenes(
    connection: Connection, image_ids: Collection[int], model_id: int
) -> dict[int, str]:
    """The name of the most probable scene of contents, by id; those without a label are not in it."""
    names = select(scene_table.c.id, scene_table.c.name).where(scene_table.c.model_id == model_id)
    name_of = {scene_id: name for scene_id, name in connection.execute(names)}
    found: dict[int, str] = {}
    # Not joined: SQLite would look up every scene of the model for each content, and take twenty times as long.
    image_id, scene_id = image_scene_table.c.image_id, image_scene_table.c.scene_id
    first = select(image_id, scene_id).where(image_scene_table.c.rank == 1)
    for portion in _portions(image_ids):
        rows = connection.execute(first.where(image_id.in_(portion)))
        found.update({image: name_of[scene] for image, scene in rows if scene in name_of})
    return found


def select_places(last_run: int | None = None) -> Select[Any]:
    """Select image ids and what `Place` has of each place; gone since which run, of those up to `last_run`."""
    ended = _GONE.c.id == file_table.c.gone_run_id
    if last_run is not None:
        ended &= _GONE.c.id <= last_run
    return (
        select(
            file_table.c.image_id,
            source_table.c.name,
            source_table.c.root_path,
            file_table.c.path,
            run_table.c.started_at,
            file_table.c.mtime_ns,
            _GONE.c.started_at,
            file_table.c.atime_ns,
        )
        .join(source_table, source_table.c.id == file_table.c.source_id)
        .join(run_table, run_table.c.id == file_table.c.first_run_id)
        .outerjoin(_GONE, ended)
    )


def places_of(
    connection: Connection, image_ids: Collection[int], filter_: PlaceFilter | None = None
) -> dict[int, tuple[Place, ...]]:
    """The places of contents by id: live ones first, then by source and path."""
    filter_ = filter_ or PlaceFilter(include_gone=True)
    places: dict[int, list[Place]] = {}
    for portion in _portions(image_ids):
        statement = (
            select_places()
            .where(file_table.c.image_id.in_(portion), counting(filter_))
            .order_by(file_table.c.gone_run_id.is_not(None), source_table.c.name, file_table.c.path)
        )
        for image_id, *row in connection.execute(statement):
            places.setdefault(image_id, []).append(Place(*row))
    return {image_id: tuple(found) for image_id, found in places.items()}


def addresses(connection: Connection) -> list[tuple[int, str, str, str, str]]:
    """Every place that still holds a content: its id and SHA-256, the source, its root, and the path below it."""
    return list(each_address(connection, PlaceFilter()))


def each_address(
    connection: Connection, filter_: PlaceFilter
) -> Iterator[tuple[int, str, str, str, str]]:
    """Every place that counts, one at a time; see `addresses`."""
    statement = (
        select(
            image_table.c.id,
            image_table.c.sha256,
            source_table.c.name,
            source_table.c.root_path,
            file_table.c.path,
        )
        .join(file_table, file_table.c.image_id == image_table.c.id)
        .join(source_table, source_table.c.id == file_table.c.source_id)
        .where(counting(filter_))
    )
    for row in connection.execute(statement):
        yield (*row,)


def records(
    connection: Connection,
    image_ids: Collection[int],
    *,
    scene_model: int | None = None,
    places: PlaceFilter | None = None,
) -> dict[int, ImageRecord]:
    """Everything known of contents, by id."""
    found = places_of(connection, image_ids, places)
    scenes = scenes_of(connection, image_ids, scene_model)
    result: dict[int, ImageRecord] = {}
    for portion in _portions(image_ids):
        rows = connection.execute(select(image_table).where(image_table.c.id.in_(portion))).all()
        decided = marks.marks_of(connection, portion)
        hashes = {row.id: Digests(row.sha256, row.sha1, row.md5) for row in rows}
        known = hash_lists.known(connection, hashes)
        for row in rows:
            result[row.id] = ImageRecord(
                sha256=row.sha256,
                sha1=row.sha1,
                md5=row.md5,
                size=row.size,
                width=row.width,
                height=row.height,
                format=row.format,
                mime=row.mime,
                partial=row.partial,
                exif=row.exif,
                places=found.get(row.id, ()),
                scenes=scenes.get(row.id, ()),
                decisions=decided.get(row.id, ()),
                known=known.get(row.id, ()),
            )
    return result


def _portions(ids: Iterable[int]) -> Iterator[list[int]]:
    ordered = [int(id_) for id_ in ids]
    for start in range(0, len(ordered), PORTION):
        yield ordered[start : start + PORTION]
