"""Decisions of examiners in the database; each is written together with its entry of the audit chain.

A row has time and actor of its entry. None is ever deleted: what is withdrawn stays, with the time.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)

from image_similarity.store import audit
from image_similarity.store.schema import (
    file_table,
    image_table,
    mark_table,
    pair_mark_table,
    source_table,
)
from image_similarity.values import Decision

# A decision's name is that of its table and the number of its row.
_TABLES = {"m": mark_table, "p": pair_mark_table}

_MARKS = select(
    mark_table.c.id,
    mark_table.c.kind,
    mark_table.c.value,
    image_table.c.sha256,
    mark_table.c.at,
    mark_table.c.actor,
    mark_table.c.withdrawn_at,
    mark_table.c.image_id,
).join(image_table, image_table.c.id == mark_table.c.image_id)
_PAIRS = select(
    pair_mark_table.c.id,
    pair_mark_table.c.verdict,
    image_table.c.sha256,
    pair_mark_table.c.at,
    pair_mark_table.c.actor,
    pair_mark_table.c.query_sha256,
    pair_mark_table.c.withdrawn_at,
    pair_mark_table.c.image_id,
).join(image_table, image_table.c.id == pair_mark_table.c.image_id)
# Made once: asked for each query.
_VERDICTS = (
    select(image_table.c.sha256, pair_mark_table.c.verdict)
    .join(image_table, image_table.c.id == pair_mark_table.c.image_id)
    .where(
        pair_mark_table.c.query_sha256 == bindparam("query"),
        pair_mark_table.c.withdrawn_at.is_(None),
    )
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which decisions: those that meet every choice made. With a `tag` all those of contents that have it."""

    sha256: str = ""
    kind: str = ""
    value: str = ""
    query_sha256: str = ""
    tag: str = ""
    withdrawn: bool = False


def spelled(text: str) -> str:
    """A text as decisions are stored: composed characters, no blanks around it, so that equal ones are equal."""
    return unicodedata.normalize("NFC", text).strip()


def mark(
    connection: Connection, image_id: int, sha256: str, kind: str, value: str
) -> Decision | None:
    """Say something of a content; None if that stands already. A category takes the place of the one before."""
    standing = [each for each in marks_of(connection, [image_id]).get(image_id, ())]
    if any((each.kind, each.value) == (kind, value) for each in standing):
        return None
    if kind == "category":
        for each in standing:
            if each.kind == "category":
                withdraw(connection, each)
    said = {"did": "set", "kind": kind, "value": value, "sha256": sha256}
    entry = audit.append(connection, "mark", said)
    row = {"image_id": image_id, "kind": kind, "value": value}
    number = _insert(connection, "m", {**row, "at": entry.at, "actor": entry.actor})
    return Decision(f"m{number}", kind, value, sha256, entry.at, entry.actor)


def judge(
    connection: Connection, query_sha256: str, image_id: int, sha256: str, verdict: str
) -> Decision | None:
    """Say of a query and a content whether they belong together; None if that stands already, else it replaces."""
    statement = _PAIRS.where(
        pair_mark_table.c.query_sha256 == query_sha256,
        pair_mark_table.c.image_id == image_id,
        pair_mark_table.c.withdrawn_at.is_(None),
    )
    for each in _pairs(connection, statement):
        if each.value == verdict:
            return None
        withdraw(connection, each)
    said = {"did": "set", "kind": "verdict", "value": verdict, "sha256": sha256}
    entry = audit.append(connection, "mark", {**said, "query_sha256": query_sha256})
    row = {"query_sha256": query_sha256, "image_id": image_id, "verdict": verdict}
    number = _insert(connection, "p", {**row, "at": entry.at, "actor": entry.actor})
    return Decision(
        f"p{number}", "verdict", verdict, sha256, entry.at, entry.actor, query_sha256=query_sha256
    )


def withdraw(connection: Connection, decision: Decision) -> Decision:
    """Withdraw a decision that stands; gives it with the time."""
    said = {
        "did": "withdrawn",
        "kind": decision.kind,
        "value": decision.value,
        "sha256": decision.sha256,
    }
    if decision.query_sha256:
        said["query_sha256"] = decision.query_sha256
    entry = audit.append(connection, "mark", said)
    table = _TABLES[decision.name[0]]
    connection.execute(
        update(table)
        .where(table.c.id == int(decision.name[1:]), table.c.withdrawn_at.is_(None))
        .values(withdrawn_at=entry.at)
    )
    return replace(decision, withdrawn_at=entry.at)


def named(connection: Connection, name: str) -> Decision | None:
    """The decision of this name, standing or withdrawn, or None."""
    kind, number = name[:1], name[1:]
    # Longer numbers are no row's, and SQLite would not take them.
    if kind not in _TABLES or not (number.isascii() and number.isdecimal()) or len(number) > 18:
        return None
    if kind == "m":
        found = _marks(connection, _MARKS.where(mark_table.c.id == int(number)))
    else:
        found = _pairs(connection, _PAIRS.where(pair_mark_table.c.id == int(number)))
    return found[0] if found else None


def marks_of(connection: Connection, image_ids: Collection[int]) -> dict[int, tuple[Decision, ...]]:
    """What stands of contents, oldest first, by their ids, of which there may be a few thousand."""
    statement = _MARKS.where(
        mark_table.c.image_id.in_(image_ids), mark_table.c.withdrawn_at.is_(None)
    ).order_by(mark_table.c.id)
    found: dict[int, tuple[Decision, ...]] = {}
    for row in connection.execute(statement):
        found[row.image_id] = (*found.get(row.image_id, ()), _mark(row))
    return found


