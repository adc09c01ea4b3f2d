"""What a file is to this program, and that an upgrade is whole or did not happen."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from image_similarity.errors import (
    DatabaseDamaged,
    DatabaseMissing,
    DatabaseNotWritable,
    NotOurDatabase,
    SchemaTooNew,
    SchemaTooOld,
)
from image_similarity.events import Event, Notice
from image_similarity.store import upgrade
from image_similarity.store.catalog import Catalog, copy_database
from image_similarity.store.schema import metadata

ROOT = Path(__file__).resolve().parents[2]
# The number of the migration that the tests add.
NEXT = f"{int(upgrade.head_revision()) + 1:04d}"


def make_database(path: Path) -> Path:
    Catalog.open(path, read_only=False).close()
    return path


def tables(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master"))


def test_the_migrations_build_exactly_the_declared_schema(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "case.db", read_only=False)
    with catalog.reading() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    catalog.close()
    assert differences == []


def test_the_schema_is_the_committed_snapshot() -> None:
    loader = SourceFileLoader("schema_snapshot", str(ROOT / "scripts" / "schema_snapshot"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    expected = (ROOT / "tests" / "data" / "schema.sql").read_text(encoding="utf-8")
    assert module.build() == expected, "run scripts/schema_snapshot and review the difference"


def test_no_foreign_key_cascades() -> None:
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            assert key.ondelete is None, f"{table.name}: a rebuild of the parent would delete rows"


def test_a_new_database_is_ours_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = make_database(tmp_path / "case.db")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0x494D5349,)
        assert connection.execute("PRAGMA page_size").fetchone() == (32768,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case.db"]


def test_a_reader_never_creates_a_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissing):
        Catalog.open(tmp_path / "no.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_database_is_refused_and_untouched(
    tmp_path: Path, read_only: bool
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes " * 100)
    before = path.read_bytes()
    with pytest.raises(NotOurDatabase):
        Catalog.open(path, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.parametrize("read_only", [True, False])
def test_a_database_of_another_program_is_refused_and_untouched(
    tmp_path: Path, read_only: bool
) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE customers (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(NotOurDatabase, match="another program"):
        Catalog.open(path, read_only=read_only)
    assert path.read_bytes() == before


def test_the_earlier_systems_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE metadata (imageId INTEGER, image_path TEXT, embedding TEXT, scene_type TEXT)"
        )
    with pytest.raises(NotOurDatabase, match="earlier image-similarity"):
        Catalog.open(path, read_only=True)


def test_a_folder_in_the_databases_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotOurDatabase):
        Catalog.open(tmp_path, read_only=False)


def test_a_missing_parent_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseNotWritable):
        Catalog.open(tmp_path / "none" / "case.db", read_only=False)


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = make_database(tmp_path / "case.db")
    data = bytearray(path.read_bytes())
    data[100:32768] = bytes(32768 - 100)
    path.write_bytes(data)
    with pytest.raises(DatabaseDamaged):
        Catalog.open(path, read_only=True)


def test_a_newer_schema_is_refused_by_everyone(tmp_path: Path) -> None:
    path = make_database(tmp_path / "case.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for read_only in (True, False):
        with pytest.raises(SchemaTooNew, match="9999"):
            Catalog.open(path, read_only=read_only)


@pytest.fixture
def next_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations with room for one more; gives the file to write it to."""
    folder = tmp_path / "migrations"
    shutil.copytree(upgrade.migrations_folder(), folder)
    monkeypatch.setattr(upgrade, "migrations_folder", lambda: folder)
    return folder / "versions" / f"{NEXT}_next.py"


def write_migration(path: Path, body: str) -> None:
    path.write_text(
        '"""Next."""\nimport sqlalchemy as sa\nfrom alembic import op\n'
        f'revision = "{NEXT}"\ndown_revision = "{int(NEXT) - 1:04d}"\n'
        f"def upgrade():\n{body}"
    )


