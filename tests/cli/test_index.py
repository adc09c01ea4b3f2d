"""`index` and `generate_embeddings`."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from image_similarity.cli.index import index
from tests.cli.conftest import Made, Run, index_arguments, start
from tests.conftest import draw_picture


def test_the_account_adds_up_and_says_what_was_not_searched(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    outcome = run(*index_arguments(indexed.folder, tmp_path / "case.db", indexed.model))
    lines = outcome.out.splitlines()
    assert outcome.code == 3
    assert lines[0] == "evidence: partial"
    assert lines[2] == "  8 seen = 5 new + 1 duplicate + 0 unchanged + 1 failed + 1 skipped by rule"
    assert lines[4].startswith("  5 pictures embedded with ")
    assert "  NOT searched: document 1. Pictures inside them are not in this database." in lines
    assert any(line.startswith("  not taken: decode  evidence:broken.jpg  ") for line in lines)
    assert outcome.err == ""


def test_the_account_is_also_one_json_object(run: Run, indexed: Made, tmp_path: Path) -> None:
    arguments = index_arguments(indexed.folder, tmp_path / "case.db", indexed.model)
    (report,) = run(*arguments, "--format", "json").objects()
    assert report["status"] == "partial"
    assert (report["seen"], report["new"], report["duplicate"], report["failed"]) == (8, 5, 1, 1)
    assert report["failures"][0]["path"] == "broken.jpg"


def test_a_second_run_reads_nothing_and_names_the_failures_of_the_first(
    run: Run, case: Made
) -> None:
    outcome = run(*index_arguments(case.folder, case.database, case.model))
    assert outcome.code == 3
    assert (
        "8 seen = 0 new + 0 duplicate + 6 unchanged + 1 failed + 1 skipped by rule" in outcome.out
    )
    assert "1 of the failures are of an earlier run" in outcome.out


def test_without_failures_the_exit_code_is_0(run: Run, case: Made) -> None:
    (case.folder / "broken.jpg").unlink()
    outcome = run(*index_arguments(case.folder, case.database, case.model))
    assert outcome.code == 0
    assert outcome.out.startswith("evidence: done\n")


def test_no_more_than_20_failures_are_listed(run: Run, indexed: Made, tmp_path: Path) -> None:
    folder, database = tmp_path / "many", tmp_path / "case.db"
    folder.mkdir()
    for number in range(23):
        (folder / f"{number:02}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes([number]))
    outcome = run(*index_arguments(folder, database, indexed.model))
    assert outcome.out.count("not taken:") == 20
    assert f"... and 3 more: image-similarity runs failures 1 -dp {database}" in outcome.out
    assert len(run("runs", "failures", 1, "-dp", database, "--format", "json").objects()) == 23


def test_generate_embeddings_is_index(run: Run, indexed: Made, tmp_path: Path) -> None:
    """Same output, same database."""
    outcomes, contents = [], []
    for name in ("image-similarity", "generate_embeddings"):
        database = tmp_path / f"{name}.db"
        _, *arguments = index_arguments(indexed.folder, database, indexed.model)
        if name == "generate_embeddings":
            outcome = run(*arguments, "--format", "json", command=index, name=name)
        else:
            outcome = run("index", *arguments, "--format", "json")
        (report,) = outcome.objects()
        outcomes.append((outcome.code, outcome.err, without_times(report)))
        contents.append(dump(database))
    assert outcomes[0] == outcomes[1]
    assert contents[0] == contents[1]


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in report.items()
        if key not in {"started_at", "finished_at", "seconds"}
    }


def dump(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that two runs must agree on: contents, places, vectors, labels, failures, what was skipped."""
    queries = {
        "image": "SELECT sha256, size, width, height FROM image",
        "file": "SELECT path, image_id, size FROM file",
        "embedding": "SELECT image_id, vector FROM embedding",
        "image_scene": "SELECT image_id, scene_id, probability FROM image_scene",
        "failure": "SELECT path, stage, error, message FROM failure",
        "skipped": "SELECT path, rule, kind FROM skipped",
    }
    with sqlite3.connect(database) as connection:
        found = {
            name: connection.execute(f"{query} ORDER BY 1, 2").fetchall()
            for name, query in queries.items()
        }
    connection.close()
    return found


def test_the_old_form_of_the_command_works(run: Run, indexed: Made, tmp_path: Path) -> None:
    arguments = [
        "-m",
        indexed.model,
        "-ip",
        indexed.folder,
        "-dp",
        tmp_path / "case.db",
        "--scenes",
        "none",
    ]
    assert run(*arguments, command=index, name="generate_embeddings").code == 3
    long = [
        "--model",
        indexed.model,
        "--image-path",
        indexed.folder,
        "--db-path",
        tmp_path / "case.db",
    ]
    assert run(*long, "--scenes", "none", command=index, name="generate_embeddings").code == 3


