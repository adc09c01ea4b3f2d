"""A small case with a chain for the tests, and an attacker who writes to its database past the program."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from image_similarity import Case
from image_similarity.store.audit import canonical
from image_similarity.values import AuditReport, Location, ServerUrl
from tests.indexing.desk import Desk
from tests.postgres import fresh_case, fresh_database, server_of

# Of a test that does to its case what only SQLite lets anybody do.
in_a_file = pytest.mark.parametrize("made", ["sqlite"], indirect=True)


def make_case(request: pytest.FixtureRequest, folder: Path, model: Path) -> Desk:
    """The body of a fixture with the engines as parameters: a case on one of them."""
    if request.param == "sqlite":
        return make_desk(folder, model)
    return make_desk(folder, model, place=fresh_case(request.getfixturevalue("postgres_server")))


def copy_of(database: Location, folder: Path) -> Location:
    """A copy of a database that a test may tamper with."""
    if isinstance(database, ServerUrl):
        return fresh_database(server_of(database), database.name)
    return Path(shutil.copy(database, folder / "case.db"))


def make_desk(folder: Path, model: Path, pictures: int = 6, place: Location | None = None) -> Desk:
    """A case of some pictures in batches of four, with a broken file, a copy and a second run that closed a place."""
    desk = Desk(folder, model, place)
    desk.put_many(pictures)
    desk.put("copy.png", seed=0)
    desk.corrupt("broken.jpg")
    leaving = desk.put("leaving.png", seed=99)
    desk.index()
    leaving.unlink()
    desk.put("late.png", seed=50)
    desk.index()
    with Case.open(desk.database) as case:
        case.set_facts(number="17/2026", examiner="A. Examiner")
    return desk


class Attacker:
    """Someone who may do anything on a server: no trigger works meanwhile, and no reference is checked."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        connection.execute("SET session_replication_role = replica")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        return self._connection.execute(statement.replace("?", "%s"), tuple(values) or None)


@contextmanager
def attacking(database: Location) -> Iterator[Any]:
    """A connection of someone who knows SQLite: triggers are dropped meanwhile and put back, references not checked."""
    if isinstance(database, ServerUrl):
        import psycopg

        with psycopg.connect(database.url.replace("+psycopg", "")) as server:
            yield Attacker(server)
        return
    with closing(sqlite3.connect(database)) as connection:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        with connection:
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            yield connection
            for _, sql in triggers:
                connection.execute(sql)


def write_anew(connection: Any) -> None:
    """Compute every number, link and digest of the chain again, as an attacker who has this program would."""
    rows = connection.execute("SELECT at, actor, action, detail FROM audit ORDER BY id").fetchall()
    connection.execute("DELETE FROM audit")
    previous = "0" * 64
    for number, row in enumerate(rows, start=1):
        whole = canonical([number, *row, previous])
        digest = hashlib.sha256(whole.encode()).hexdigest()
        connection.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *row, previous, digest)
        )
        previous = digest


def verified(database: Location, head: Path | None = None) -> AuditReport:
    with Case.open(database, read_only=True) as case:
        return case.verify_audit(head=head)


def said(database: Location) -> list[tuple[str, int | None, str, str]]:
    """What a check finds: kind, entry, table and name of each finding."""
    return [(f.kind, f.entry, f.table, f.name) for f in verified(database).findings]
