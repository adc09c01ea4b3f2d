"""`case merge`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Made, Run
from tests.conftest import draw_picture


@pytest.fixture
def other(run: Run, case: Made, tmp_path: Path) -> Path:
    """Another database, of a folder with one picture that the first has and one that it has not."""
    folder = tmp_path / "second"
    folder.mkdir()
    (folder / "same.png").write_bytes(case.first.read_bytes())
    draw_picture(40, (64, 48)).save(folder / "new.png")
    database = tmp_path / "other.db"
    given = ("-m", case.model, "--scenes", case.model, "-ip", folder, "-dp", database)
    assert run("index", *given).code == 0
    return database


def test_another_database_is_taken_over_with_an_account(run: Run, case: Made, other: Path) -> None:
    outcome = run("case", "merge", other, "-dp", case.database, "--prefix", "b-")
    assert outcome.code == 0, outcome.err
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert "sources second as b-second" in lines
    assert "pictures 1 new, 1 in both" in lines
    (status,) = run("db", "status", "-dp", case.database, "--format", "json").objects()
    assert [each["name"] for each in status["sources"]] == ["b-second", "evidence"]
    again = run("case", "merge", other, "-dp", case.database)
    assert again.code == 2
    assert "already" in again.err


def test_the_account_comes_as_json(run: Run, case: Made, other: Path) -> None:
    (report,) = run("case", "merge", other, "-dp", case.database, "--format", "json").objects()
    assert (report["runs"], report["places"], report["vectors"]) == (1, 2, 1)


def test_what_is_missing_or_of_another_program_exits_with_10(
    run: Run, case: Made, tmp_path: Path
) -> None:
    assert run("case", "merge", tmp_path / "none.db", "-dp", case.database).code == 10
    assert run("case", "merge", case.first, "-dp", case.database).code == 10
    assert run("case", "merge", case.database, "-dp", tmp_path / "none.db").code == 10