def verdicts(connection: Connection, query_sha256: str) -> dict[str, str]:
    """What stands of a query and contents, by the SHA-256 of these: "relevant" or "irrelevant"."""
    return {sha256: said for sha256, said in connection.execute(_VERDICTS, {"query": query_sha256})}


def tagged(tags: Collection[str]) -> Select[Any]:
    """A statement that gives the ids of the contents that have any of these tags, however these are spelled."""
    return (
        select(mark_table.c.image_id)
        .where(
            mark_table.c.kind == "tag",
            mark_table.c.value.in_([spelled(tag) for tag in tags]),
            mark_table.c.withdrawn_at.is_(None),
        )
        .distinct()
    )


def decisions(connection: Connection, *, withdrawn: bool = False) -> list[Decision]:
    """All decisions with a place of each content, what is said of contents first, each in order of time.

    Only those that stand, unless `withdrawn`.
    """
    found = []
    for statement, table in ((_MARKS, mark_table), (_PAIRS, pair_mark_table)):
        asked = statement.add_columns(_place(table.c.image_id)).order_by(table.c.id)
        if not withdrawn:
            asked = asked.where(table.c.withdrawn_at.is_(None))
        found += (_marks if table is mark_table else _pairs)(connection, asked)
    return found


def tags(connection: Connection) -> list[str]:
    """The tags that any content has now, in order."""
    statement = select(mark_table.c.value).where(
        mark_table.c.kind == "tag", mark_table.c.withdrawn_at.is_(None)
    )
    return sorted(connection.execute(statement.distinct()).scalars())


def latest(
    connection: Connection, asked: Asked, limit: int, before: Decision | None = None
) -> tuple[list[Decision], int]:
    """The latest decisions with a place of each content, those made `before` one, and how many there are in all.

    Of one second verdicts come first.
    """
    found: list[Decision] = []
    total = 0
    for name, statement in (("p", _PAIRS), ("m", _MARKS)):
        table = _TABLES[name]
        meant = _meant(name, asked)
        total += connection.execute(
            select(func.count())
            .select_from(table)
            .join(image_table, image_table.c.id == table.c.image_id)
            .where(*meant)
        ).scalar_one()
        if before is not None:
            meant.append(_earlier(name, before))
        wanted = statement.add_columns(_place(table.c.image_id)).where(*meant)
        wanted = wanted.order_by(table.c.at.desc(), table.c.id.desc()).limit(limit)
        found += (_marks if name == "m" else _pairs)(connection, wanted)
    # The sort is stable: of one second the verdicts, which were read first, stay first.
    return sorted(found, key=lambda each: each.at, reverse=True)[:limit], total


def _meant(name: str, asked: Asked) -> list[ColumnElement[bool]]:
    """The conditions on the rows of a table that are asked for."""
    table = _TABLES[name]
    kind, value = (
        (mark_table.c.kind, mark_table.c.value)
        if name == "m"
        else (literal("verdict"), pair_mark_table.c.verdict)
    )
    query = literal("") if name == "m" else pair_mark_table.c.query_sha256
    told = (
        (kind, asked.kind),
        (value, spelled(asked.value)),
        (image_table.c.sha256, asked.sha256),
        (query, asked.query_sha256),
    )
    found = [column == wanted for column, wanted in told if wanted]
    if asked.tag:
        found.append(table.c.image_id.in_(tagged([asked.tag])))
    if not asked.withdrawn:
        found.append(table.c.withdrawn_at.is_(None))
    return found


def _earlier(name: str, than: Decision) -> ColumnElement[bool]:
    """The rows of a table that follow a decision in the order of `latest`."""
    table = _TABLES[name]
    if than.name[0] == name:
        return tuple_(table.c.at, table.c.id) < (than.at, int(than.name[1:]))
    return table.c.at <= than.at if name == "m" else table.c.at < than.at


def _place(image_id: Any) -> Any:
    """Where a content lies, as hits print it: the first place that still holds it, else one that did."""
    return (
        select(source_table.c.name + ":" + file_table.c.path)
        .join(source_table, source_table.c.id == file_table.c.source_id)
        .where(file_table.c.image_id == image_id)
        .order_by(file_table.c.gone_run_id.is_not(None), source_table.c.name, file_table.c.path)
        .limit(1)
        .scalar_subquery()
        .label("place")
    )


def _insert(connection: Connection, name: str, values: dict[str, Any]) -> int:
    table = _TABLES[name]
    statement = insert(table).values(values).returning(table.c.id)
    return int(connection.execute(statement).scalar_one())


def _marks(connection: Connection, statement: Select[Any]) -> list[Decision]:
    return [_mark(row) for row in connection.execute(statement)]


def _mark(row: Any) -> Decision:
    return Decision(
        name=f"m{row.id}",
        kind=row.kind,
        value=row.value,
        sha256=row.sha256,
        at=row.at,
        actor=row.actor,
        withdrawn_at=row.withdrawn_at,
        place=getattr(row, "place", None) or "",
    )


def _pairs(connection: Connection, statement: Select[Any]) -> list[Decision]:
    return [
        Decision(
            name=f"p{row.id}",
            kind="verdict",
            value=row.verdict,
            sha256=row.sha256,
            at=row.at,
            actor=row.actor,
            query_sha256=row.query_sha256,
            withdrawn_at=row.withdrawn_at,
            place=getattr(row, "place", None) or "",
        )
        for row in connection.execute(statement)
    ]
