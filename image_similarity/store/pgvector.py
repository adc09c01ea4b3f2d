"""What a PostgreSQL server computes for a search: who counts and passes as conditions, distances, and its own index.

Nothing that grows with the number of vectors travels: counts do, and the nearest of a filter. The server computes in
float32. It adds up the squares of differences, never a product, so that a distance it gives is wrong by less than
`error_of` of itself, for vectors of any length; whoever must be exact reads the few vectors that this leaves in doubt.

The index of a model is a graph of near neighbours (HNSW) over its vectors at float16. Left to itself the server takes
from it the nearest few, applies the filter to these and gives what is left, often nothing: `nearest_by_index` has it
go on until enough have passed, and keeps it from other plans.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    cast,
    exists,
    func,
    literal,
    literal_column,
    not_,
    select,
    text,
    true,
)
from sqlalchemy.types import UserDefinedType

from image_similarity.errors import DatabaseDamaged
from image_similarity.store import dates, marks
from image_similarity.store.gallery import PORTION, PlaceFilter, counting
from image_similarity.store.half_vectors import to_text
from image_similarity.store.schema import (
    embedding_table,
    file_table,
    hash_entry_table,
    image_scene_table,
    image_table,
    scene_table,
)
from image_similarity.values import MeasuredRecall

Half = npt.NDArray[np.float16]
Ids = npt.NDArray[np.int64]
Condition = ColumnElement[bool]

# pgvector's indexes of HALFVEC end here.
MOST_DIMENSIONS = 4_000
# Candidates that a search keeps while it walks, and how far it may walk where few pass: the recall under filters that
# docs/scale.md tells of was measured with these. pgvector takes no more candidates than the second.
EFFORT = 800
MOST_EFFORT = 1_000
MOST_WALKED = 200_000

_ID = embedding_table.c.image_id
_IMAGE = image_table.c


# -- who counts -------------------------------------------------------------------------------------------------------
# Each a condition on a row of `embedding`. Those of whole statements, not lists of ids: of a hundred million contents
# no list is read here. They say what `standing` and `Shelf` say of a file.


def placed(filter_: PlaceFilter) -> list[Condition]:
    """Which contents have a place that counts; see `standing.standing`."""
    found: list[Condition] = []
    if filter_.sources or filter_.below:
        found.append(exists(1).where(file_table.c.image_id == _ID, counting(filter_)))
    elif not filter_.include_gone:
        live, gone = file_table.alias("live"), file_table.alias("gone")
        is_live = exists(1).where(live.c.image_id == gone.c.image_id, live.c.gone_run_id.is_(None))
        # The few that are gone are found by an index of their own; to look for the places of all takes far longer.
        was = exists(1).where(gone.c.image_id == _ID, gone.c.gone_run_id.is_not(None), ~is_live)
        found.append(~was)
    if not filter_.include_partial:
        partial = _IMAGE.partial == true()
        found.append(~exists(1).where(_IMAGE.id == _ID, partial))
    return found


def tagged(tags: Collection[str]) -> Condition:
    """Which contents have one of some tags."""
    found = marks.tagged(tags).subquery()
    return exists(1).where(found.c.image_id == _ID)


def taken(first: str | None, last: str | None) -> Condition:
    """Which contents were taken within a range; see `dates.between`."""
    return exists(1).where(_IMAGE.id == _ID, dates.between(first, last))


def undated() -> Condition:
    """Which contents do not tell when they were taken."""
    return exists(1).where(_IMAGE.id == _ID, dates.day().is_(None))


def known() -> Condition:
    """Which contents a hash list holds."""
    hashes = [func.bytes_of(column) for column in (_IMAGE.sha256, _IMAGE.sha1, _IMAGE.md5)]
    return exists(1).where(_IMAGE.id == _ID, hash_entry_table.c.digest.in_(hashes))


def one_of(image_ids: Collection[int]) -> Condition:
    """Which contents are one of a few."""
    return _ID.in_([*image_ids])


def in_scenes(scene_ids: Collection[int], *, top_only: bool) -> Condition:
    """Which contents have one of some scenes among their labels, or as their first."""
    shows: Condition = image_scene_table.c.scene_id.in_([*scene_ids])
    if top_only:
        shows &= image_scene_table.c.rank == 1
    # Not "in": of what is not in a list the server makes the list first, however few are asked about.
    return exists(1).where(image_scene_table.c.image_id == _ID, shows)


def labelled(scene_model_id: int) -> Condition:
    """Which contents have a label of a scene model; its negation finds those that have none."""
    return exists(1).where(
        image_scene_table.c.image_id == _ID,
        image_scene_table.c.scene_id == scene_table.c.id,
        scene_table.c.model_id == scene_model_id,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """The vectors of one model, of the contents that meet some conditions."""

    model_id: int
    dim: int
    conditions: tuple[Condition, ...] = ()

    def that(self, *more: Condition) -> Vectors:
        """Those of them that meet further conditions."""
        return Vectors(self.model_id, self.dim, (*self.conditions, *more))

    def but(self, *less: Condition) -> Vectors:
        """Those of them that do not meet all of some conditions."""
        return self.that(not_(and_(true(), *less)))

    def select(self, *columns: ColumnElement[Any]) -> Select[Any]:
        """A statement over their rows."""
        # The model's number stands in the text: of a parameter the server cannot tell that it is that of the index.
        of_model = embedding_table.c.model_id == literal_column(str(int(self.model_id)))
        return select(*columns).select_from(embedding_table).where(of_model, *self.conditions)


def count(connection: Connection, vectors: Vectors) -> int:
    """How many there are."""
    return int(connection.execute(vectors.select(func.count())).scalar_one())


def ids(connection: Connection, vectors: Vectors) -> list[int]:
    """Whose they are, in order."""
    return [*connection.execute(vectors.select(_ID).order_by(_ID)).scalars()]


def ids_at(connection: Connection, vectors: Vectors, positions: Sequence[int]) -> list[int]:
    """Whose are at some positions, from 0, in the order of image ids."""
    if not positions:
        return []
    row = (func.row_number().over(order_by=_ID) - 1).label("position")
    numbered = vectors.select(_ID, row).subquery()
    statement = select(numbered.c.image_id).where(numbered.c.position.in_([*positions]))
    return [*connection.execute(statement.order_by(numbered.c.image_id)).scalars()]


def scene_counts(
    connection: Connection, vectors: Vectors, scene_model_id: int
) -> list[tuple[int, int]]:
    """How many contents have each scene among their labels: its position in its model, and their number."""
    statement = (
        vectors.select(scene_table.c.position, func.count())
        .where(
            image_scene_table.c.image_id == _ID,
            image_scene_table.c.scene_id == scene_table.c.id,
            scene_table.c.model_id == scene_model_id,
        )
        .group_by(scene_table.c.position)
    )
    return [(position, number) for position, number in connection.execute(statement)]


def read(connection: Connection, vectors: Vectors, image_ids: Ids) -> Half:
    """The stored vectors, float16 (n, dim), of contents, ids ascending and each once.

    Raises:
        DatabaseDamaged: One is not there, or not of `dim` numbers.
    """
    of_model = Vectors(vectors.model_id, vectors.dim)
    found: dict[int, bytes] = {}
    for start in range(0, len(image_ids), PORTION):
        part = image_ids[start : start + PORTION].tolist()
        statement = of_model.that(one_of(part)).select(_ID, embedding_table.c.vector)
        found.update({image_id: data for image_id, data in connection.execute(statement)})
    data = b"".join(found.get(image_id, b"") for image_id in image_ids.tolist())
    if len(data) != 2 * vectors.dim * len(image_ids):
        raise DatabaseDamaged(
            f"a stored vector is not of {vectors.dim} numbers",
            hint="see which: image-similarity db verify; then restore a backup",
        )
    return np.frombuffer(data, dtype="<f2").reshape(-1, vectors.dim)


# -- distances --------------------------------------------------------------------------------------------------------


class _Half(UserDefinedType[Any]):
    cache_ok = True

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def get_col_spec(self, **kwargs: Any) -> str:
        return f"halfvec({self.dim})"


def error_of(dim: int) -> float:
    """By what share of itself a distance that the server gives is wrong, at most.

    With u = 2^-24 each difference of two float16 is rounded once and squared, and `dim` squares, none of them negative,
    are added: their sum is wrong by less than (dim + 3) u / (1 - (dim + 3) u) of itself, its root by half of that. This
    is more than twice as much, for whatever instructions the server's processor has.
    """
    return (dim + 8) * 2.0**-24


def _distance(dim: int, query: Half) -> ColumnElement[float]:
    wanted = cast(literal(to_text(query.astype("<f2").tobytes()), Text), _Half(dim))
    column: ColumnElement[float] = literal_column(f"CAST(embedding.vector AS halfvec({int(dim)}))")
    return column.op("<->", return_type=literal(0.0).type)(wanted)


def nearest(
    connection: Connection,
    vectors: Vectors,
    query: Half,
    number: int | None,
    furthest: float | None,
) -> list[tuple[int, float]]:
    """The `number` nearest to a query, none beyond `furthest`: image ids and distances, the server's; nearest first.

    All are compared: in the order of a sum no index can give them.
    """
    distance = _distance(vectors.dim, query) + literal_column("0")
    compared = vectors.select(_ID, distance.label("distance"))
    if furthest is not None:
        compared = compared.where(distance <= furthest)
    # Its own statement, which the offset keeps: the server would else sort all, whole vectors, before it filters them.
    each = compared.offset(literal_column("0")).subquery()
    statement = select(each).order_by(each.c.distance).limit(number)
    return [(image_id, far) for image_id, far in connection.execute(statement)]


def count_within(
    connection: Connection, vectors: Vectors, query: Half, sure: float, unsure: float
) -> tuple[int, list[int]]:
    """How many are nearer than `sure`, and whose are from there to `unsure`."""
    distance = _distance(vectors.dim, query) + literal_column("0")
    near = distance < sure
    between = and_(distance >= sure, distance <= unsure)
    statement = vectors.select(
        func.count().filter(near), func.array_agg(_ID).filter(between)
    ).where(distance <= unsure)
    number, image_ids = connection.execute(statement).one()
    return int(number), image_ids or []


# -- the index --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a model as the server has it: whether it is whole, its size, and what was measured after its making.

    `graph` is the number of the file that it is in, another one of an index that was made anew. `about` is empty of one
    that nobody measured, or whose comment somebody changed.
    """

    valid: bool
    size_bytes: int
    graph: int
    about: dict[str, Any]

    @property
    def recall(self) -> MeasuredRecall | None:
        """How often it found the true nearest; None also of a graph that is not the measured one."""
        # A restored dump and REINDEX make another graph, and leave the comment.
        if self.about.get("graph") != self.graph:
            return None
        try:
            return MeasuredRecall(**self.about["recall"])
        except (KeyError, TypeError):
            return None


