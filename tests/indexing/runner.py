"""Index runs in processes of their own, which can be killed; the imports are made once, by a server that forks."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from image_similarity.case import Case
from image_similarity.encoding import encoder as _encoder  # noqa: F401 - loads torch once, in the server
from image_similarity.indexing import loader
from image_similarity.settings import IndexOptions
from tests.indexing.desk import Desk

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["__main__", __name__])


def run(database: Path, folder: Path, options: IndexOptions, seconds_per_file: float) -> None:
    """What the process does: an index run whose reading takes its time."""
    really_read = loader.read_file

    def read(*given: Any, **named: Any) -> Any:
        time.sleep(seconds_per_file)
        return really_read(*given, **named)

    loader.read_file = read
    with Case.open(database) as case:
        case.index(folder, options=options)


@contextmanager
def started(desk: Desk, seconds_per_file: float = 0.0) -> Iterator[BaseProcess]:
    """An index run in another process; what is left of it at the end is killed and waited for."""
    given = (desk.database, desk.evidence, desk.options, seconds_per_file)
    process = _context.Process(target=run, args=given)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def wait_for(desk: Desk, statement: str, seconds: float = 30.0) -> None:
    """Wait until a question to the database is answered with something else than 0 or nothing."""
    import sqlite3

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if desk.database.exists() and any(row[0] for row in desk.rows(statement)):
                return
        except sqlite3.OperationalError:
            pass
        time.sleep(0.01)
    raise AssertionError(f"still nothing: {statement}")
