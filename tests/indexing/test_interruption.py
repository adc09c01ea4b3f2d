"""Interrupted at any moment, a run leaves whole batches; the next run completes them to the same database."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from image_similarity.case import Case
from image_similarity.errors import DatabaseLocked
from image_similarity.events import Notice
from image_similarity.indexing import job
from image_similarity.store import processes
from tests.indexing.desk import Desk, same_vectors
from tests.indexing.runner import started, wait_for

KILLS = 6


def fill(desk: Desk) -> Desk:
    desk.put_many(36)
    for number in range(0, 36, 6):
        desk.put(f"again/picture-{number:03d}.png", seed=number)
        desk.corrupt(f"broken-{number:03d}.jpg")
    desk.write("notes.txt", b"text")
    return desk


@pytest.mark.usefixtures("location")
def test_killed_at_random_moments_and_run_again_it_is_as_if_never_disturbed(
    desk: Desk, tmp_path: Path, tiny_model: Path
) -> None:
    calm = fill(Desk(tmp_path / "calm", tiny_model))
    calm.index()
    fill(desk)
    moment = random.Random(20261121)
    for _ in range(KILLS):
        before = desk.count("run") if desk.database.exists() else 0
        with started(desk, seconds_per_file=0.01) as process:
            wait_for(desk, f"SELECT count(*) > {before} FROM run")
            time.sleep(moment.uniform(0, 0.12))
            process.kill()
            process.join()
        # A reader that comes right after finds whole batches, whatever the writer was doing.
        with Case.open(desk.database, read_only=True) as case:
            assert all(case.search(sha256=sha, scene="off").hits is not None for sha in some(desk))
        desk.check()
    desk.index()
    assert desk.essence() == calm.essence()
    assert same_vectors(desk.vectors(), calm.vectors())
    last, *earlier = desk.runs()
    assert last.status == "partial"
    assert len(earlier) == KILLS
    assert {run.status for run in earlier} <= {"interrupted", "partial"}
    assert "interrupted" in {run.status for run in earlier}
    assert all(run.finished_at for run in earlier)


def some(desk: Desk) -> list[str]:
    return [sha for (sha,) in desk.rows("SELECT sha256 FROM image ORDER BY id LIMIT 2")]


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_reader_rolls_back_the_journal_of_a_killed_writer(
    desk: Desk, through_a_link: bool
) -> None:
    """The journal is made the way a kill leaves it: beside a database whose pages it can restore."""
    desk.put_many(3)
    desk.index()
    before = desk.tables()
    leave_hot_journal(desk.database)
    if through_a_link:
        link = desk.folder / "links" / "case.db"
        link.parent.mkdir()
        link.symlink_to(desk.database)
        desk.database = link
    notices: list[str] = []
    with Case.open(
        desk.database,
        read_only=True,
        on_event=lambda event: notices.append(event.text) if isinstance(event, Notice) else None,
    ) as case:
        assert len(case.search(desk.evidence / "picture-000.png", scene="off").hits) == 2
    assert len(notices) == 1
    assert "rolled back" in notices[0]
    assert desk.tables() == before


def test_a_reader_that_was_open_before_the_kill_goes_on_after_it(desk: Desk) -> None:
    query = desk.put_many(3)[0]
    desk.index()
    with Case.open(desk.database, read_only=True) as case:
        assert len(case.search(query, scene="off").hits) == 2
        leave_hot_journal(desk.database)
        assert len(case.search(query, scene="off").hits) == 2
        assert case.status().files == 3


KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
for number in range(20):
    connection.execute("UPDATE source SET root_path = ?", (str(number) * 50_000,))
    connection.execute("UPDATE file SET path = path || ?", ("y" * 20_000,))
os.kill(os.getpid(), 9)
"""


def leave_hot_journal(database: Path) -> None:
    """Kill a writer whose changed pages are already in the file but not committed."""
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(database)], check=False)
    assert database.with_name(database.name + "-journal").stat().st_size > 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")
def test_a_killed_run_that_nobody_buried_does_not_lock_the_database(desk: Desk) -> None:
    """In a container without an init process a killed child stays a zombie for ever."""
    desk.put_many(2)
    desk.index()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as zombie:
        start = processes.started(zombie.pid)
        zombie.kill()
        while processes._kernel_fields(zombie.pid)[0] != "Z":
            time.sleep(0.01)
        desk.change(
            "UPDATE run SET status = 'running', pid = ?, process_start = ?", zombie.pid, start
        )
        desk.index()
    assert [run.status for run in desk.runs()] == ["done", "interrupted"]


@pytest.mark.usefixtures("location")
def test_a_process_number_used_again_does_not_lock_the_database(desk: Desk) -> None:
    """In a container the same small numbers come again after every start."""
    desk.put_many(2)
    desk.index()
    desk.change("UPDATE run SET status = 'running', pid = ?, process_start = 'other'", os.getpid())
    assert desk.index().status == "done"


