"""Sealing: a SHA-256 over stored rows, table by table; what writes an entry of the audit chain and what checks it.

Rows are read back from the database, within the transaction that wrote them, in one canonical form and without the
columns that later runs may change. Beside the digest of all rows stand the first bytes of each row's own, in the order
of ids, by which a check names the row that was changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Integer, Select, Text, func, select
from sqlalchemy import type_coerce as as_type

from image_similarity.store.schema import (
    embedding_table,
    failure_table,
    file_table,
    image_scene_table,
    image_table,
    model_table,
    pdq_table,
    run_table,
    scene_table,
    source_table,
)

Ranges = Sequence[tuple[int, int]]

# Of each row's digest, kept to name a changed row: 4 characters a row in an entry. That two rows agree in them by
# chance, once in 16 million, hides the name of the row, not the change.
KEPT_BYTES = 3
# Rows sealed together where there is no batch.
PORTION = 4096
# No id is greater; SQLite's own limit.
LAST_ID = 2**63 - 1
# The tables whose new rows follow on the greatest id before.
_GROWING = (image_table, file_table, embedding_table, failure_table)


@dataclass(frozen=True, slots=True)
class Seal:
    """A digest over rows: those of a table (labels: of a model) with ids in `ranges`, of which none is missing.

    `sha256` is over the rows' own SHA-256 in the order of ids; `rows` are the first KEPT_BYTES of each, in base64.
    """

    table: str
    ranges: tuple[tuple[int, int], ...]
    count: int
    sha256: str
    rows: str
    model: int = 0

    def as_json(self) -> dict[str, Any]:
        """The form in which it stands in an entry."""
        said = {"table": self.table, "ids": self.ranges, "count": self.count}
        said |= {"sha256": self.sha256, "rows": self.rows}
        return {**said, "model": self.model} if self.model else said


@dataclass(frozen=True, slots=True)
class SealedRow:
    """One row: its id, by what a person knows it, and the SHA-256 of its canonical form."""

    id: int
    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not as it was sealed: "changed" or "missing", with what it is called now."""

    kind: str
    id: int | None
    name: str


# -- what is sealed -------------------------------------------------------------------------------------------------

# Each statement gives (id, name, values...); rows with one id that follow each other are one row to us. All joins are
# outer: a row whose reference was taken away must come out as changed, not as missing. JSON, booleans and blobs are
# read as they are stored, because SQLite keeps any type in any column and the tidy form would hide that.


def _raw(column: Column[Any]) -> ColumnElement[Any]:
    return as_type(column, Text)


def _images(model: int) -> Select[Any]:
    c = image_table.c
    facts = (c.sha1, c.md5, c.size, c.width, c.height, c.format, c.mime)
    stored = (as_type(c.partial, Integer), _raw(c.exif))
    return select(c.id, c.sha256, c.sha256, *facts, *stored).order_by(c.id)


def _files(model: int) -> Select[Any]:
    c = file_table.c
    return (
        select(c.id, c.path, source_table.c.name, c.path, image_table.c.sha256)
        .outerjoin(source_table, source_table.c.id == c.source_id)
        .outerjoin(image_table, image_table.c.id == c.image_id)
        .order_by(c.id)
    )


def _embeddings(model: int) -> Select[Any]:
    c = embedding_table.c
    sha256 = image_table.c.sha256
    return (
        select(c.id, sha256, sha256, model_table.c.fingerprint, _raw(c.vector))
        .outerjoin(image_table, image_table.c.id == c.image_id)
        .outerjoin(model_table, model_table.c.id == c.model_id)
        .order_by(c.id)
    )


def _labels(model: int) -> Select[Any]:
    c, sha256 = image_scene_table.c, image_table.c.sha256
    return (
        select(
            c.image_id,
            sha256,
            sha256,
            model_table.c.fingerprint,
            c.rank,
            scene_table.c.name,
            c.probability,
        )
        .join(scene_table, scene_table.c.id == c.scene_id)
        .outerjoin(model_table, model_table.c.id == scene_table.c.model_id)
        .outerjoin(image_table, image_table.c.id == c.image_id)
        .where(scene_table.c.model_id == model)
        .order_by(c.image_id, c.rank, c.scene_id)
    )


def _failures(model: int) -> Select[Any]:
    c = failure_table.c
    said = (c.path, c.stage, c.error, c.message, c.sha256)
    return (
        select(c.id, c.path, c.run_id, source_table.c.name, *said)
        .outerjoin(source_table, source_table.c.id == c.source_id)
        .order_by(c.id)
    )


def _pdq(model: int) -> Select[Any]:
    c, sha256 = pdq_table.c, image_table.c.sha256
    return (
        select(c.image_id, sha256, sha256, c.quality, _raw(c.hash))
        .outerjoin(image_table, image_table.c.id == c.image_id)
        .order_by(c.image_id)
    )


