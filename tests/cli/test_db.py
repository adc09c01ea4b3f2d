"""`db`."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Made, Run
from tests.conftest import draw_picture


def test_the_status_counts_what_is_there(run: Run, indexed: Made) -> None:
    (status,) = run("db", "status", "-dp", indexed.database, "--format", "json").objects()
    assert (status["images"], status["files"], status["failures"]) == (5, 6, 1)
    assert status["skipped"] == {"document": 1}
    outcome = run("db", "status", "-dp", indexed.database)
    assert outcome.code == 0
    assert "document 1" in outcome.out
    assert str(indexed.folder) in outcome.out


def test_a_current_database_needs_no_upgrade_and_a_missing_one_is_not_made(
    run: Run, case: Made, tmp_path: Path
) -> None:
    assert run("db", "upgrade", "-dp", case.database).out.endswith("up to date\n")
    assert run("db", "upgrade", "-dp", tmp_path / "none.db").code == 10
    assert not (tmp_path / "none.db").exists()


def test_an_undisturbed_database_verifies(run: Run, indexed: Made) -> None:
    outcome = run("db", "verify", "-dp", indexed.database)
    assert outcome.code == 0
    assert "0 findings" in outcome.out
    again = run("db", "verify", "--rehash", "-dp", indexed.database)
    assert again.code == 0
    assert "6 unchanged / 0 changed / 0 missing / 0 unreadable" in again.out


def test_changed_and_missing_files_are_found_and_exit_with_15(run: Run, case: Made) -> None:
    draw_picture(99, (64, 48)).save(case.folder / "picture-1.png")
    (case.folder / "picture-2.png").unlink()
    assert run("db", "verify", "-dp", case.database).code == 0
    outcome = run("db", "verify", "--rehash", "-dp", case.database)
    kinds = sorted(line.split()[:2] for line in outcome.out.splitlines()[:2])
    assert outcome.code == 15
    assert kinds == [["changed", "evidence:picture-1.png"], ["missing", "evidence:picture-2.png"]]
    assert "4 unchanged / 1 changed / 1 missing / 0 unreadable" in outcome.out
    (report,) = run("db", "verify", "--rehash", "-dp", case.database, "--format", "json").objects()
    assert {each["kind"] for each in report["findings"]} == {"changed", "missing"}


def test_a_list_of_acquisition_hashes_is_compared_and_a_contradiction_exits_with_15(
    run: Run, case: Made, tmp_path: Path
) -> None:
    pictures = sorted(path for path in case.folder.iterdir() if path.suffix == ".png")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{path.name}" for path in pictures]
    hashes = tmp_path / "hashes.sha256"
    hashes.write_text("\n".join(lines))
    outcome = run("db", "verify", "--against", hashes, "-dp", case.database)
    assert outcome.code == 0
    assert ["confirmed", str(len(lines))] in [line.split() for line in outcome.out.splitlines()]
    hashes.write_text("\n".join([f"{'0' * 64}  ./{pictures[0].name}", *lines[1:]]))
    outcome = run("db", "verify", "--against", hashes, "--source", "evidence", "-dp", case.database)
    assert outcome.code == 15
    assert f"contradicted  evidence:{pictures[0].name}  another SHA256" in outcome.out
    shown = run("db", "verify", "--against", hashes, "-dp", case.database, "--format", "json")
    assert [each.get("contradicted") for each in shown.objects()] == [None, 1]


def test_an_unsound_list_of_hashes_is_refused_with_one_line(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("no hash\n")
    outcome = run("db", "verify", "--against", tmp_path / "list.txt", "-dp", indexed.database)
    assert outcome.code == 1
    assert "line 1" in outcome.err
    assert run("db", "verify", "--source", "evidence", "-dp", indexed.database).code == 2


def test_a_damaged_vector_is_found_and_exits_with_15(run: Run, case: Made) -> None:
    connection = sqlite3.connect(case.database)
    connection.execute("UPDATE embedding SET vector = zeroblob(length(vector)) WHERE id = 1")
    connection.commit()
    connection.close()
    outcome = run("db", "verify", "-dp", case.database)
    assert outcome.code == 15
    assert outcome.out.startswith("record ")


def test_a_backup_answers_as_the_original_and_is_the_owners_alone(
    run: Run, copied: Made, tmp_path: Path
) -> None:
    target = tmp_path / "backup.db"
    outcome = run("db", "backup", target, "-dp", copied.database)
    assert (outcome.code, outcome.out) == (0, f"{target}\n")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    hits = [
        run("query", copied.first, "-dp", each, "--format", "paths").out
        for each in (copied.database, target)
    ]
    assert hits[0] == hits[1]


def test_a_backup_replaces_nothing_and_goes_not_into_evidence(
    run: Run, case: Made, tmp_path: Path
) -> None:
    existing = tmp_path / "notes.txt"
    existing.write_text("mine")
    assert run("db", "backup", existing, "-dp", case.database).code == 2
    assert existing.read_text() == "mine"
    assert run("db", "backup", case.folder / "backup.db", "-dp", case.database).code == 2
    assert not (case.folder / "backup.db").exists()


@pytest.mark.parametrize("command", ["status", "verify", "upgrade"])
def test_a_file_that_is_no_database_exits_with_10(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "case.db").write_text("no database")
    assert run("db", command, "-dp", tmp_path / "case.db").code == 10


def test_a_database_that_cannot_be_written_to_exits_with_1(
    run: Run, case: Made, tmp_path: Path
) -> None:
    """A target of a backup in a folder that is none."""
    shutil.copyfile(case.database, tmp_path / "copy.db")
    outcome = run("db", "backup", tmp_path / "none" / "backup.db", "-dp", tmp_path / "copy.db")
    assert outcome.code == 1
