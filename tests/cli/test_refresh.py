"""`refresh`."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.cli.conftest import Made, Run, index_arguments
from tests.conftest import draw_picture


def test_every_source_is_indexed_again_with_its_own_settings(
    run: Run, case: Made, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    draw_picture(50, (32, 24)).save(other / "a.png")
    assert run(*index_arguments(other, case.database, case.model)).code == 0
    draw_picture(51, (32, 24)).save(other / "b.png")
    outcome = run("refresh", "-dp", case.database, "--format", "json")
    reports = {report["source"]: report for report in outcome.objects()}
    assert {
        name: (each["new"], each["unchanged"], each["failed"]) for name, each in reports.items()
    } == {
        "evidence": (0, 6, 1),
        "other": (1, 1, 0),
    }
    assert outcome.code == 3  # the worse of 3 and 0
    only = run("refresh", "-dp", case.database, "--source", "other")
    assert only.code == 0
    assert only.out.startswith("other: done\n")


def test_a_failed_file_is_tried_again_on_demand(run: Run, case: Made) -> None:
    draw_picture(60, (32, 24)).save(case.folder / "broken.jpg")
    outcome = run("refresh", "-dp", case.database, "--retry-failed")
    assert outcome.code == 0
    assert "8 seen = 1 new" in outcome.out


def test_a_vanished_file_is_gone_not_forgotten(run: Run, case: Made) -> None:
    (case.folder / "picture-3.png").unlink()
    outcome = run("refresh", "-dp", case.database)
    assert "no longer there 1" in outcome.out


def test_an_unknown_source_exits_with_2(run: Run, case: Made) -> None:
    assert run("refresh", "-dp", case.database, "--source", "none").code == 2


def test_evidence_that_is_not_mounted_is_no_empty_folder(run: Run, case: Made) -> None:
    case.folder.rename(case.folder.with_name("elsewhere"))
    assert run("refresh", "-dp", case.database).code == 2
    assert "6, and 0 where they are no longer" in run("db", "status", "-dp", case.database).out


def test_no_database_is_created(run: Run, tmp_path: Path) -> None:
    assert run("refresh", "-dp", tmp_path / "none.db").code == 10
    assert list(tmp_path.iterdir()) == []


def test_the_accounts_of_the_sources_that_could_be_reached_are_printed(
    run: Run, case: Made, tmp_path: Path
) -> None:
    """A timer's mail must say what was done, also where one disk was not there."""
    away = tmp_path / "away"
    shutil.copytree(case.folder, away)
    run(*index_arguments(away, case.database, case.model))
    shutil.rmtree(away)
    outcome = run("refresh", "-dp", case.database)
    assert outcome.code == 2
    assert "evidence: partial" in outcome.out
    assert "away" in outcome.err