def _models(model: int) -> Select[Any]:
    c = model_table.c
    columns = [_raw(column) for column in c if column is not c.id]
    return (
        select(c.id, c.name, *columns, scene_table.c.position, scene_table.c.name)
        .outerjoin(scene_table, scene_table.c.model_id == c.id)
        .order_by(c.id, scene_table.c.position, scene_table.c.id)
    )


def _runs(model: int) -> Select[Any]:
    c = run_table.c
    stored = (_raw(c.environment), _raw(c.options))
    return (
        select(c.id, c.kind, c.kind, source_table.c.name, c.started_at, c.tool_version, *stored)
        .add_columns(c.host, c.pid)
        .outerjoin(source_table, source_table.c.id == c.source_id)
        .order_by(c.id)
    )


def _accounts(model: int) -> Select[Any]:
    c = run_table.c
    return (
        select(c.id, c.kind, c.status, c.finished_at, _raw(c.account))
        .where(c.status != "running")
        .order_by(c.id)
    )


def _gone(model: int) -> Select[Any]:
    c = file_table.c
    return _by_run(c.gone_run_id, c.id)


def _resolved(model: int) -> Select[Any]:
    c = failure_table.c
    return _by_run(c.resolved_run_id, c.id)


def _by_run(run: Column[Any], row: Column[Any]) -> Select[Any]:
    """The rows that each run closed; not of a run that may still close more."""
    return (
        select(run, run_table.c.kind, row)
        .outerjoin(run_table, run_table.c.id == run)
        .where(run.is_not(None), func.coalesce(run_table.c.status, "") != "running")
        .order_by(run, row)
    )


_STATEMENTS: dict[str, Callable[[int], Select[Any]]] = {
    "model": _models,
    "run": _runs,
    "image": _images,
    "file": _files,
    "embedding": _embeddings,
    "labels": _labels,
    "pdq": _pdq,
    "failure": _failures,
    "account": _accounts,
    "gone": _gone,
    "resolved": _resolved,
}
# What a run's end seals: its account, the places it closed, the failures it settled.
_OF_AN_END = ("account", "gone", "resolved")


def rows_between(
    connection: Connection, table: str, first: int, last: int, model: int = 0
) -> Iterator[SealedRow]:
    """The rows with ids from `first` to `last`, in the order of ids, each in its canonical form."""
    statement = _STATEMENTS[table](model)
    key = statement.selected_columns[0]
    found = connection.execute(statement.where(key.between(first, last)))
    for id_, parts in groupby(found, key=itemgetter(0)):
        lines = list(parts)
        digest = hashlib.sha256(b"".join(_canonical(values) for _, _, *values in lines))
        yield SealedRow(id_, str(lines[0][1] or ""), digest.digest())


def _canonical(values: Sequence[Any]) -> bytes:
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=True, default=_blob)
    return text.encode("ascii") + b"\n"


def _blob(value: object) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    raise TypeError(type(value).__name__)


# -- writing --------------------------------------------------------------------------------------------------------


def seal(connection: Connection, table: str, ranges: Ranges, model: int = 0) -> Seal | None:
    """Seal the rows of a table with ids in `ranges` (ascending), as they stand now; None if there is none."""
    rows = [
        row for first, last in ranges for row in rows_between(connection, table, first, last, model)
    ]
    if not rows:
        return None
    return Seal(
        table,
        tuple(ranges_of(row.id for row in rows)),
        len(rows),
        _digest(rows),
        base64.b64encode(b"".join(row.digest[:KEPT_BYTES] for row in rows)).decode("ascii"),
        model,
    )


def marks(connection: Connection) -> dict[str, int]:
    """The greatest ids before a batch is written, for `seal_since`."""
    greatest = [
        select(func.coalesce(func.max(table.c.id), 0)).scalar_subquery().label(table.name)
        for table in _GROWING
    ]
    return dict(connection.execute(select(*greatest)).mappings().one())


def seal_since(
    connection: Connection,
    before: Mapping[str, int],
    *,
    labels: Mapping[int, Collection[int]] | None = None,
    pdq: Collection[int] = (),
    runs: Collection[int] = (),
) -> list[dict[str, Any]]:
    """Seal what was written since `marks` was asked, within the same transaction; gives the "rows" of an entry.

    Args:
        connection: Of the transaction that wrote.
        before: What `marks` gave.
        labels: The ids of the contents that were labelled, by the id of the scene model.
        pdq: The ids of the contents that got a PDQ hash.
        runs: Runs that were taken over from elsewhere, whole; runs of this program seal themselves.
    """
    seals = [seal(connection, table, [(last + 1, LAST_ID)]) for table, last in before.items()]
    for model, images in (labels or {}).items():
        seals.append(seal(connection, "labels", ranges_of(sorted(images)), model))
    seals.append(seal(connection, "pdq", ranges_of(sorted(pdq))))
    for table in ("run", *_OF_AN_END) if runs else ():
        seals.append(seal(connection, table, ranges_of(sorted(runs))))
    return _as_json(seals)


def seal_rows(connection: Connection, tables: Iterable[str], row: int) -> list[dict[str, Any]]:
    """Seal one row in each of some tables, such as a model that was recorded."""
    return _as_json(seal(connection, table, [(row, row)]) for table in tables)


