"""`runs`."""

from __future__ import annotations

import sqlite3

from tests.cli.conftest import Made, Run, index_arguments


def test_runs_are_listed_newest_first(run: Run, case: Made) -> None:
    run(*index_arguments(case.folder, case.database, case.model))
    reports = run("runs", "list", "-dp", case.database, "--format", "json").objects()
    assert [(each["run_id"], each["status"], each["embedded"]) for each in reports] == [
        (2, "partial", 0),
        (1, "partial", 5),
    ]
    lines = run("runs", "list", "-dp", case.database).out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "2", "1"]


def test_the_account_of_a_run_can_be_read_again(run: Run, indexed: Made) -> None:
    outcome = run("runs", "show", 1, "-dp", indexed.database)
    assert (
        "8 seen = 5 new + 1 duplicate + 0 unchanged + 1 failed + 1 skipped by rule" in outcome.out
    )
    (report,) = run("runs", "show", 1, "-dp", indexed.database, "--format", "json").objects()
    assert report["failures"][0]["stage"] == "decode"


def test_failures_are_listed_with_stage_and_reason(run: Run, indexed: Made) -> None:
    for arguments in ([], [1]):
        (failure,) = run(
            "runs", "failures", *arguments, "-dp", indexed.database, "--format", "json"
        ).objects()
        assert (failure["source"], failure["path"], failure["stage"]) == (
            "evidence",
            "broken.jpg",
            "decode",
        )
    outcome = run("runs", "failures", "-dp", indexed.database)
    assert "evidence:broken.jpg" in outcome.out
    assert outcome.err == "1 failure\n"


def test_an_unknown_run_exits_with_2(run: Run, indexed: Made) -> None:
    assert run("runs", "show", 99, "-dp", indexed.database).code == 2
    assert run("runs", "failures", 99, "-dp", indexed.database).code == 2


def test_a_run_that_died_on_another_machine_locks_until_it_is_closed(run: Run, case: Made) -> None:
    connection = sqlite3.connect(case.database)
    connection.execute("UPDATE run SET status = 'running', host = 'elsewhere', finished_at = NULL")
    connection.commit()
    connection.close()
    arguments = index_arguments(case.folder, case.database, case.model)
    locked = run(*arguments)
    assert locked.code == 11
    assert "runs close 1" in locked.err
    closed = run("runs", "close", 1, "-dp", case.database)
    assert (closed.code, closed.out) == (0, "run 1: interrupted\n")
    assert run(*arguments).code == 3
    assert run("runs", "close", 1, "-dp", case.database).code == 2


def test_how_the_evidence_was_mounted_is_recorded_and_shown(run: Run, indexed: Made) -> None:
    shown = run("runs", "show", 1, "-dp", indexed.database).out
    assert "  evidence mounted read-only: " in shown
    (report,) = run("runs", "show", 1, "-dp", indexed.database, "--format", "json").objects()
    assert report["mount"]["access_times"] in ("off", "relative", "on")
    assert isinstance(report["mount"]["read_only"], bool)
