"""Make empty databases quickly: say again what the migrations said, instead of working it out anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.config import Config
from sqlalchemy import Connection, event

from image_similarity.store import upgrade
from image_similarity.store.engine import is_sqlite

# What a folder of migrations is, and what they say to an empty database.
Key = tuple[tuple[str, int, int], ...]
Said = list[tuple[str, Any]]

_migrate: Callable[[Connection, Config], None] = upgrade._migrate


class SayingAgain:
    """Takes the place of `upgrade._migrate`: the statements of the migrations that found an empty file are kept.

    Hundreds of tests begin with an empty file, and it takes Alembic 50 ms to put together what is the same each time.
    All else is as it was: the transaction, the entry in the audit chain, a file that is not empty, a server.
    """

    def __init__(self) -> None:
        self.kept: dict[Key, Said] = {}

    def __call__(self, connection: Connection, config: Config) -> None:
        if (
            not is_sqlite(connection)
            or connection.exec_driver_sql("SELECT 1 FROM sqlite_master").first()
        ):
            _migrate(connection, config)
            return
        key = _key(Path(str(config.get_main_option("script_location"))))
        if key in self.kept:
            for statement, parameters in self.kept[key]:
                connection.exec_driver_sql(statement, parameters)
            return
        with _listening(connection) as said:
            _migrate(connection, config)
        self.kept[key] = said


def _key(folder: Path) -> Key:
    files = [folder / "env.py", *sorted((folder / "versions").glob("*.py"))]
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


@contextmanager
def _listening(connection: Connection) -> Iterator[Said]:
    said: Said = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        said.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(connection, "before_cursor_execute", note)
