"""Sealing: a SHA-256 over stored rows, table by table; what writes an entry of the audit chain and what checks it.

Rows are read back from the database, within the transaction that wrote them, in one canonical form and without the
columns that later runs may change. Beside the digest of all rows stand the first bytes of each row's own, in the order
of ids, by which a check names the row that was changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, select

from image_similarity.errors import DatabaseError
from image_similarity.store.engine import is_sqlite, run_plain
from image_similarity.store.schema import scene_table

Ranges = Sequence[tuple[int, int]]

# Of each row's digest, kept to name a changed row: 11 bytes a picture in an entry. That they agree by chance, once in
# 65,536 changes, hides the name of the row, not the change.
KEPT_BYTES = 2
# Rows sealed together where there is no batch.
PORTION = 4096
# No id is greater; SQLite's own limit.
LAST_ID = 2**63 - 1
# The tables whose new rows follow on the greatest id before.
_GROWING = ("image", "file", "embedding", "failure")
_VALUES = itemgetter(slice(2, None))


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


@dataclass(frozen=True, slots=True)
class _Table:
    """The SELECT of some rows: an id, a name, values; lines with one id that follow each other are one row to us.

    Plain SQL: values come as SQLite keeps them, of any type in any column, and building and caching SQLAlchemy's form
    took half of the time of a seal. On a server they are turned into what SQLite would keep. All joins are outer: a row
    whose reference was taken away must come out as changed, not as missing.
    """

    key: str
    columns: str
    rows: str
    where: str = "1 = 1"
    order: str = ""

    def select(self, columns: str, *, on_server: bool) -> str:
        if on_server:
            columns = ", ".join(_ON_SERVER.get(each, each) for each in columns.split(", "))
        by = ", ".join(filter(None, (self.key, self.order)))
        within = f"{self.key} BETWEEN ? AND ?"
        chosen = f"SELECT {self.key}, {columns} FROM {self.rows}"  # noqa: S608 - words of ours
        return f"{chosen} WHERE {within} AND {self.where} ORDER BY {by}"


# What gives the same value on a server as SQLite keeps: a row's seal must hold wherever the row is moved to.
_ON_SERVER = {
    "partial": "partial::int",
    "vector": "halfvec_send(vector)",
    **{
        column: f"{column}::text"
        for column in ("preprocess", "environment", "options", "account", "exif")
    },
}


_IMAGE = "LEFT JOIN image ON image.id = {}.image_id"
_SOURCE = "LEFT JOIN source ON source.id = {}.source_id"
_TABLES = {
    "model": _Table(
        "model.id",
        "model.name, fingerprint, architecture, weights_sha256, preprocess, dim, dtype, metric, normalisation, "
        "numeric_class, scene_top_k, scene_mass, licence, origin, created_at, position, scene.name",
        "model LEFT JOIN scene ON scene.model_id = model.id",
        order="position, scene.id",
    ),
    "run": _Table(
        "run.id",
        "kind, source.name, started_at, tool_version, environment, options, host, pid",
        "run " + _SOURCE.format("run"),
    ),
    "image": _Table(
        "id",
        "sha256, sha1, md5, size, width, height, format, mime, partial, exif, first_run_id",
        "image",
    ),
    "file": _Table(
        "file.id",
        "path, source.name, sha256, file.first_run_id",
        f"file {_SOURCE.format('file')} {_IMAGE.format('file')}",
    ),
    "embedding": _Table(
        "embedding.id",
        "sha256, fingerprint, vector, embedding.run_id",
        f"embedding {_IMAGE.format('embedding')} LEFT JOIN model ON model.id = embedding.model_id",
    ),
    "labels": _Table(
        "image_scene.image_id",
        "sha256, rank, scene.name, probability",
        f"image_scene JOIN scene ON scene.id = scene_id {_IMAGE.format('image_scene')}",
        where="scene.model_id = ?",
        order="rank, scene_id",
    ),
    "pdq": _Table("pdq.image_id", "sha256, quality, hash, run_id", f"pdq {_IMAGE.format('pdq')}"),
    "failure": _Table(
        "failure.id",
        "path, run_id, source.name, stage, error, message, sha256",
        "failure " + _SOURCE.format("failure"),
    ),
    "account": _Table(
        "id", "kind, status, finished_at, account", "run", where="status <> 'running'"
    ),
    # Of runs that have ended: another may still close more.
    "gone": _Table(
        "gone_run_id",
        "kind, file.id",
        "file LEFT JOIN run ON run.id = gone_run_id",
        where="coalesce(status, '') <> 'running'",
        order="file.id",
    ),
    "resolved": _Table(
        "resolved_run_id",
        "kind, failure.id",
        "failure LEFT JOIN run ON run.id = resolved_run_id",
        where="coalesce(status, '') <> 'running'",
        order="failure.id",
    ),
}
# What a run's end seals: its account, the places it closed, the failures it settled.
_OF_AN_END = ("account", "gone", "resolved")


def rows_between(
    connection: Connection, table: str, first: int, last: int, model: int = 0
) -> Iterator[SealedRow]:
    """The rows with ids from `first` to `last`, in the order of ids, each with the digest of its canonical form."""
    found = _select(connection, table, _TABLES[table].columns, first, last, model)
    for id_, lines in groupby(found, key=itemgetter(0)):
        first_line, *more = lines
        name = first_line[1]
        values = [name, first_line[2:], *map(_VALUES, more)]
        digest = hashlib.sha256(_encode(values).encode("ascii")).digest()
        yield SealedRow(id_, str(name or ""), digest)


def _select(
    connection: Connection, table: str, columns: str, first: int, last: int, model: int
) -> Sequence[tuple[Any, ...]]:
    on_server = not is_sqlite(connection)
    statement = _TABLES[table].select(columns, on_server=on_server)
    bound = (first, last, model) if table == "labels" else (first, last)
    cursor = run_plain(connection, statement, bound).cursor
    try:
        found = [] if cursor is None else cursor.fetchall()
    except sqlite3.Error as error:
        # Past SQLAlchemy, which names errors elsewhere: text that is no UTF-8 shows only now.
        raise DatabaseError(str(error)) from error
    if on_server and table == "embedding" and columns == _TABLES[table].columns:
        from image_similarity.store.half_vectors import from_sent

        return [(*row[:3], from_sent(row[3]), *row[4:]) for row in found]
    return found


def _blob(value: object) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    raise TypeError(type(value).__name__)


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, default=_blob).encode


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
    greatest = [f"(SELECT coalesce(max(id), 0) FROM {table})" for table in _GROWING]  # noqa: S608 - words of ours
    found = connection.exec_driver_sql(f"SELECT {', '.join(greatest)}").one()
    return dict(zip(_GROWING, found, strict=True))


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
    sound = found.table in _TABLES and in_order and isinstance(found.model, int)
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
    keys = [(table, 0) for table in _TABLES if table != "labels"]
    for table, model in [*keys, *(("labels", model) for model in sorted(models))]:
        name = _TABLES[table].columns.partition(",")[0]
        for first, last in _gaps(covered.get((table, model), [])):
            names = dict(_select(connection, table, name, first, last, model))
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
