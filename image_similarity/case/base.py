"""A case that is open: one database."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from image_similarity.events import Listener, ignore
from image_similarity.values import Location, location

if TYPE_CHECKING:
    from image_similarity.store.catalog import Catalog


class OpenedCase:
    """A case that is open: its database, and its closing."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @classmethod
    def open(
        cls,
        path: str | Location,
        *,
        read_only: bool = False,
        upgrade: bool | None = None,
        on_event: Listener = ignore,
    ) -> Self:
        """Open a database; a writer creates a missing one and upgrades an older one after a backup beside it.

        Args:
            path: The SQLite file, or a database on a server: "postgresql+psycopg://user@host/name" (extra `postgres`).
            read_only: Open for reading; the database is neither created nor upgraded nor written.
            upgrade: With False a writer refuses an older database, too. A server's is upgraded only with True: others
                may be at work on it.
            on_event: Gets a `Notice` when a database was upgraded or recovered.

        Raises:
            DatabaseMissing, NotOurDatabase, DatabaseDamaged, SchemaTooOld, SchemaTooNew, DatabaseNotWritable.
            InvalidSetting: A URL of something else than a PostgreSQL server.
            ServerRefused, ExtraMissing: The server cannot be used, or the extra is not installed.
        """
        from image_similarity.store.catalog import Catalog

        return cls(
            Catalog.open(location(path), read_only=read_only, upgrade=upgrade, on_event=on_event)
        )

    def close(self) -> None:
        """Close the database; a second call does nothing."""
        self._catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def state(self) -> Hashable:
        """What stays equal while nothing is written: of a file its time and size, of a server the last audit entry."""
        if isinstance(self.path, Path):
            about = self.path.stat()
            return about.st_mtime_ns, about.st_size
        from image_similarity.store import audit

        with self._catalog.reading() as connection:
            return audit.head(connection)

    @property
    def path(self) -> Location:
        """The database: a file, or where it is on a server."""
        return self._catalog.path
