"""What the program wrote of a case can be listed, and its small pictures deleted."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Made, Run, index_arguments


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