def test_an_older_schema_is_upgraded_by_a_writer_after_a_copy(
    tmp_path: Path, next_migration: Path
) -> None:
    path = make_database(tmp_path / "case.db")
    write_migration(next_migration, '    op.add_column("source", sa.Column("note", sa.Text()))\n')
    with pytest.raises(SchemaTooOld):
        Catalog.open(path, read_only=True)
    with pytest.raises(SchemaTooOld):
        Catalog.open(path, read_only=False, upgrade=False)
    events: list[Event] = []
    catalog = Catalog.open(path, read_only=False, on_event=events.append)
    assert catalog.state.revision == NEXT
    catalog.close()
    assert "note" in tables(path)["source"]
    (notice,) = events
    assert isinstance(notice, Notice)
    assert f"before-{NEXT}" in notice.text
    assert "note" not in tables(tmp_path / f"case.db.before-{NEXT}")["source"]


def test_a_failing_migration_leaves_the_database_as_it_was(
    tmp_path: Path, next_migration: Path
) -> None:
    path = make_database(tmp_path / "case.db")
    before = tables(path)
    write_migration(
        next_migration,
        '    op.create_table("half", sa.Column("id", sa.Integer()))\n'
        '    with op.batch_alter_table("source") as batch:\n'
        '        batch.add_column(sa.Column("note", sa.Text()))\n'
        '    raise RuntimeError("the migration failed")\n',
    )
    with pytest.raises(RuntimeError, match="the migration failed"):
        Catalog.open(path, read_only=False)
    assert tables(path) == before
    next_migration.unlink()
    Catalog.open(path, read_only=True).close()


def test_a_second_upgrade_keeps_the_first_copy(tmp_path: Path, next_migration: Path) -> None:
    path = make_database(tmp_path / "case.db")
    (tmp_path / f"case.db.before-{NEXT}").write_text("the examiner's own file")
    write_migration(next_migration, '    op.add_column("source", sa.Column("note", sa.Text()))\n')
    with pytest.raises(DatabaseNotWritable, match=f"before-{NEXT}") as error:
        Catalog.open(path, read_only=False)
    assert "move it away" in error.value.hint
    assert (tmp_path / f"case.db.before-{NEXT}").read_text() == "the examiner's own file"


def test_an_upgrade_that_was_killed_after_its_copy_is_done_by_the_next_try(
    tmp_path: Path, next_migration: Path
) -> None:
    path = make_database(tmp_path / "case.db")
    body = '    raise KeyboardInterrupt("here it is killed")\n'
    write_migration(next_migration, body)
    with pytest.raises(KeyboardInterrupt):
        Catalog.open(path, read_only=False)
    # What a kill in the middle of the copy leaves.
    (tmp_path / f"case.db.before-{NEXT}.part").write_bytes(b"SQLite for")
    copy = (tmp_path / f"case.db.before-{NEXT}").read_bytes()
    write_migration(next_migration, '    op.add_column("source", sa.Column("note", sa.Text()))\n')
    Catalog.open(path, read_only=False).close()
    assert "note" in tables(path)["source"]
    assert (tmp_path / f"case.db.before-{NEXT}").read_bytes() == copy
    assert sorted(each.name for each in tmp_path.glob("case.db*")) == [
        "case.db",
        f"case.db.before-{NEXT}",
    ]


def test_a_copy_that_cannot_be_finished_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(DatabaseNotWritable):
        copy_database(tmp_path / "none.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


WRITE_BESIDE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


def test_opening_a_database_keeps_the_locks_that_this_process_holds_on_it(tmp_path: Path) -> None:
    """POSIX drops all locks of a process on a file once it closes any of its descriptors."""
    path = make_database(tmp_path / "case.db")
    writer = Catalog.open(path, read_only=False)
    with writer.writing():
        Catalog.open(path, read_only=True).close()
        beside = subprocess.run(
            [sys.executable, "-c", WRITE_BESIDE, str(path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    writer.close()
    assert "locked" in beside.stdout
