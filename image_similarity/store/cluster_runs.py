"""What a run that many machines write asks of its own row, and of its places."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Connection, func, select

from image_similarity.store.schema import file_table, run_table


def state(connection: Connection, run_id: int) -> tuple[str, dict[str, Any]]:
    """The status of a run and the account that is recorded of it."""
    statement = select(run_table.c.status, run_table.c.account).where(run_table.c.id == run_id)
    status, account = connection.execute(statement).one()
    return status, dict(account)


def arrived(connection: Connection, run_id: int) -> Counter[int]:
    """The contents that a run found at places where they had not been, by how many these are."""
    statement = (
        select(file_table.c.image_id, func.count())
        .where(file_table.c.first_run_id == run_id)
        .group_by(file_table.c.image_id)
    )
    return Counter({image_id: count for image_id, count in connection.execute(statement)})