def test_a_missing_folder_exits_with_2_and_makes_no_database(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    outcome = run(*index_arguments(tmp_path / "none", tmp_path / "case.db", indexed.model))
    assert outcome.code == 2
    assert str(tmp_path / "none") in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_database_inside_the_evidence_exits_with_2_and_is_not_made(run: Run, case: Made) -> None:
    before = sorted(case.folder.rglob("*"))
    outcome = run(*index_arguments(case.folder, case.folder / "rooms" / "case.db", case.model))
    assert outcome.code == 2
    assert sorted(case.folder.rglob("*")) == before


def test_an_empty_folder_exits_with_1(run: Run, indexed: Made, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = run(*index_arguments(tmp_path / "empty", tmp_path / "case.db", indexed.model))
    assert outcome.code == 1
    assert "holds no file" in outcome.err


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0 but not really"])
def test_a_file_that_is_no_database_exits_with_10_and_is_not_touched(
    run: Run, indexed: Made, tmp_path: Path, content: bytes
) -> None:
    database = tmp_path / "case.db"
    database.write_bytes(content)
    assert run(*index_arguments(indexed.folder, database, indexed.model)).code == 10
    assert database.read_bytes() == content


def test_a_database_of_another_program_exits_with_10_and_is_not_touched(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    database = tmp_path / "other.db"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE bookmark (url TEXT)")
    connection.commit()
    connection.close()
    before = database.read_bytes()
    assert run(*index_arguments(indexed.folder, database, indexed.model)).code == 10
    assert database.read_bytes() == before


def test_a_database_of_a_later_version_exits_with_12(run: Run, case: Made) -> None:
    connection = sqlite3.connect(case.database)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert run(*index_arguments(case.folder, case.database, case.model)).code == 12
    assert run("query", case.first, "-dp", case.database).code == 12


def test_a_database_that_another_run_writes_to_exits_with_11(run: Run, case: Made) -> None:
    connection = sqlite3.connect(case.database)
    connection.execute(
        "UPDATE run SET status = 'running', pid = ?, process_start = NULL", [os.getpid()]
    )
    connection.commit()
    connection.close()
    outcome = run(*index_arguments(case.folder, case.database, case.model))
    assert outcome.code == 11
    assert f"process {os.getpid()}" in outcome.err
    assert run("query", case.first, "-dp", case.database).code == 0


def test_an_unknown_model_exits_with_13(run: Run, indexed: Made, tmp_path: Path) -> None:
    outcome = run("index", "-m", "builtim", "-ip", indexed.folder, "-dp", tmp_path / "case.db")
    assert outcome.code == 13
    assert "builtin" in outcome.err


def test_settings_without_an_index_leave_no_database_behind(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    database = tmp_path / "case.db"
    for more, code in ((("-m", "nonesuch"), 13), (("--batch-size", "0"), 2)):
        outcome = run(*index_arguments(indexed.folder, database, indexed.model), *more)
        assert outcome.code == code
        assert not database.exists()


@pytest.mark.parametrize(
    "setting", [["--batch-size", "0"], ["--workers", "-1"], ["--max-megapixels", "0"]]
)
def test_a_setting_out_of_range_exits_with_2(
    run: Run, indexed: Made, tmp_path: Path, setting: list[str]
) -> None:
    arguments = index_arguments(indexed.folder, tmp_path / "case.db", indexed.model)
    assert run(*arguments, *setting).code == 2


def test_one_picture_can_be_indexed(run: Run, indexed: Made, tmp_path: Path) -> None:
    outcome = run(*index_arguments(indexed.first, tmp_path / "case.db", indexed.model))
    assert outcome.code == 0
    assert "1 seen = 1 new" in outcome.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_saves_its_batch_and_can_be_continued(
    run: Run, indexed: Made, tmp_path: Path, number: int, code: int
) -> None:
    folder, database = tmp_path / "many", tmp_path / "case.db"
    folder.mkdir()
    for seed in range(120):
        draw_picture(seed, (32, 24)).save(folder / f"{seed:03}.png")
    arguments = index_arguments(folder, database, indexed.model)
    process = start(*arguments, "--progress", "json", "--batch-size", "1", "--format", "json")
    assert process.stderr is not None
    events = (json.loads(line) for line in process.stderr)
    assert next(events)["event"] == "started"
    assert next(events)["event"] == "progress"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    events_after = [json.loads(line) for line in err.splitlines()]
    assert {
        "event": "notice",
        "text": "finishing the batch; press Ctrl-C again to stop now",
    } in events_after
    report = json.loads(out)
    assert report["status"] == "interrupted"
    assert 0 < report["embedded"] < 120
    again = run(*arguments, "--format", "json")
    assert again.code == 0
    assert again.objects()[0]["embedded"] == 120 - report["embedded"]


def test_a_second_ctrl_c_ends_at_once(indexed: Made, tmp_path: Path) -> None:
    folder, database = tmp_path / "many", tmp_path / "case.db"
    folder.mkdir()
    for seed in range(60):
        draw_picture(seed, (32, 24)).save(folder / f"{seed:03}.png")
    process = start(
        *index_arguments(folder, database, indexed.model), "--progress", "json", "--batch-size", "1"
    )
    assert process.stderr is not None
    assert process.stderr.readline()
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
