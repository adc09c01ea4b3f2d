"""`query`."""

from __future__ import annotations

import csv
import io
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from image_similarity.calibration.files import table_path, write_table
from image_similarity.reports.rows import COLUMNS
from image_similarity.values import ServerUrl
from tests.cli.conftest import ROOT, Made, Run, index_arguments, start
from tests.conftest import draw_picture
from tests.reports.samples import TABLE
from tests.search.synthetic import Row, write_case


def test_the_table_ranks_marks_and_says_what_was_searched(run: Run, indexed: Made) -> None:
    outcome = run("query", indexed.first, "-dp", indexed.database, "--scene", "off", "-k", 3)
    lines = outcome.out.splitlines()
    assert outcome.code == 0
    assert lines[0].startswith(f"{indexed.first}  (SHA-256 ")
    assert lines[0].endswith(", already indexed)")
    assert lines[1].split() == ["rank", "distance", "similarity", "scene", "marks", "picture"]
    assert lines[2].split()[:3] == ["1", "0.0000", "1.0000"]
    assert lines[2].endswith("identical  evidence:rooms/copy.png")
    assert lines[5] == "scenes searched: all; none of 5 pictures left out"
    assert lines[6].startswith("search: exhaustive over 5 pictures, k 3; model tiny (")
    assert outcome.err == ""


def test_a_database_that_is_named_twice_is_searched_once(
    run: Run, indexed: Made, postgres: ServerUrl
) -> None:
    write_case(postgres, [Row(str(at), [1.0, at]) for at in range(3)])
    other = postgres.url.replace("postgres@", "postgres:secret@")
    assert other != postgres.url
    asked = ("query", "--sha256", Row("1", ()).sha256, "--scene", "off", "--format", "paths")
    told = run(*asked, "-dp", postgres.url, "-dp", other)
    assert (told.code, len(told.out.splitlines())) == (0, 3)
    twice = ("-dp", indexed.database, "-dp", indexed.database.parent / "." / indexed.database.name)
    assert run("query", indexed.first, *twice, "--scene", "off", "--format", "paths").out == (
        run("query", indexed.first, *twice[:2], "--scene", "off", "--format", "paths").out
    )


# Used by other commands, or by a picture that is not stored; together they load longer than the answer takes.
NOT_FOR_A_STORED_PICTURE = {
    "PIL", "alembic", "jinja2", "numpy.ma", "onnxruntime", "sqlalchemy.dialects.postgresql", "sqlalchemy.orm", "torch",
    "torchvision", "tqdm",
}  # fmt: skip


