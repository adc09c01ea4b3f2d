"""The audit chain: what was done to a database, each entry bound to the one before by its digest.

An entry is appended in the transaction of what it tells of, so that neither is there without the other. The chain
shows an inner entry that was changed, removed or put elsewhere; a cut tail or a chain written anew shows only against a
head that was kept elsewhere.
"""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, insert, select

from image_similarity.store import clock, processes
from image_similarity.store.schema import NO_DIGEST, audit_table, merged_audit_table
from image_similarity.values import AuditEntry

_EXAMINER: ContextVar[str] = ContextVar("examiner", default="")


def append(connection: Connection, action: str, detail: Mapping[str, Any]) -> AuditEntry:
    """Append an entry within the caller's transaction, which must hold the write lock.

    Args:
        connection: A connection of `Catalog.writing`.
        action: What was done, in one word: "batch", "report", "mark".
        detail: What of, as JSON values; lists of rows by their digest, not in full.
    """
    last = head(connection)
    number = last.number + 1 if last else 1
    previous = last.digest if last else NO_DIGEST
    at, actor, text = clock.now(), _actor(), canonical(detail)
    entry = AuditEntry(
        number, at, actor, action, text, previous, digest(number, at, actor, action, text, previous)
    )
    connection.execute(
        insert(audit_table).values(
            id=entry.number,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            detail=entry.detail,
            previous=entry.previous,
            digest=entry.digest,
        )
    )
    return entry


def head(connection: Connection) -> AuditEntry | None:
    """The last entry, or None of a database that has none yet."""
    row = connection.execute(select(audit_table).order_by(audit_table.c.id.desc()).limit(1)).first()
    return None if row is None else AuditEntry(*row)


def entries(
    connection: Connection, last: int | None = None, *, after: int = 0
) -> Iterator[AuditEntry]:
    """The entries in their order: all, those after a number, or the `last` so many."""
    statement = select(audit_table).order_by(audit_table.c.id)
    if after:
        statement = statement.where(audit_table.c.id > after)
    if last is not None:
        newest = select(audit_table.c.id).order_by(audit_table.c.id.desc()).limit(last)
        statement = statement.where(audit_table.c.id.in_(newest))
    # Said of this statement: of the connection it would hold for all that follow.
    for row in connection.execute(statement, execution_options={"yield_per": 256}):
        yield AuditEntry(*row)


def adopt(
    connection: Connection, others: Iterable[AuditEntry], detail: Mapping[str, Any]
) -> AuditEntry:
    """Keep the chain of a database that is merged into this one, whole, and append the entry that names its head.

    `others` are all its entries in order, as `entries` gives them. The detail gets a "head" with number and digest, or
    None for a chain without entries.
    """
    rows = [asdict(each) for each in others]
    head = {name: rows[-1][name] for name in ("number", "digest")} if rows else None
    entry = append(connection, "merge", {**detail, "head": head})
    if rows:
        values = [{**row, "merge_id": entry.number} for row in rows]
        connection.execute(insert(merged_audit_table), values)
    return entry


def merged(connection: Connection) -> Iterator[tuple[int, list[AuditEntry]]]:
    """The chains that were merged into this one: the number of our entry that tells of each, and its entries."""
    columns = [c for c in merged_audit_table.c if c is not merged_audit_table.c.id]
    statement = select(*columns).order_by(
        merged_audit_table.c.merge_id, merged_audit_table.c.number, merged_audit_table.c.id
    )
    for merge_id, rows in groupby(connection.execute(statement), key=itemgetter(0)):
        yield merge_id, [AuditEntry(*row[1:]) for row in rows]


def digest(number: int, at: str, actor: str, action: str, detail: str, previous: str) -> str:
    """The SHA-256 of an entry: of the canonical JSON list of its fields, the one before's digest being the last."""
    whole = canonical([number, at, actor, action, detail, previous])
    return hashlib.sha256(whole.encode()).hexdigest()


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII (so that surrogates of odd names survive)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@contextmanager
def acting_as(examiner: str) -> Iterator[None]:
    """Name the examiner for whom this thread or task writes; entries have it before what the system knows."""
    token = _EXAMINER.set(examiner)
    try:
        yield
    finally:
        _EXAMINER.reset(token)


def _actor() -> str:
    """Who did it: the examiner if one was named, and as the system knows it, login name and machine."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError, ImportError):
        login = "unknown"
    known = f"{login}@{processes.this_host()}"
    examiner = _EXAMINER.get()
    return f"{examiner} ({known})" if examiner else known
