"""What the program wrote of a case can be listed, and its small pictures deleted."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Made, Run, index_arguments
from tests.conftest import draw_picture


def test_traces_lists_what_was_written_and_what_became_of_it(
    case: Made, run: Run, tmp_path: Path
) -> None:
    run("db", "backup", tmp_path / "copy.db", "-dp", case.database)
    run("query", case.first, "-dp", case.database, "--manifest", tmp_path / "m.json")
    (tmp_path / "copy.db").unlink()
    shown = run("case", "traces", "-dp", case.database)
    lines = shown.out.splitlines()
    assert shown.code == 0
    assert (
        lines[1].endswith(str(tmp_path / "copy.db"))
        and " backup " in lines[1]
        and " gone " in lines[1]
    )
    assert lines[2].endswith(str(tmp_path / "m.json")) and " as written " in lines[2]
    assert lines[-1] == "2 files; in the database 0 thumbnails, 0 bytes"
    (report,) = run("case", "traces", "-dp", case.database, "--format", "json").objects()
    assert [trace["kind"] for trace in report["files"]] == ["backup", "manifest"]


def test_thumbnails_are_stored_on_request_and_purged(case: Made, run: Run) -> None:
    run(*index_arguments(case.folder, case.database, case.model), "--thumbnails")
    assert "in the database 5 thumbnails" in run("case", "traces", "-dp", case.database).out
    assert run("case", "purge-thumbnails", "-dp", case.database).out == "5 thumbnails deleted\n"
    assert run("refresh", "-dp", case.database).code == 3
    assert "in the database 0 thumbnails" in run("case", "traces", "-dp", case.database).out


def test_a_missing_database_is_not_created(run: Run, tmp_path: Path) -> None:
    for command in ("traces", "purge-thumbnails"):
        assert run("case", command, "-dp", tmp_path / "none.db").code == 10
    assert list(tmp_path.iterdir()) == []


def test_what_a_merged_database_had_written_is_listed_behind(
    case: Made, run: Run, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    draw_picture(77, (64, 48)).save(other / "new.png")
    run(*index_arguments(other, tmp_path / "other.db", case.model))
    run("db", "backup", tmp_path / "copy-of-other.db", "-dp", tmp_path / "other.db")
    run("db", "backup", tmp_path / "copy.db", "-dp", case.database)
    assert run("case", "merge", tmp_path / "other.db", "-dp", case.database).code == 0
    _, own, merged, _ = run("case", "traces", "-dp", case.database).out.splitlines()
    assert own.endswith(str(tmp_path / "copy.db")) and ":" not in own.split()[0]
    assert merged.endswith(str(tmp_path / "copy-of-other.db")) and ":" in merged.split()[0]
