"""The facts of a case, said once: number, examiner, exhibit, notes; each change is an entry of the audit chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

from sqlalchemy import Connection, delete, insert, select

from image_similarity.errors import InvalidSetting
from image_similarity.store import audit
from image_similarity.store.schema import case_fact_table
from image_similarity.values import CaseFacts

NAMES = tuple(each.name for each in fields(CaseFacts))


def read(connection: Connection) -> CaseFacts:
    """The facts as they stand; what was never said is empty."""
    rows = connection.execute(select(case_fact_table.c.name, case_fact_table.c.value))
    return CaseFacts(**{name: value for name, value in rows if name in NAMES})


def write(connection: Connection, said: Mapping[str, str]) -> CaseFacts:
    """Set the facts that are named, within the caller's transaction; the others stay. Empty text takes one back.

    The change is appended to the audit chain with what stood before; where nothing changes, nothing is.

    Raises:
        InvalidSetting: A name that is none of `NAMES`.
    """
    for name in said:
        if name not in NAMES:
            raise InvalidSetting(f"a case has no {name!r}", hint=f"it has: {', '.join(NAMES)}")
    before = asdict(read(connection))
    changed = {name: value for name, value in said.items() if value != before[name]}
    if changed:
        connection.execute(delete(case_fact_table).where(case_fact_table.c.name.in_(changed)))
        rows = [{"name": name, "value": value} for name, value in changed.items() if value]
        if rows:
            connection.execute(insert(case_fact_table), rows)
        was = {name: before[name] for name in changed}
        audit.append(connection, "facts", {"set": changed, "before": was})
    return CaseFacts(**{**before, **changed})
