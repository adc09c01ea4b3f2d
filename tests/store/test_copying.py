"""A copy of a database is the same database on either engine, or is refused until it is; see also cli/test_copy.py."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from image_similarity.case import Case
from image_similarity.errors import (
    DatabaseError,
    DatabaseLocked,
    DatabaseMissing,
    DatabaseNotWritable,
    NotOurDatabase,
    SchemaTooOld,
    UsageError,
    VerificationFailed,
)
from image_similarity.events import Event, Notice, Progress, Started
from image_similarity.indexing import packing
from image_similarity.matching import pdq
from image_similarity.store import copying, engine, packs
from image_similarity.store.catalog import Catalog
from image_similarity.store.schema import APPLICATION_ID, PAGE_SIZE
from image_similarity.values import Location, ServerUrl
from tests.indexing.desk import Desk
from tests.postgres import fresh_database, server_change, server_rows

ROOT = Path(__file__).resolve().parents[2]
# Ends the process within a copy, after the n-th call of a function.
KILLED = """
import importlib, os, signal, sys
from image_similarity.case import Case
from image_similarity.store import copying

source, target, module, name, left = sys.argv[1:]
copying.ROWS_AT_ONCE = 3
module = importlib.import_module(f"image_similarity.store.{module}")
really, left = getattr(module, name), int(left)

def call(*given, **named):
    global left
    found, left = really(*given, **named), left - 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return found

setattr(module, name, call)
with Case.open(source, read_only=True) as case:
    case.copy(target)
"""


THREE = ["file to file", "file to server", "server to file"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Desk]:
    """A database with rows in every table; no test may change it."""
    base = tmp_path_factory.mktemp("copied")
    desk, other = Desk(base / "ours", tiny_model), Desk(base / "theirs", tiny_model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs, "LARGEST_RANGE", 2)
        patch.setattr(pdq, "require", lambda: None)
        patch.setattr(
            pdq,
            "hash_pixels",
            lambda pixels: pdq.PdqHash(hashlib.sha256(pixels.tobytes()).digest(), 50),
        )
        for each, start in ((desk, 0), (other, 3)):
            each.put_many(5, start)
            each.corrupt("broken.jpg")
            each.write("notes.txt", b"text")
            each.index(source=f"disk-{start}", thumbnails=True, pdq=True)
        (desk.evidence / "picture-001.png").unlink()
        desk.index(source="disk-0")
        listed = base / "known.txt"
        listed.write_text("a" * 64 + "\n" + "b" * 64 + "\n")
        with Case.open(desk.database) as case:
            case.merge(other.database)
            case.set_facts(number="17/2 – ÄÖ")
            case.decide(desk.evidence / "picture-000.png", "tag", "room")
            case.judge(
                desk.evidence / "picture-000.png", desk.evidence / "picture-002.png", "relevant"
            )
            case.import_hash_list(listed, name="known")
            packing.pack(case._catalog)
        assert all(everything(desk.database).values()), "a table without rows would not be tested"
        before = desk.database.read_bytes()
        # Within: packs are as large as here wherever they are checked.
        yield desk
    assert desk.database.read_bytes() == before


@pytest.fixture
def source(whole: Desk, tmp_path: Path) -> Path:
    """A copy of that database that may be changed."""
    return Path(shutil.copy(whole.database, tmp_path / "source.db"))


@pytest.fixture(params=["file to file", "file to server", "server to file", "server to server"])
def route(
    request: pytest.FixtureRequest, source: Path, tmp_path: Path
) -> tuple[Location, Location]:
    """From where to where a copy goes."""
    first, last = request.param.split(" to ")
    if "server" not in (first, last):
        return source, tmp_path / "copy.db"
    url = request.getfixturevalue("postgres_server")
    places: dict[str, Location] = {"file": source}
    if first == "server":
        places["server"] = fresh_database(url)
        copy(source, places["server"])
    return places[first], fresh_database(url) if last == "server" else tmp_path / "copy.db"


def everything(database: Location) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table as SQLite keeps it, whichever engine the database is on."""
    with closing(Catalog.open(database, read_only=True)) as opened, opened.reading() as connection:
        found = {}
        for table in copying.TABLES:
            rows: list[tuple[Any, ...]] = []
            last = None
            while portion := copying.rows_after(connection, table, last):
                rows += map(tuple, portion)
                last = copying._key_of(table, rows[-1])
            found[table.name] = rows
    return found


def copy(source: str | Location, target: Location, **asked: Any) -> Any:
    with Case.open(source, read_only=True) as case:
        return case.copy(target, **asked)


