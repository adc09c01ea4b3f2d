"""What tests begin with is what the migrations make."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from image_similarity.store import upgrade
from image_similarity.store.catalog import Catalog
from tests import migrated


def made(path: Path) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """The schema of a new database, statement by statement, and its revision."""
    Catalog.open(path, read_only=False).close()
    with closing(sqlite3.connect(path)) as connection:
        return (
            connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall(),
            connection.execute("SELECT * FROM alembic_version").fetchall(),
        )


def test_a_database_that_was_made_quickly_is_that_of_the_migrations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = migrated.SayingAgain()
    monkeypatch.setattr(upgrade, "_migrate", again)
    made(tmp_path / "first.db")
    assert len(again.kept) == 1
    quick = made(tmp_path / "again.db")
    monkeypatch.setattr(upgrade, "_migrate", migrated._migrate)
    assert quick == made(tmp_path / "migrated.db")


def test_another_migration_is_no_longer_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    again = migrated.SayingAgain()
    monkeypatch.setattr(upgrade, "_migrate", again)
    folder = Path(shutil.copytree(upgrade.migrations_folder(), tmp_path / "migrations"))
    made(tmp_path / "before.db")
    monkeypatch.setattr(upgrade, "migrations_folder", lambda: folder)
    made(tmp_path / "elsewhere.db")
    assert len(again.kept) == 2
