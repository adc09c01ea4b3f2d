"""`relink`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Made, Run


def test_a_source_that_is_mounted_elsewhere_is_moved_once_its_files_prove_the_same(
    run: Run, case: Made, tmp_path: Path
) -> None:
    anew = case.folder.rename(tmp_path / "anew")
    tried = run("relink", "evidence", anew, "-dp", case.database, "--dry-run", "--sample", "2")
    assert tried.code == 0
    assert tried.out.startswith("2 of 6 files compared: 2 same / 0 changed")
    assert "would be moved" in tried.out
    outcome = run("relink", "evidence", anew, "-dp", case.database)
    assert outcome.code == 0
    assert outcome.out.endswith(f"evidence: moved from {case.folder} to {anew}\n")
    assert run("db", "verify", "--rehash", "-dp", case.database).code == 0


def test_other_files_there_keep_it_and_exit_with_15(run: Run, case: Made, tmp_path: Path) -> None:
    anew = case.folder.rename(tmp_path / "anew")
    (anew / "picture-1.png").write_bytes((anew / "picture-2.png").read_bytes())
    (anew / "picture-3.png").unlink()
    outcome = run("relink", "evidence", anew, "-dp", case.database, "--allow-missing")
    assert outcome.code == 15
    assert "changed     evidence:picture-1.png  another content than recorded" in outcome.out
    (missing,) = [line for line in outcome.out.splitlines() if line.startswith("missing")]
    assert "(recorded " in missing and "found" not in missing, "nothing was found to name"
    assert f"evidence: stays at {case.folder}" in outcome.out
    (report,) = run("relink", "evidence", anew, "-dp", case.database, "--format", "json").objects()
    assert (report["moved"], report["changed"], report["missing"]) == (False, 1, 1)


def test_a_database_that_is_missing_is_not_made(run: Run, tmp_path: Path) -> None:
    assert run("relink", "x", tmp_path, "-dp", tmp_path / "none.db").code == 10
    assert not (tmp_path / "none.db").exists()