def check_copied(source: Location, target: Location, before: dict[str, Any]) -> None:
    """The copy has all rows and one entry more; nothing else is left of the copying."""
    found = everything(target)
    added = found["audit"].pop()
    assert added[3] == "copied"
    assert found == before
    with Case.open(target, read_only=True) as case:
        assert case.verify_audit().findings == ()
        assert case.verify().clean
    if isinstance(target, Path):
        assert {each.name for each in target.parent.glob(f"{target.name}*")} == {target.name}
    else:
        assert server_rows(target, "SELECT to_regclass('unfinished_copy')") == [(None,)]


def test_a_copy_has_every_row_as_it_was_and_its_chain_holds(
    route: tuple[Location, Location],
) -> None:
    before = everything(route[0])
    report = copy(*route)
    check_copied(*route, before)
    assert report.counts == {name: len(rows) for name, rows in before.items()}
    assert report.rows == sum(report.counts.values())
    last = before["audit"][-1]
    assert (report.chain, report.entry) == ((last[0], last[6]), last[0] + 1)
    assert not report.resumed


def test_a_file_is_as_this_program_makes_them(source: Path, tmp_path: Path) -> None:
    made = tmp_path / "copy.db"
    copy(source, made)
    assert made.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(made)) as connection:
        found = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "application_id", "journal_mode")
        ]
    assert found == [PAGE_SIZE, APPLICATION_ID, "delete"]


def test_the_original_keeps_on_record_that_a_file_was_made_and_that_file_is_found(
    source: Path, tmp_path: Path
) -> None:
    copy(source, tmp_path / "copy.db")
    with Case.open(source, read_only=True) as case:
        (trace,) = [each for each in case.traces().files if each.kind == "copy"]
    assert (trace.path, trace.state) == (str(tmp_path / "copy.db"), "as written")


def test_work_goes_on_in_a_copy_on_a_server(
    whole: Desk, source: Path, postgres: ServerUrl, tmp_path: Path
) -> None:
    copy(source, postgres)
    fresh = Desk(tmp_path / "more", whole.model, place=postgres)
    fresh.put("new.png", seed=70)
    assert fresh.index(source="disk-9").new == 1
    with Case.open(postgres) as case:
        case.decide(fresh.evidence / "new.png", "tag", "lamp")
        assert case.verify_audit().findings == ()


def test_a_case_that_went_to_a_server_and_came_back_ranks_as_before(
    whole: Desk, source: Path, postgres: ServerUrl, tmp_path: Path
) -> None:
    back = tmp_path / "back.db"
    copy(source, postgres)
    copy(postgres, back)
    query = draw(tmp_path / "query.png")

    def ranking(database: Location, **asked: Any) -> list[Any]:
        with Case.open(database, read_only=True) as case:
            hits = case.search(query, k=100, exact=True, **asked).hits
        return [(hit.rank, hit.distance, hit.image.sha256, hit.place.path) for hit in hits]

    for asked in ({"scene": "off"}, {}, {"scene": "off", "sources": ("disk-3",)}):
        assert ranking(source, **asked) == ranking(postgres, **asked) == ranking(back, **asked)
    with Case.open(back, read_only=True) as case:
        assert [entry.action for entry in case.audit()][-2:] == ["copied", "copied"]


def test_who_may_only_read_a_server_can_take_a_copy_away(
    source: Path, postgres: ServerUrl, tmp_path: Path
) -> None:
    copy(source, postgres)
    role = f"analyst_{os.getpid()}"
    server_change(postgres, f"CREATE ROLE {role} LOGIN")
    server_change(postgres, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    before = everything(postgres)
    as_analyst = ServerUrl(postgres.url.replace("postgres@", f"{role}@"))
    copy(as_analyst, tmp_path / "copy.db")
    check_copied(as_analyst, tmp_path / "copy.db", before)
    server_change(postgres, f"DROP OWNED BY {role}")
    server_change(postgres, f"DROP ROLE {role}")


def draw(path: Path) -> Path:
    from tests.conftest import draw_picture

    draw_picture(77, (48, 36)).save(path)
    return path


# -- broken off -----------------------------------------------------------------------------------------------------


class Broken(Exception):
    """Stands for Ctrl-C."""


def break_off(source: Location, target: Location, after: int) -> None:
    """Begin a copy and break it off after some portions."""
    left = after

    def listen(event: Event) -> None:
        nonlocal left
        if isinstance(event, Progress):
            left -= 1
            if not left:
                raise Broken

    with pytest.raises(Broken):
        copy(source, target, on_event=listen)


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "ROWS_AT_ONCE", 3)