def index_name(model_id: int) -> str:
    """The name of a model's index."""
    return f"ix_embedding_vector_{int(model_id)}"


_INDEX = text(
    "SELECT indisvalid, pg_relation_size(indexrelid), pg_relation_filenode(indexrelid),"
    " obj_description(indexrelid, 'pg_class')"
    " FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
    " WHERE indrelid = to_regclass('embedding') AND relname = :name"
)


def index_of(connection: Connection, model_id: int) -> Index | None:
    """The index of a model, or None."""
    row = connection.execute(_INDEX, {"name": index_name(model_id)}).one_or_none()
    if row is None:
        return None
    try:
        about = json.loads(row[3] or "{}")
    except ValueError:
        about = {}
    return Index(row[0], row[1], row[2], about if isinstance(about, dict) else {})


def nearest_by_index(
    connection: Connection, vectors: Vectors, query: Half, number: int
) -> list[int]:
    """Whose are about the `number` nearest to a query, as its model's index tells; fewer if it walked too far.

    The order is nearly theirs. Where there is no index all are compared.
    """
    distance = _distance(vectors.dim, query)
    statement = vectors.select(_ID).order_by(distance).limit(number)
    with _walking(connection, min(MOST_EFFORT, max(EFFORT, number))):
        return [*connection.execute(statement).scalars()]


@contextmanager
def _walking(connection: Connection, effort: int) -> Iterator[None]:
    """Settings under which the server walks through the index, asking of each content that it meets whether it passes.

    By its own reckoning it would often rather find all that pass and sort them. What is set ends with the block.
    """
    settings = {
        # With Citus the servers behind this one do not hear of the others without it; without Citus it says nothing.
        "citus.propagate_set_commands": "local",
        "hnsw.ef_search": effort,
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.max_scan_tuples": MOST_WALKED,
        # Or a long walk ends where work_mem is full, whatever max_scan_tuples says.
        "hnsw.scan_mem_multiplier": 32,
        # A plan of its own for each: the general one does not know how many are wanted.
        "plan_cache_mode": "force_custom_plan",
        "enable_sort": "off",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        # Or each content is compared with all that are gone, say, in the place of one look into an index.
        "enable_material": "off",
        "max_parallel_workers_per_gather": 0,
        "jit": "off",
    }
    step = connection.begin_nested()
    try:
        connection.exec_driver_sql(
            "; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items())
        )
        yield
    finally:
        step.rollback()
