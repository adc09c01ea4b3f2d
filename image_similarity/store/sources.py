"""Sources after they were recorded: moved to another folder, or given a name that is free."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

from sqlalchemy import Connection, update

from image_similarity.store.schema import source_table


def set_root(connection: Connection, name: str, root: str) -> None:
    """Record another root folder, in text form, of a source; its places keep their paths below it."""
    connection.execute(
        update(source_table).where(source_table.c.name == name).values(root_path=root)
    )


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Give the name itself, or "name (2)" and so on where it is taken."""
    if wanted not in taken:
        return wanted
    return next(name for number in count(2) if (name := f"{wanted} ({number})") not in taken)