@pytest.mark.parametrize("route", THREE, indirect=True)
@pytest.mark.usefixtures("small_portions")
def test_what_was_broken_off_is_refused_and_then_gone_on_with(
    route: tuple[Location, Location],
) -> None:
    first, last = route
    before = everything(first)
    for after in (1, 9, 2):
        break_off(first, last, after)
        begun = last.with_name("copy.db.part") if isinstance(last, Path) else last
        for read_only in (True, False):
            with pytest.raises(NotOurDatabase, match="unfinished copy of") as refused:
                Case.open(begun, read_only=read_only)
            assert refused.value.hint.endswith(f"image-similarity db copy {first} {last}")
        if isinstance(last, Path):
            assert not last.exists()
    events: list[Event] = []
    assert copy(first, last, on_event=events.append).resumed
    assert "going on" in next(each.text for each in events if isinstance(each, Notice))
    started = next(each for each in events if isinstance(each, Started))
    told = [each.done for each in events if isinstance(each, Progress)]
    rows = told[: told.index(started.total) + 1]
    assert started.unit == "rows"
    assert rows[0] > 9
    assert rows == sorted(rows)
    check_copied(first, last, before)


@pytest.mark.parametrize(
    ("route", "module", "name", "left"),
    [
        ("file to server", "unfinished", "_mark", 1),
        ("file to server", "copying", "_write", 17),
        ("file to server", "audit", "append", 1),
        ("server to file", "unfinished", "_mark", 1),
        ("server to file", "copying", "_write", 17),
        ("server to file", "unfinished", "move_into_place", 1),
    ],
    indirect=["route"],
)
def test_after_a_kill_the_same_copy_ends_as_an_undisturbed_one(
    route: tuple[Location, Location], module: str, name: str, left: int
) -> None:
    first, last = route
    before = everything(first)
    given = [each if isinstance(each, Path) else each.url for each in route]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, given), module, name, str(left)], cwd=ROOT
    )
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises((NotOurDatabase, DatabaseMissing)):
        Case.open(last, read_only=True)
    copy(first, last)
    check_copied(first, last, before)


@pytest.mark.parametrize("route", THREE, indirect=True)
@pytest.mark.usefixtures("small_portions")
def test_an_original_that_was_changed_meanwhile_is_copied_from_the_start(
    route: tuple[Location, Location],
) -> None:
    first, last = route
    break_off(first, last, 12)
    with Case.open(first) as case:
        case.set_facts(number="18/2")
    before = everything(first)
    events: list[Event] = []
    assert not copy(first, last, on_event=events.append).resumed
    assert "starts over" in next(each.text for each in events if isinstance(each, Notice))
    check_copied(first, last, before)


@pytest.mark.usefixtures("small_portions")
def test_packs_that_were_made_anew_meanwhile_are_copied_anew(source: Path, tmp_path: Path) -> None:
    made = tmp_path / "copy.db"
    break_off(source, made, 30)
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("UPDATE vector_pack SET id = id + 100")
    before = everything(source)
    assert copy(source, made).resumed
    check_copied(source, made, before)


