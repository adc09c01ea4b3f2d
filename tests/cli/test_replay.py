"""`query --manifest` writes a file by which `replay` repeats the search."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Made, Run, index_arguments
from tests.conftest import draw_picture


@pytest.fixture
def manifest(case: Made, run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "hits.json"
    asked = run("query", case.first, "-dp", case.database, "-k", 3, "--manifest", path)
    assert asked.code == 0 and f"manifest: {path}" in asked.err
    return path


def test_a_replay_says_same(manifest: Path, run: Run) -> None:
    replayed = run("replay", manifest)
    assert replayed.code == 0
    assert replayed.out.startswith("same: 3 of 3 results, distances identical")


def test_the_block_size_changes_nothing(manifest: Path, run: Run) -> None:
    whole = run("replay", manifest, "--format", "json").objects()
    for size in (1, 7):
        assert run("replay", manifest, "--format", "json", "--block-size", size).objects() == whole
    assert whole[0]["same"] is True


def test_it_needs_neither_the_pictures_nor_the_weights(
    manifest: Path, case: Made, run: Run, no_network: None
) -> None:
    shutil.rmtree(case.folder)
    assert run("replay", manifest, "-dp", case.database).code == 0


def test_a_changed_vector_is_said_with_both_distances(manifest: Path, case: Made, run: Run) -> None:
    with closing(sqlite3.connect(case.database)) as connection, connection:
        connection.execute("UPDATE embedding SET vector = zeroblob(length(vector))")
    replayed = run("replay", manifest)
    assert replayed.code == 15
    assert "differs: 0 of 3 results" in replayed.out
    assert "its distance is another (manifest 0." in replayed.out
    assert "are not those that were searched" in replayed.out


def test_a_later_run_changes_nothing(
    manifest: Path, case: Made, run: Run, picture_factory: object
) -> None:
    shutil.copyfile(case.first, case.folder / "later.png")
    run(*index_arguments(case.folder, case.database, case.model))
    assert run("replay", manifest).code == 0


def test_a_folder_of_queries_has_one_manifest(case: Made, run: Run, tmp_path: Path) -> None:
    queries = tmp_path / "queries"
    queries.mkdir()
    for number in (1, 2):
        shutil.copyfile(case.folder / f"picture-{number}.png", queries / f"{number}.png")
    path = tmp_path / "all.json"
    assert run("query", queries, "-dp", case.database, "--manifest", path, "-q").code == 0
    assert len(json.loads(path.read_text())["queries"]) == 2
    assert "same: 2 of 2 queries" in run("replay", path).out


def test_a_manifest_is_never_written_into_evidence_nor_over_another_file(
    case: Made, run: Run, tmp_path: Path
) -> None:
    inside = run("query", case.first, "-dp", case.database, "--manifest", case.folder / "m.json")
    assert inside.code == 2 and "indexed folder" in inside.err
    other = tmp_path / "letter.txt"
    other.write_text("Dear Sir")
    refused = run("query", case.first, "-dp", case.database, "--manifest", other, "--force")
    assert refused.code == 2 and other.read_text() == "Dear Sir"


def test_force_replaces_an_earlier_manifest(manifest: Path, case: Made, run: Run) -> None:
    again = ("query", case.first, "-dp", case.database, "--manifest", manifest)
    assert run(*again).code == 2
    assert run(*again, "--force").code == 0
    assert run("replay", manifest).code == 0


def test_the_manifest_is_recorded_in_the_audit_chain(manifest: Path, case: Made) -> None:
    with closing(sqlite3.connect(case.database)) as connection:
        (detail,) = connection.execute(
            "SELECT detail FROM audit WHERE action = 'export' ORDER BY id DESC LIMIT 1"
        ).fetchone()
    assert json.loads(detail)["kind"] == "manifest"


def test_a_damaged_manifest_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{}")
    refused = run("replay", tmp_path / "m.json")
    assert refused.code == 1 and "m.json is no sound manifest" in refused.err
    assert run("replay", tmp_path / "none.json").code == 1


def test_what_decisions_kept_out_stays_out(case: Made, run: Run, tmp_path: Path) -> None:
    asked = ("query", case.first, "-dp", case.database, "-k", 2, "--scene", "off")
    hit = run(*asked, "--format", "json").objects()[1]["sha256"]
    judged = run("review", "irrelevant", case.first, hit, "-dp", case.database)
    assert judged.code == 0, judged.err
    run(*asked, "--manifest", tmp_path / "m.json")
    (exclusion,) = json.loads((tmp_path / "m.json").read_text())["exclusions"]
    assert exclusion == [hit]
    assert run("replay", tmp_path / "m.json").code == 0


def test_a_merge_and_a_move_of_a_source_change_nothing(
    manifest: Path, case: Made, indexed: Made, run: Run, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("picture-0.png", "picture-1.png"):
        shutil.copyfile(case.folder / name, other / name)
    draw_picture(77, (64, 48)).save(other / "new.png")
    assert run(*index_arguments(other, tmp_path / "other.db", case.model)).code == 0
    merged = run("case", "merge", tmp_path / "other.db", "-dp", case.database)
    assert merged.code == 0, merged.err
    moved = case.folder.rename(tmp_path / "mounted-elsewhere")
    relinked = run("relink", "evidence", moved, "-dp", case.database)
    assert relinked.code == 0, relinked.err
    replayed = run("replay", manifest)
    assert replayed.code == 0, replayed.out


def test_a_database_that_was_moved_is_named_with_what_to_do(
    manifest: Path, case: Made, run: Run, tmp_path: Path
) -> None:
    moved = case.database.rename(tmp_path / "moved.db")
    lost = run("replay", manifest)
    assert (
        lost.code == 10 and f"not at {case.database} any more" in lost.err and "-dp DB" in lost.err
    )
    assert run("replay", manifest, "-dp", moved).code == 0


def test_a_report_and_a_manifest_never_replace_each_other(
    case: Made, run: Run, tmp_path: Path
) -> None:
    both = tmp_path / "both.html"
    asked = run("query", case.first, "-dp", case.database, "--report", both, "--manifest", both)
    assert asked.code == 2 and "one file" in asked.err and not both.exists()