def test_after_a_run_that_was_killed_no_picture_is_decoded_in_the_process_of_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that ends the process of a run would end each one after it, too."""
    from image_similarity.pictures import isolate

    def kill(*given: object, **named: object) -> None:
        raise AssertionError("decoded in this process")

    def listen(event: object) -> None:
        notices.extend([event.text] if isinstance(event, Notice) else [])

    notices: list[str] = []
    desk.put_many(2)
    desk.index(on_event=listen)
    isolate.close()
    assert notices == []
    desk.change("UPDATE run SET status = 'running', pid = ?, process_start = 'other'", os.getpid())
    desk.put("late.jpg", seed=9)
    monkeypatch.setattr("image_similarity.pictures.decode.decode_here", kill)
    assert desk.index(on_event=listen).new == 1
    assert len(isolate._idle) == 1
    isolate.close()
    assert [text for text in notices if "another process" in text]


@pytest.mark.usefixtures("location")
def test_asked_to_stop_a_run_ends_as_interrupted_and_the_next_one_completes_it(
    desk: Desk, tmp_path: Path, tiny_model: Path
) -> None:
    calm = fill(Desk(tmp_path / "calm", tiny_model))
    calm.index()
    fill(desk)
    report = desk.index(stop=after(20), batch_size=4)
    assert (report.status, report.gone, report.accounted) == ("interrupted", 0, True)
    assert 0 < report.seen < 49
    desk.check()
    assert len(desk.live()) == report.new + report.duplicate
    second = desk.index()
    assert (second.status, second.seen) == ("partial", 49)
    assert desk.essence() == calm.essence()
    assert same_vectors(desk.vectors(), calm.vectors())


def after(calls: int) -> Callable[[], bool]:
    """A `stop` that says so from a certain question on."""
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > calls

    return stop


def test_a_stopped_run_marks_nothing_gone(desk: Desk) -> None:
    pictures = desk.put_many(6)
    desk.index()
    pictures[5].unlink()
    report = desk.index(stop=after(2))
    assert (report.status, report.gone, len(desk.live())) == ("interrupted", 0, 6)
    assert desk.index().gone == 1


def test_a_long_walk_can_be_stopped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put_many(6)
    monkeypatch.setattr(job, "ENTRIES_PER_QUESTION", 2)
    report = desk.index(stop=lambda: True)
    assert (report.status, report.seen) == ("interrupted", 0)


def test_a_second_ctrl_c_leaves_whole_batches_and_a_run_closed_as_interrupted(desk: Desk) -> None:
    desk.put_many(12)
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        if len(asked) == 11:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        desk.index(stop=stop, batch_size=2, workers=1)
    (run,) = desk.runs()
    assert (run.status, run.accounted) == ("interrupted", True)
    assert len(desk.live()) == run.new
    desk.check()
    assert desk.index().status == "done"
    assert len(desk.live()) == 12


@pytest.mark.usefixtures("location")
def test_an_error_of_the_program_closes_the_run_as_failed_and_keeps_what_was_stored(
    desk: Desk,
) -> None:
    desk.put_many(12)

    def listener(event: object) -> None:
        if getattr(event, "done", 0) >= 4:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        desk.index(on_event=listener, batch_size=2, workers=1)
    (run,) = desk.runs()
    assert (run.status, run.new, len(desk.live())) == ("failed", 4, 4)
    assert desk.index().status == "done"


def test_a_listener_that_fails_at_once_leaves_no_run_open(desk: Desk) -> None:
    """An open run of a process that lives on would lock that process out of its own database."""
    desk.put_many(2)

    def listener(event: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        desk.index(on_event=listener)
    assert desk.index().status == "done"


@pytest.mark.usefixtures("location")
def test_a_second_writer_is_refused_and_told_who_writes(desk: Desk) -> None:
    fill(desk)
    with started(desk, seconds_per_file=0.5) as process:
        wait_for(desk, "SELECT count(*) FROM run")
        with pytest.raises(DatabaseLocked) as locked:
            desk.index()
        assert locked.value.exit_code == 11
        assert f"process {process.pid} on {processes.this_host()}" in locked.value.message
        assert locked.value.hint
    assert desk.count("run") == 1


@pytest.mark.usefixtures("location")
def test_queries_work_while_an_index_run_writes_and_do_not_hold_it_up(desk: Desk) -> None:
    first = fill(desk).evidence / "picture-000.png"
    desk.index(first)
    answers = 0
    with started(desk, seconds_per_file=0.02) as process:
        wait_for(desk, "SELECT count(*) > 1 FROM run")
        while process.is_alive():
            with Case.open(desk.database, read_only=True) as case:
                assert case.search(first, scene="off", k=50).sha256
                assert case.status().images >= 1
            answers += 1
        process.join()
        assert process.exitcode == 0
    assert answers >= 2
    assert desk.runs()[0].status == "partial"


@pytest.mark.usefixtures("location")
def test_a_run_left_open_on_another_machine_locks_until_it_is_closed_by_hand(desk: Desk) -> None:
    desk.put_many(2)
    run_id = desk.index().run_id
    desk.change("UPDATE run SET status = 'running', host = 'elsewhere', finished_at = NULL")
    with pytest.raises(DatabaseLocked, match="elsewhere") as locked:
        desk.index()
    assert f"runs close {run_id}" in locked.value.hint
    with Case.open(desk.database) as case:
        case.close_run(run_id)
    assert desk.index().status == "done"
