"""A small case with a chain for the tests, and an attacker who writes to its database past the program."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from image_similarity import Case
from image_similarity.store.audit import canonical
from image_similarity.values import AuditReport
from tests.indexing.desk import Desk


def make_desk(folder: Path, model: Path, pictures: int = 6) -> Desk:
    """A case of some pictures in batches of four, with a broken file, a copy and a second run that closed a place."""
    desk = Desk(folder, model)
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


@contextmanager
def attacking(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection of someone who knows SQLite: triggers are dropped meanwhile and put back, references not checked."""
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


def write_anew(connection: sqlite3.Connection) -> None:
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


def verified(database: Path, head: Path | None = None) -> AuditReport:
    with Case.open(database, read_only=True) as case:
        return case.verify_audit(head=head)


def said(database: Path) -> list[tuple[str, int | None, str, str]]:
    """What a check finds: kind, entry, table and name of each finding."""
    return [(f.kind, f.entry, f.table, f.name) for f in verified(database).findings]
