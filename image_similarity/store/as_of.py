"""What a database held at an earlier moment: rows are never deleted and ids only grow, so it can still be read.

A later run adds rows with greater ids and closes places under its own number. Two things leave no such trace: labels of
a scene model that a content was given later, and places that a run which was open at the moment closed after it. The
digest of the rows shows both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Integer,
    and_,
    cast,
    func,
    literal_column,
    or_,
    select,
    text,
)

from image_similarity.errors import DatabaseDamaged
from image_similarity.store import audit
from image_similarity.store.engine import is_sqlite, plain_rows
from image_similarity.store.gallery import PORTION, PlaceFilter, select_places
from image_similarity.store.gallery import counting as matching
from image_similarity.store.schema import (
    audit_table,
    embedding_table,
    file_table,
    image_scene_table,
    image_table,
    run_table,
    scene_table,
    source_table,
)
from image_similarity.values import Moment, Place

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Contents:
    """Some contents in the order of their ids: `image_ids` int64 (n,), SHA-256 each, `vectors` float16 (n, dim)."""

    image_ids: Ids
    sha256: tuple[str, ...]
    vectors: npt.NDArray[np.float16]


def now(connection: Connection) -> Moment:
    """The present state."""
    # Of a server several are open at a time, and an older one closes places under its smaller number.
    any_open = select(run_table.c.id).where(run_table.c.status == "running").limit(1)
    head = audit.head(connection)
    return Moment(
        run_id=connection.execute(select(func.max(run_table.c.id))).scalar() or 0,
        run_open=connection.execute(any_open).first() is not None,
        embeddings=connection.execute(select(func.max(embedding_table.c.id))).scalar() or 0,
        files=connection.execute(select(func.max(file_table.c.id))).scalar() or 0,
        revision=connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one(),
        audit_number=head.number if head else 0,
        audit_digest=head.digest if head else "",
    )


def is_of(connection: Connection, moment: Moment) -> bool:
    """Whether a moment can be one of this database: its audit chain holds the entry that was the head then."""
    if moment.audit_number == 0:
        return moment.embeddings <= now(connection).embeddings
    found = connection.execute(
        select(audit_table.c.digest).where(audit_table.c.id == moment.audit_number)
    ).scalar()
    return bool(found == moment.audit_digest)


def _was_there(moment: Moment) -> ColumnElement[bool]:
    return file_table.c.id <= moment.files


def _was_live(moment: Moment) -> ColumnElement[bool]:
    return or_(file_table.c.gone_run_id.is_(None), file_table.c.gone_run_id > moment.run_id)


def _counting(moment: Moment, filter_: PlaceFilter) -> ColumnElement[bool]:
    """The condition on rows of `file` that a filter put on places then."""
    conditions = [_was_there(moment), matching(replace(filter_, include_gone=True))]
    if not filter_.include_gone:
        conditions.append(_was_live(moment))
    return and_(*conditions)


def counting(connection: Connection, moment: Moment, filter_: PlaceFilter) -> Ids:
    """The ids of the contents, int64 ascending, that had a place that counts."""
    statement = select(file_table.c.image_id).distinct().where(_counting(moment, filter_))
    if not filter_.include_partial:
        whole = select(image_table.c.id).where(image_table.c.partial.is_(False))
        statement = statement.where(file_table.c.image_id.in_(whole))
    found = plain_rows(connection, statement)
    return np.sort(np.fromiter(chain.from_iterable(found), np.int64, len(found)))


def contents(
    connection: Connection, moment: Moment, model_id: int, dim: int, block: int
) -> Iterator[Contents]:
    """The contents that had a vector of a model, by id, `block` of them at a time.

    Raises:
        DatabaseDamaged: A vector is not of `dim` numbers.
    """
    for rows in _blocks(connection, _vectors(moment, model_id), block):
        if any(not isinstance(vector, bytes) or len(vector) != 2 * dim for _, _, vector in rows):
            raise DatabaseDamaged(
                f"a stored vector is not of {dim} numbers", hint="see: image-similarity db verify"
            )
        vectors = np.frombuffer(b"".join(row[2] for row in rows), dtype="<f2")
        yield Contents(
            np.fromiter((row[0] for row in rows), np.int64, len(rows)),
            tuple(row[1] for row in rows),
            vectors.reshape(len(rows), dim),
        )


def _vectors(moment: Moment, model_id: int) -> Executable:
    return (
        select(embedding_table.c.image_id, image_table.c.sha256, embedding_table.c.vector)
        .join(image_table, image_table.c.id == embedding_table.c.image_id)
        .where(embedding_table.c.model_id == model_id, embedding_table.c.id <= moment.embeddings)
        .order_by(embedding_table.c.image_id)
    )


def _blocks(connection: Connection, statement: Executable, block: int) -> Iterator[list[tuple]]:  # type: ignore[type-arg]
    if not is_sqlite(connection):
        portions = connection.execute(statement, execution_options={"yield_per": block})
        for part in portions.partitions():
            yield [tuple(row) for row in part]
        return
    cursor = connection.execute(statement).cursor
    while cursor is not None and (rows := cursor.fetchmany(block)):
        yield list(rows)


def labels(
    connection: Connection, scene_model_id: int, first: int, last: int
) -> dict[int, list[str]]:
    """The scenes of the contents with ids from `first` to `last`, the most probable first; the others have none."""
    statement = (
        select(image_scene_table.c.image_id, scene_table.c.name)
        .join(scene_table, scene_table.c.id == image_scene_table.c.scene_id)
        .where(
            image_scene_table.c.image_id.between(first, last),
            scene_table.c.model_id == scene_model_id,
        )
        .order_by(image_scene_table.c.image_id, image_scene_table.c.rank)
    )
    by_image = groupby(plain_rows(connection, statement), key=itemgetter(0))
    return {image_id: [name for _, name in rows] for image_id, rows in by_image}


def places(
    connection: Connection, moment: Moment, image_ids: Collection[int], filter_: PlaceFilter
) -> dict[int, list[Place]]:
    """The places of contents that counted then, by image id; times that a later run set are not in them."""
    ordered, found = sorted(image_ids), dict[int, list[Place]]()
    for start in range(0, len(ordered), PORTION):
        statement = select_places(moment.run_id).where(
            file_table.c.image_id.in_(ordered[start : start + PORTION]),
            _counting(moment, filter_),
        )
        for image_id, *row in connection.execute(statement):
            found.setdefault(image_id, []).append(Place(*row))
    return found


def roots(connection: Connection) -> dict[str, str]:
    """The root folder of each source, in text form, by name."""
    rows = connection.execute(select(source_table.c.name, source_table.c.root_path))
    return {name: root for name, root in rows}


def digest(
    connection: Connection, moment: Moment, model_id: int, scene_model_id: int | None
) -> str:
    """The SHA-256, hexadecimal, over the rows that a search at a moment looks at; reads all of them.

    It covers, each in the order of ids: the SHA-256 and the vector of every content that the model had a vector of; the
    scenes of every content with their ranks, if a scene model is given; and every place, with the content that it held
    and whether it still did.

    Raises:
        DatabaseDamaged: A row holds what its column cannot.
    """
    try:
        return _digest(connection, moment, model_id, scene_model_id)
    except (OverflowError, TypeError, ValueError) as error:
        # SQLite keeps any type in any column.
        raise DatabaseDamaged(
            f"a stored row is not what its column holds: {error}",
            hint="see which: image-similarity audit verify; then restore a backup",
        ) from error


def _digest(
    connection: Connection, moment: Moment, model_id: int, scene_model_id: int | None
) -> str:
    whole = hashlib.sha256()
    for rows in _blocks(connection, _vectors(moment, model_id), PORTION):
        whole.update(b"".join(bytes.fromhex(sha256) + vector for _, sha256, vector in rows))
    if scene_model_id is not None:
        whole.update(b"\nscenes\n")
        for rows in _blocks(connection, _scenes(scene_model_id), PORTION):
            whole.update(_lines(rows))
        for rows in _blocks(connection, _labels(moment, scene_model_id), PORTION):
            whole.update(np.array(rows, dtype="<i8").tobytes())
    whole.update(b"\nplaces\n")
    for rows in _blocks(connection, _places(moment), PORTION):
        whole.update(_lines(rows))
    return whole.hexdigest()


def _lines(rows: Iterable[Iterable[object]]) -> bytes:
    # No text of ours holds a NUL byte or a line feed: names are stored in their text form.
    lines = ("\0".join(map(str, row)) + "\n" for row in rows)
    return "".join(lines).encode("utf-8", "surrogatepass")


def _scenes(scene_model_id: int) -> Executable:
    c = scene_table.c
    return select(c.id, c.position, c.name).where(c.model_id == scene_model_id).order_by(c.id)


def _labels(moment: Moment, scene_model_id: int) -> Executable:
    """The labels of contents that were there; in the order of the primary key, so that nothing is sorted."""
    c = image_scene_table.c
    of_model = select(scene_table.c.id).where(scene_table.c.model_id == scene_model_id)
    return (
        select(c.image_id, c.scene_id, c.rank)
        .where(c.image_id <= _last_image(moment), c.scene_id.in_(of_model))
        .order_by(c.image_id, c.scene_id)
    )


def _places(moment: Moment) -> Executable:
    return (
        select(
            file_table.c.image_id,
            source_table.c.name,
            file_table.c.path,
            # As SQLite writes truth: the digest is over what it says.
            cast(_was_live(moment), Integer).label("live"),
        )
        .join(source_table, source_table.c.id == file_table.c.source_id)
        .where(_was_there(moment))
        .order_by(file_table.c.id)
    )


def _last_image(moment: Moment) -> ColumnElement[int]:
    """The greatest id of a content that had a vector then."""
    return (
        select(func.coalesce(func.max(embedding_table.c.image_id), literal_column("0")))
        .where(embedding_table.c.id <= moment.embeddings)
        .scalar_subquery()
    )