def seal_begin(connection: Connection, run_id: int) -> list[dict[str, Any]]:
    """Seal what a run was told."""
    return seal_rows(connection, ["run"], run_id)


def seal_end(connection: Connection, run_id: int) -> list[dict[str, Any]]:
    """Seal the account of a run that has ended, the places that it closed and the failures that it settled."""
    return seal_rows(connection, _OF_AN_END, run_id)


def _as_json(seals: Iterable[Seal | None]) -> list[dict[str, Any]]:
    return [each.as_json() for each in seals if each is not None]


def _digest(rows: Iterable[SealedRow]) -> str:
    return hashlib.sha256(b"".join(row.digest for row in rows)).hexdigest()


# -- checking -------------------------------------------------------------------------------------------------------


def seals_in(detail: str) -> list[Seal]:
    """The seals of an entry, most have none.

    Raises:
        ValueError: The text is none that this module wrote.
    """
    try:
        said = json.loads(detail)
        listed = said.get("rows", []) if isinstance(said, dict) else []
        return [_seal_of(each) for each in listed]
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no list of sealed rows: {error!r}") from error


def _seal_of(said: Mapping[str, Any]) -> Seal:
    ranges = tuple((int(first), int(last)) for first, last in said["ids"])
    found = Seal(
        said["table"], ranges, said["count"], said["sha256"], said["rows"], said.get("model", 0)
    )
    in_order = all(-LAST_ID <= a <= b <= LAST_ID for a, b in ranges) and all(
        before[1] < after[0] for before, after in pairwise(ranges)
    )
    counted = sum(last - first + 1 for first, last in ranges)
    kept = len(base64.b64decode(found.rows, validate=True))
    sound = found.table in _STATEMENTS and in_order and isinstance(found.model, int)
    if not sound or counted != found.count or kept != KEPT_BYTES * found.count:
        raise ValueError("its ranges, counts and rows do not agree")
    return found


def differences(connection: Connection, sealed: Seal) -> list[Difference]:
    """What of the sealed rows is not as it was sealed, in the order of ids; nothing if all is."""
    rows = {
        row.id: row
        for first, last in sealed.ranges
        for row in rows_between(connection, sealed.table, first, last, sealed.model)
    }
    if len(rows) == sealed.count and _digest(rows.values()) == sealed.sha256:
        return []
    kept = base64.b64decode(sealed.rows)
    found = []
    for place, id_ in enumerate(_ids(sealed.ranges)):
        row = rows.get(id_)
        if row is None:
            found.append(Difference("missing", id_, ""))
        elif row.digest[:KEPT_BYTES] != kept[KEPT_BYTES * place : KEPT_BYTES * (place + 1)]:
            found.append(Difference("changed", id_, row.name))
    return found or [Difference("changed", None, "")]


Covered = dict[tuple[str, int], list[tuple[int, int]]]


def cover(covered: Covered, sealed: Seal) -> None:
    """Note that the rows of a seal stand in an entry."""
    covered.setdefault((sealed.table, sealed.model), []).extend(sealed.ranges)


def uncovered(
    connection: Connection, covered: Covered
) -> Iterator[tuple[str, int, tuple[int, int], str]]:
    """The rows that stand in no entry: table, model (of labels), a range of ids, and the name of its first row."""
    models = connection.execute(select(scene_table.c.model_id).distinct()).scalars().all()
    keys = [(table, 0) for table in _STATEMENTS if table != "labels"]
    for table, model in [*keys, *(("labels", model) for model in sorted(models))]:
        for first, last in _gaps(covered.get((table, model), [])):
            statement = _STATEMENTS[table](model)
            key, name = list(statement.selected_columns)[:2]
            ids = statement.with_only_columns(key, name).where(key.between(first, last))
            names = {id_: name for id_, name in connection.execute(ids)}
            for stretch in ranges_of(names):
                yield table, model, stretch, str(names[stretch[0]] or "")


def seal_uncovered(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """Seal all that stands in a database without a chain, PORTION rows at a time; gives the "rows" of entries."""
    for table, model, (first, last), _ in list(uncovered(connection, {})):
        for start in range(first, last + 1, PORTION):
            portion = [(start, min(last, start + PORTION - 1))]
            yield _as_json([seal(connection, table, portion, model)])


def ranges_of(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending ids as ranges, first and last each."""
    ranges: list[tuple[int, int]] = []
    for id_ in ids:
        if ranges and id_ == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], id_)
        else:
            ranges.append((id_, id_))
    return ranges


def _ids(ranges: Ranges) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


def _gaps(ranges: Ranges) -> Iterator[tuple[int, int]]:
    """The ranges between ranges, which may overlap and stand in any order, and after the last."""
    free = -LAST_ID
    for first, last in sorted(ranges):
        if first > free:
            yield free, first - 1
        free = max(free, last + 1)
    if free <= LAST_ID:
        yield free, LAST_ID
