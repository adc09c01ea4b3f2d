"""The check of decisions and hash lists against the audit chain, which tells of each: what was said, and taken back.

Rows that a merge took over are told of by the other database's chain, which is kept whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from image_similarity.store import audit, hash_lists, marks
from image_similarity.values import AuditEntry, AuditFinding, Decision


class _Said(NamedTuple):
    """A decision as an entry of the chain tells of it, and as a row has it."""

    kind: str
    value: str
    sha256: str
    query_sha256: str
    at: str
    actor: str


def findings(connection: Connection, chain: Sequence[AuditEntry]) -> Iterator[AuditFinding]:
    """What decisions and hash lists differ in from what the chain tells; entries that cannot be read are left out."""
    merged = [entry for _, entries in audit.merged(connection) for entry in entries]
    yield from _decisions(connection, chain, merged)
    yield from _lists(connection, chain, merged)


def _decisions(
    connection: Connection, chain: Sequence[AuditEntry], merged: Sequence[AuditEntry]
) -> Iterator[AuditFinding]:
    told, taken = _told(chain), set(_told(merged))
    rows = {_of(each): each for each in marks.decisions(connection, withdrawn=True)}
    for said, withdrawn_at in told.items():
        row = rows.get(said)
        if row is None:
            yield _finding(said, "is not there, or was changed; the chain tells of it")
        elif row.withdrawn_at != withdrawn_at:
            here, there = _state(row.withdrawn_at), _state(withdrawn_at)
            yield _finding(said, f"{here}; by the chain it {there}", row)
    for said, row in rows.items():
        if said not in told and said not in taken:
            yield _finding(said, "is told of by no entry, or was changed", row)


def _state(withdrawn_at: str | None) -> str:
    return f"was withdrawn at {withdrawn_at}" if withdrawn_at else "stands"


def _told(entries: Sequence[AuditEntry]) -> dict[_Said, str | None]:
    """The decisions that entries tell of, with the time when they were withdrawn."""
    told: dict[_Said, str | None] = {}
    standing: dict[tuple[str, str, str, str], _Said] = {}
    for entry in entries:
        detail = _detail(entry, "mark")
        what = tuple(str(detail.get(n, "")) for n in ("kind", "value", "sha256", "query_sha256"))
        key = (what[0], what[1], what[2], what[3])
        if detail.get("did") == "set":
            standing[key] = _Said(*key, entry.at, entry.actor)
            told[standing[key]] = None
        elif detail.get("did") == "withdrawn" and key in standing:
            told[standing.pop(key)] = entry.at
    return told


def _of(row: Decision) -> _Said:
    return _Said(row.kind, row.value, row.sha256, row.query_sha256, row.at, row.actor)


def _finding(said: _Said, message: str, row: Decision | None = None) -> AuditFinding:
    table = "pair_mark" if said.query_sha256 else "mark"
    number = int(row.name[1:]) if row else None
    text = f"the {said.kind} {said.value!r} of {said.sha256} ({said.at}, {said.actor}) {message}"
    return AuditFinding("record", text, None, table, number, said.sha256)


def _lists(
    connection: Connection, chain: Sequence[AuditEntry], merged: Sequence[AuditEntry]
) -> Iterator[AuditFinding]:
    told: Counter[tuple[str, str]] = Counter()
    for entry in chain:
        detail = _detail(entry, "hashlist")
        step = {"imported": 1, "removed": -1}.get(detail.get("did", ""), 0)
        told[detail.get("file_sha256", ""), detail.get("entries_sha256", "")] += step
    taken = {
        (detail.get("file_sha256", ""), detail.get("entries_sha256", ""))
        for entry in merged
        if (detail := _detail(entry, "hashlist")).get("did") == "imported"
    }
    for each in hash_lists.lists(connection):
        found = (each.file_sha256, hash_lists.digest_of(connection, each.name))
        if told[found] > 0:
            told[found] -= 1
        elif found not in taken:
            said = f"the hash list {each.name!r} is not as it was imported"
            yield AuditFinding("record", said, None, "hash_list", None, each.name)
    for (file_sha256, _), count in told.items():
        if count > 0:
            said = f"a hash list is not there that the chain tells of: SHA-256 of the file {file_sha256}"
            yield AuditFinding("record", said, None, "hash_list", None, file_sha256)


def _detail(entry: AuditEntry, action: str) -> dict[str, str]:
    if entry.action != action:
        return {}
    try:
        detail = json.loads(entry.detail)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in detail.items()} if isinstance(detail, dict) else {}
