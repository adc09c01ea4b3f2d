"""Sources: recorded at first sight, moved to another folder, or given a name that is free."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

from sqlalchemy import Connection, update

from image_similarity.errors import InvalidSetting
from image_similarity.store import catalog as stored
from image_similarity.store.schema import source_table

UNNAMED = "root"


def enter(connection: Connection, root: str, name: str | None) -> tuple[int, str]:
    """Give the id and name of the source whose folder is `root`, in text form, recording it at first sight.

    A folder that is known keeps its name. A new one is known by its own name, or the one given.

    Raises:
        InvalidSetting: The name is empty or not printable, or belongs to another folder.
    """
    if name is not None and not name.strip():
        raise InvalidSetting("the name of a source must not be empty")
    if name is not None and not name.isprintable():
        # SQLite cannot hold every name that a shell can give, and a report must keep each name on its line.
        raise InvalidSetting(
            f"the name of a source must be printable text, not {name!r}",
            hint="give it another name: --source NAME",
        )
    if name is None:
        name = stored.source_at(connection, root) or root.rpartition("/")[2] or UNNAMED
    found = stored.find_source(connection, name)
    if found is None:
        return stored.add_source(connection, name, root), name
    source_id, recorded = found
    if recorded != root:
        raise InvalidSetting(
            f"the source {name!r} is the folder {recorded}, not {root}",
            hint="give this one another name: --source NAME",
        )
    return source_id, name


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
