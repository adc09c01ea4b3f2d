"""Connections to the database file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from image_similarity.store.catalog import Catalog


def test_any_number_of_threads_may_read_at_once(tmp_path: Path) -> None:
    with ExitStack() as stack:
        catalog = Catalog.open(tmp_path / "case.db", read_only=False)
        stack.callback(catalog.close)
        for _ in range(50):
            # Each holds its connection while the next one asks: a limit would end in a timeout.
            connection = stack.enter_context(catalog.reading())
            assert connection.exec_driver_sql("SELECT count(*) FROM source").scalar() == 0