@pytest.mark.parametrize("form", ["table", "json", "csv", "paths"])
def test_a_stored_picture_is_searched_for_without_loading_what_only_others_need(
    indexed: Made, form: str
) -> None:
    arguments = ["query", str(indexed.first), "-dp", str(indexed.database), "--format", form]
    code = f"""
import sys
from image_similarity.cli import main
code = main.run(main.cli, {arguments!r}, "image-similarity")
print(sorted({NOT_FOR_A_STORED_PICTURE!r} & set(sys.modules)), code)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stdout + done.stderr


def test_few_pictures_are_compared_exactly_also_when_asked_for_less(
    run: Run, indexed: Made
) -> None:
    outcome = run("query", indexed.first, "-dp", indexed.database, "--approximate")
    assert outcome.code == 0
    assert "search: exhaustive over " in outcome.out


def test_a_name_that_is_empty_is_refused_and_not_taken_for_the_current_folder(
    run: Run, indexed: Made
) -> None:
    told = run("query", "", "-dp", indexed.database)
    assert told.code == 2
    assert "The name is empty." in told.err


def test_a_scene_filter_always_says_what_it_left_out(run: Run, indexed: Made) -> None:
    for form in ("table", "json", "csv", "paths"):
        outcome = run(
            "query", indexed.first, "-dp", indexed.database, "--scene", "hard", "--format", form
        )
        said = outcome.out if form == "table" else outcome.err
        assert "scenes searched: " in said
        assert "; left out " in said
        assert "would have ranked above the last hit (--scene off shows them)" in said


def test_json_gives_one_object_a_hit_and_nothing_else_on_stdout(run: Run, indexed: Made) -> None:
    outcome = run(
        "query",
        indexed.first,
        "-dp",
        indexed.database,
        "--scene",
        "off",
        "-k",
        2,
        "--format",
        "json",
    )
    first, second = outcome.objects()
    assert tuple(first) == COLUMNS
    assert first["path"] == str(indexed.folder / "rooms" / "copy.png")
    assert first["identical"] is True
    assert first["sha256"] == first["query_sha256"]
    assert (first["rank"], second["rank"], second["identical"]) == (1, 2, False)
    assert first["model"] == "tiny"
    assert first["database"] == str(indexed.database)


def test_csv_has_a_header_and_the_same_columns(run: Run, indexed: Made, tmp_path: Path) -> None:
    """Also for a folder of queries there is one header."""
    for number in (7, 8):
        draw_picture(number, (64, 48)).save(tmp_path / f"{number}.png")
    outcome = run(
        "query", tmp_path, "-dp", indexed.database, "--scene", "off", "-k", 2, "--format", "csv"
    )
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert tuple(rows[0]) == COLUMNS
    assert [(Path(row["query"]).name, row["rank"]) for row in rows] == [
        ("7.png", "1"),
        ("7.png", "2"),
        ("8.png", "1"),
        ("8.png", "2"),
    ]


def test_paths_are_absolute_and_may_end_with_nul(run: Run, indexed: Made) -> None:
    arguments = [
        "query",
        indexed.first,
        "-dp",
        indexed.database,
        "--scene",
        "off",
        "-k",
        1,
        "--format",
        "paths",
    ]
    path = str(indexed.folder / "rooms" / "copy.png")
    assert run(*arguments).out == path + "\n"
    assert run(*arguments, "-0").out == path + "\0"


@pytest.mark.skipif(os.name == "nt", reason="such names do not exist there")
def test_hostile_names_are_shown_escaped_and_handed_on_as_they_are(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    names = [b"=cmd\x1b[31m.png", "\u202egpj.png".encode(), b"back\\slash\xff.png"]
    for number, name in enumerate(names):
        with (folder / os.fsdecode(name)).open("wb") as file:
            draw_picture(number, (32, 24)).save(file, "PNG")
    assert run(*index_arguments(folder, tmp_path / "case.db", indexed.model)).code == 0
    arguments = ["query", indexed.first, "-dp", tmp_path / "case.db", "--scene", "off"]
    table = run(*arguments).out
    assert "\x1b" not in table
    assert "\u202e" not in table
    assert "\\u202egpj.png" in table
    assert "back\\\\slash\\xff.png" in table
    relative = {
        row["relative_path"]
        for row in csv.DictReader(io.StringIO(run(*arguments, "--format", "csv").out))
    }
    assert "'=cmd\\u001b[31m.png" in relative
    rows = run(*arguments, "--format", "json").objects()
    on_disk = {os.fsencode(row["path"]) for row in rows}
    expected = {os.fsencode(folder) + b"/" + name for name in names}
    assert on_disk == expected
    process = start(*arguments, "--format", "paths", "-0")
    assert process.stdout is not None
    assert set(process.stdout.buffer.read().split(b"\0")) == expected | {b""}
    process.communicate(timeout=60)


def test_a_stored_picture_is_found_by_its_hash(run: Run, indexed: Made) -> None:
    arguments = ["-dp", indexed.database, "--scene", "off", "--format", "json"]
    sha256 = run("query", indexed.first, *arguments).objects()[0]["query_sha256"]
    hits = run("query", "--sha256", sha256[:8], *arguments).objects()
    assert {hit["query_sha256"] for hit in hits} == {sha256}
    assert [hit["relative_path"] for hit in hits[:2]] == ["picture-0.png", "rooms/copy.png"]


def test_several_databases_give_one_list_and_none_counts_twice(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    shutil.copyfile(indexed.database, copy)
    two = ["-dp", indexed.database, "-dp", copy, "-dp", indexed.database]
    hits = run(
        "query", indexed.first, *two, "--scene", "off", "--format", "json", "-k", 4
    ).objects()
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4]
    assert sorted(hit["database"] for hit in hits[:2]) == sorted([str(indexed.database), str(copy)])
    assert (
        "database"
        in run("query", indexed.first, *two, "--scene", "off").out.splitlines()[1].split()
    )


def test_filters_reach_the_search(run: Run, indexed: Made) -> None:
    arguments = [
        "query",
        indexed.first,
        "-dp",
        indexed.database,
        "--scene",
        "off",
        "--format",
        "json",
    ]
    under = run(*arguments, "--under", "rooms").objects()
    assert {hit["relative_path"] for hit in under} == {"rooms/copy.png"}
    near = run(*arguments, "--max-distance", "0.0001").objects()
    assert {hit["identical"] for hit in near} == {True}
    nothing = run(
        "query", indexed.folder / "picture-1.png", *arguments[2:], "--max-distance", "0.0001"
    )
    assert (nothing.code, nothing.out) == (0, "")
    assert "no picture found within distance 0.0001" in nothing.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-k", "0"], 2),
        (["--max-distance", "-1"], 2),
        (["--max-distance", "nan"], 2),
        (["--scene", "attic"], 2),
        (["--scene", "off", "--scene", "hard"], 2),
        (["--source", "disk-99"], 2),
        (["--sha256", "abcdef"], 2),
        (["-0"], 2),
        (["-m", "other"], 13),
    ],
)
def test_what_cannot_be_answered_is_one_clear_line(
    run: Run, indexed: Made, arguments: list[str], code: int
) -> None:
    outcome = run("query", indexed.first, "-dp", indexed.database, *arguments)
    assert outcome.code == code
    assert outcome.out == ""
    assert "unexpected" not in outcome.err


def test_a_query_is_a_picture_or_a_hash(run: Run, indexed: Made) -> None:
    assert run("query", "-dp", indexed.database).code == 2


def test_an_unknown_hash_exits_with_2(run: Run, indexed: Made) -> None:
    assert run("query", "--sha256", "0" * 64, "-dp", indexed.database).code == 2


def test_a_picture_that_cannot_be_read_exits_with_14(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    for query in (
        indexed.folder / "broken.jpg",
        indexed.folder / "letter.txt",
        tmp_path / "none.jpg",
    ):
        assert run("query", query, "-dp", indexed.database).code == 14


def test_a_missing_database_exits_with_10(run: Run, indexed: Made, tmp_path: Path) -> None:
    assert run("query", indexed.first, "-dp", tmp_path / "none.db").code == 10
    assert list(tmp_path.iterdir()) == []


def test_several_models_and_none_chosen_exits_with_2(run: Run, case: Made, tmp_path: Path) -> None:
    from tests.tiny_model import write_tiny_model

    other = tmp_path / "other.safetensors"
    write_tiny_model(other, seed=1)
    assert (
        run("index", "-m", other, "--scenes", "none", "-ip", case.folder, "-dp", case.database).code
        == 3
    )
    outcome = run("query", case.first, "-dp", case.database)
    assert outcome.code == 2
    assert "tiny" in outcome.err


def test_a_folder_gives_a_list_each_and_3_where_one_cannot_be_read(run: Run, indexed: Made) -> None:
    outcome = run("query", indexed.folder, "-dp", indexed.database, "--scene", "off", "-k", 1)
    assert outcome.code == 3
    assert outcome.out.count("rank  distance") == 6
    assert outcome.err.count("not searched: decode  broken.jpg  ") == 1


def test_a_query_writes_nothing(run: Run, case: Made) -> None:
    before = (case.database.read_bytes(), sorted(case.database.parent.iterdir()))
    assert run("query", case.folder / "picture-1.png", "-dp", case.database).code == 0
    assert (case.database.read_bytes(), sorted(case.database.parent.iterdir())) == before


def test_a_report_shows_the_hits_and_their_pictures(run: Run, copied: Made, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    arguments = [
        "query",
        copied.first,
        "-dp",
        copied.database,
        "--scene",
        "off",
        "--report",
        target,
    ]
    outcome = run(*arguments)
    text = target.read_text("utf-8")
    assert outcome.code == 0
    assert outcome.err == f"report: {target}\n"
    assert text.count("data:image/jpeg;base64,") == 6  # the query and 5 hits
    assert "evidence:rooms/copy.png" in text
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert run(*arguments).code == 2
    assert run(*arguments, "--force").code == 0


def test_a_report_names_the_query_pictures_that_could_not_be_read(
    run: Run, copied: Made, tmp_path: Path
) -> None:
    queries, target = tmp_path / "queries", tmp_path / "report.html"
    queries.mkdir()
    shutil.copyfile(copied.first, queries / "good.png")
    (queries / "bad.png").write_bytes(b"no picture")
    outcome = run("query", queries, "-dp", copied.database, "--report", target)
    assert outcome.code == 3
    assert "<dt>not searched with (1)</dt><dd>bad.png: " in target.read_text("utf-8")


def test_a_report_never_shows_another_picture_than_was_indexed(
    run: Run, case: Made, tmp_path: Path
) -> None:
    for number in range(1, 5):
        draw_picture(100 + number, (64, 48)).save(case.folder / f"picture-{number}.png")
    target = tmp_path / "report.html"
    run("query", case.first, "-dp", case.database, "--scene", "off", "--report", target)
    text = target.read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 2  # the query and its copy
    assert text.count("changed since it was indexed") == 4


def test_a_report_is_never_written_into_evidence(run: Run, case: Made) -> None:
    target = case.folder / "rooms" / "report.html"
    outcome = run("query", case.first, "-dp", case.database, "--report", target)
    assert (outcome.code, outcome.out) == (2, "")
    assert not target.exists()


def test_a_report_replaces_no_file_of_another_kind(run: Run, case: Made) -> None:
    before = case.database.read_bytes()
    for force in ([], ["--force"]):
        assert (
            run("query", case.first, "-dp", case.database, "--report", case.database, *force).code
            == 2
        )
    assert case.database.read_bytes() == before


def test_a_reference_table_is_told_below_the_hits_and_to_other_programs(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    model = shutil.copyfile(indexed.model, tmp_path / "own.safetensors")
    (card,) = run("models", "show", model, "--format", "json").objects()
    write_table(table_path(model), replace(TABLE, fingerprint=card["fingerprint"]))
    assert run(*index_arguments(indexed.folder, tmp_path / "case.db", model)).code == 3
    asked = ["query", indexed.first, "-dp", tmp_path / "case.db", "--scene", "off", "-k", 2]
    said = (
        "hits 1-2: 0 of 1,500 unrelated pairs came as close (up to 0.2 %); "
        "41 of 1,500 pairs of one scene (2 to 3.7 %)"
    )
    lines = run(*asked).out.splitlines()
    assert lines[4] == said
    assert lines[-1].startswith("reference pairs of tiny: 1,500 unrelated ones, ")
    several = run("query", indexed.folder, *asked[2:]).out
    assert several.count("reference pairs of tiny: ") == 1, "it is the same for all queries"
    assert several.count("hits 1-2: ") > 1
    outcome = run(*asked, "--format", "json")
    assert outcome.objects()[0]["unrelated_interval"] == [0.0, 0.002]
    assert "reference pairs of tiny: 1,500 unrelated ones, " in outcome.err
    (row, _) = csv.DictReader(io.StringIO(run(*asked, "--format", "csv").out))
    assert (row["unrelated_as_close"], row["unrelated_interval"]) == ("0", "0.0;0.002")


def test_a_range_of_dates_is_said_with_what_it_leaves_out(run: Run, indexed: Made) -> None:
    outcome = run("query", indexed.first, "-dp", indexed.database, "--taken-from", "2024-03")
    assert "searched: only pictures taken from 2024-03 (EXIF)" in outcome.out
    assert "5 pictures without a date, hidden" in outcome.out
    refused = run("query", indexed.first, "-dp", indexed.database, "--taken-to", "March")
    assert (refused.code, "is no date" in refused.err) == (2, True)
