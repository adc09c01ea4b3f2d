"""The facts of a case are asked once, kept with what stood before, and cannot deceive whoever reads them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from image_similarity import Case
from tests.cli.conftest import Run


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_case_new_takes_flags_creates_the_database_and_asks_nothing_without_a_terminal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("never read\n"))
    database = tmp_path / "case.db"
    done = run("case", "new", "-dp", database, "--number", "17/2026", "--exhibit", "phone 3")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "number    17/2026",
        "examiner  -",
        "exhibit   phone 3",
        "notes     -",
    ]
    shown = run("case", "show", "-dp", database, "--format", "json").objects()
    assert shown == [{"number": "17/2026", "examiner": "", "exhibit": "phone 3", "notes": ""}]


def test_case_new_asks_on_a_terminal_for_what_no_flag_gives(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("17/2026\n\nsome notes\n"))
    done = run("case", "new", "-dp", tmp_path / "case.db", "--examiner", "A.", "--format", "json")
    assert done.code == 0
    assert done.objects() == [
        {"number": "17/2026", "examiner": "A.", "exhibit": "", "notes": "some notes"}
    ]


def test_case_new_refuses_a_database_that_exists(run: Run, tmp_path: Path) -> None:
    database = tmp_path / "case.db"
    assert run("case", "new", "-dp", database).code == 0
    again = run("case", "new", "-dp", database, "--number", "18")
    assert again.code == 2
    assert "case set" in again.err


def test_case_set_changes_what_is_named_and_the_chain_keeps_what_stood_before(
    run: Run, tmp_path: Path
) -> None:
    database = tmp_path / "case.db"
    run("case", "new", "-dp", database, "--number", "17", "--examiner", "A.")
    done = run("case", "set", "-dp", database, "--number", "18", "--examiner", "")
    assert done.out.splitlines()[:2] == ["number    18", "examiner  -"]
    with Case.open(database, read_only=True) as case:
        (entry,) = case.audit(last=1)
    assert json.loads(entry.detail) == {
        "set": {"number": "18", "examiner": ""},
        "before": {"number": "17", "examiner": "A."},
    }


def test_case_set_without_any_fact_or_database_is_refused(run: Run, tmp_path: Path) -> None:
    database = tmp_path / "case.db"
    assert run("case", "set", "-dp", database).code == 2
    assert run("case", "set", "-dp", database, "--number", "1").code == 10
    assert not database.exists()
    assert run("case", "show", "-dp", database).code == 10


def test_facts_that_would_deceive_a_reader_are_shown_escaped(run: Run, tmp_path: Path) -> None:
    database = tmp_path / "case.db"
    done = run("case", "new", "-dp", database, "--notes", "a\x1b[2Jb\u202ec")
    assert "a\\x1b[2Jb\\u202ec" in done.out
    assert "\x1b" not in done.out
