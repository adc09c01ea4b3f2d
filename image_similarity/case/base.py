"""A case that is open: one database."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from image_similarity.events import Listener, ignore

if TYPE_CHECKING:
    from image_similarity.store.catalog import Catalog


class OpenedCase:
    """A case that is open: its database, and its closing."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        read_only: bool = False,
        upgrade: bool = True,
        on_event: Listener = ignore,
    ) -> Self:
        """Open a database; a writer creates a missing one and upgrades an older one after a backup beside it.

        Args:
            path: The SQLite file.
            read_only: Open for reading; the file is neither created nor upgraded nor written.
            upgrade: With False a writer refuses an older database, too.
            on_event: Gets a `Notice` when a database was upgraded or recovered.

        Raises:
            DatabaseMissing, NotOurDatabase, DatabaseDamaged, SchemaTooOld, SchemaTooNew, DatabaseNotWritable.
        """
        from image_similarity.store.catalog import Catalog

        return cls(
            Catalog.open(Path(path), read_only=read_only, upgrade=upgrade, on_event=on_event)
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

    @property
    def path(self) -> Path:
        """The database file."""
        return self._catalog.path