@pytest.mark.usefixtures("small_portions")
def test_a_copy_of_something_else_is_not_gone_on_with(
    source: Path, postgres: ServerUrl, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    with Case.open(other) as case:
        case.set_facts(number="1")
    for target in (tmp_path / "copy.db", postgres):
        break_off(source, target, 5)
        with pytest.raises(UsageError, match="unfinished copy of"):
            copy(other, target)
        assert copy(source, target).resumed


@pytest.mark.parametrize("route", ["file to file", "file to server"], indirect=True)
@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("after", [1, 20])
def test_the_same_copy_begun_twice_is_finished_by_the_later_one(
    route: tuple[Location, Location], tmp_path: Path, after: int
) -> None:
    first, last = route
    before = everything(first)
    left = after
    # The same by its chain; the file itself cannot be written to meanwhile, which a copy would try at its end.
    again = shutil.copy(first, tmp_path / "again.db")

    def listen(event: Event) -> None:
        nonlocal left
        left -= isinstance(event, Progress)
        if not left:
            left = -1
            copy(again, last)

    with pytest.raises(DatabaseLocked, match="begun once more"):
        copy(first, last, on_event=listen)
    check_copied(first, last, before)


# -- refused --------------------------------------------------------------------------------------------------------


def test_whatever_is_there_already_is_not_touched(
    source: Path, postgres: ServerUrl, tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_text("hello")
    shutil.copy(source, tmp_path / "full.db")
    (tmp_path / "new.db.part").write_text("mine")
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    for name in ("text.db", "full.db", "new.db", source.name):
        with pytest.raises(UsageError, match="exists already"):
            copy(source, tmp_path / name)
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before
    server_change(postgres, "CREATE TABLE others AS SELECT 1 AS one")
    with pytest.raises(UsageError, match="holds tables already") as refused:
        copy(source, postgres)
    assert "createdb" in refused.value.hint
    listing = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert server_rows(postgres, listing) == [("others",)]
    server_change(postgres, "DROP TABLE others")
    copy(source, postgres)
    with pytest.raises(UsageError, match="holds tables already"):
        copy(source, postgres)


def test_what_is_written_to_or_of_another_schema_is_not_copied(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    for change, error in (
        ("UPDATE run SET status = 'running', host = 'another' WHERE id = 2", DatabaseLocked),
        ("UPDATE alembic_version SET version_num = '0003'", SchemaTooOld),
    ):
        with closing(sqlite3.connect(source)) as connection, connection:
            connection.execute(change)
        with pytest.raises(error):
            copy(source, target)
    with pytest.raises(DatabaseMissing):
        copy(tmp_path / "none.db", target)
    assert not list(tmp_path.glob("copy.db*"))


def test_a_database_that_contradicts_its_chain_leaves_no_copy(
    source: Path, postgres: ServerUrl, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(source)) as connection, connection:
        (md5,) = connection.execute("SELECT md5 FROM image WHERE id = 2").fetchone()
        connection.execute("UPDATE image SET md5 = ? WHERE id = 2", ("0" * 32,))
    for target in (tmp_path / "copy.db", postgres):
        with pytest.raises(VerificationFailed, match=r"is not as entry .* sealed it") as failed:
            copy(source, target)
        assert f"audit verify -dp {source}" in failed.value.hint
        with pytest.raises((DatabaseMissing, NotOurDatabase)):
            Case.open(target, read_only=True)
    assert not list(tmp_path.glob("copy.db*"))
    assert server_rows(postgres, "SELECT count(*) FROM image") == [(0,)]
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("UPDATE image SET md5 = ? WHERE id = 2", (md5,))
    before = everything(source)
    copy(source, postgres)
    check_copied(source, postgres, before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE failure SET message = 'a' || char(0) || 'b'", "a row of failure"),
        ("UPDATE image SET exif = 'no object' WHERE id = 1", "a row of image"),
        ("UPDATE image SET width = 'wide' WHERE id = 1", "a row of image"),
    ],
)
def test_what_a_server_cannot_keep_is_one_clear_line(
    source: Path, postgres: ServerUrl, change: str, said: str
) -> None:
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(change)
    with pytest.raises(DatabaseError, match=said) as refused:
        copy(source, postgres)
    assert "\n" not in refused.value.message


def test_a_full_disk_is_one_clear_line_and_the_copy_goes_on_later(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "ROWS_AT_ONCE", 3)
    with closing(sqlite3.connect(source)) as connection, connection:
        # More than what the migrations left free.
        connection.execute("UPDATE thumbnail SET jpeg = zeroblob(1000000)")
    really = engine._connect
    tables = "SELECT 1 FROM sqlite_master WHERE name = 'unfinished_copy'"

    def connect(path: Path, mode: str) -> sqlite3.Connection:
        connection = really(path, mode)
        if connection.execute(tables).fetchone():
            # No larger than it is.
            connection.execute("PRAGMA max_page_count = 1")
        return connection

    before = everything(source)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_connect", connect)
        with pytest.raises(DatabaseNotWritable, match="full") as full:
            copy(source, tmp_path / "copy.db")
    assert "run again" in full.value.hint
    assert copy(source, tmp_path / "copy.db").resumed
    check_copied(source, tmp_path / "copy.db", before)


def test_where_nothing_may_be_written_is_one_clear_line(
    source: Path, postgres: ServerUrl, tmp_path: Path
) -> None:
    with pytest.raises(DatabaseNotWritable, match="cannot create"):
        copy(source, tmp_path / "no such folder" / "copy.db")
    role = f"reader_{os.getpid()}"
    server_change(postgres, f"CREATE ROLE {role} LOGIN")
    as_reader = ServerUrl(postgres.url.replace("postgres@", f"{role}@"))
    with pytest.raises(DatabaseNotWritable, match="permission denied"):
        copy(source, as_reader)
    server_change(postgres, f"DROP ROLE {role}")
    with pytest.raises(DatabaseMissing):
        copy(source, ServerUrl(postgres.url.replace(postgres.name, "nowhere")))
