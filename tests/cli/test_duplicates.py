"""`duplicates`, and `query` with --near and --verify."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from image_similarity.reports.hits_file import read_hits
from image_similarity.reports.rows import COLUMNS
from tests.cli.conftest import Made, Run
from tests.search.near_cases import ORIGINAL, flipped, give_hashes


@pytest.fixture
def hashed(case: Made) -> Made:
    """Hashes for all but the last picture; the second is nearly the first."""
    give_hashes(
        case.database,
        {
            "picture-0.png": (ORIGINAL, 90),
            "picture-1.png": (flipped(ORIGINAL, 6), 80),
            "picture-2.png": (bytes(32), 80),
            "picture-3.png": (b"\xff" * 32, 20),
        },
    )
    return case


def test_identical_files_are_listed_with_every_place(run: Run, indexed: Made) -> None:
    outcome = run("duplicates", "-dp", indexed.database)
    lines = outcome.out.splitlines()
    assert outcome.code == 0
    assert lines[0] == "stack 1: identical at 2 places"
    assert lines[2:4] == ["    evidence:picture-0.png", "    evidence:rooms/copy.png"]
    assert lines[4:] == [
        "1 stack of identical files, 0 of near duplicates, among 5 pictures",
        "near duplicates: not asked for; --near shows them (0 of 5 pictures have a PDQ hash)",
    ]


def test_near_duplicates_follow_and_it_is_said_what_was_not_compared(
    run: Run, hashed: Made
) -> None:
    outcome = run("duplicates", "-dp", hashed.database, "--near")
    lines = outcome.out.splitlines()
    assert "stack 2: 2 near duplicates, at most 6 bits apart" in lines
    assert lines[-1] == (
        "near duplicates: at most 31 of 256 bits of PDQ differ, from picture to picture: the ends of a chain may "
        "differ in more; 4 of 5 pictures have a PDQ hash, 1 of them below quality 50 and not compared; "
        "`image-similarity refresh --pdq` makes those that are missing"
    )


@pytest.mark.parametrize("form", ["json", "csv"])
def test_other_programs_get_a_row_a_place_and_nothing_else(
    run: Run, hashed: Made, form: str
) -> None:
    outcome = run("duplicates", "-dp", hashed.database, "--orientations", "--format", form)
    rows = outcome.objects() if form == "json" else list(csv.DictReader(io.StringIO(outcome.out)))
    assert [(str(row["stack"]), row["kind"], row["relative_path"]) for row in rows] == [
        ("1", "identical", "picture-0.png"),
        ("1", "identical", "rooms/copy.png"),
        ("2", "near", "picture-0.png"),
        ("2", "near", "rooms/copy.png"),
        ("2", "near", "picture-1.png"),
    ]
    assert str(rows[-1]["pdq_distance"]) == "6"
    assert "in any of 8 orientations" in outcome.err


def test_the_table_of_a_query_shows_near_duplicates_apart(run: Run, hashed: Made) -> None:
    picture = hashed.folder / "picture-0.png"
    outcome = run("query", picture, "-dp", hashed.database, "--near", "-k", 2, "--scene", "off")
    lines = outcome.out.splitlines()
    assert outcome.code == 0, outcome.err
    assert lines[1].split() == [
        "rank", "distance", "similarity", "pdq", "scene", "marks", "picture",
    ]  # fmt: skip
    at = lines.index(
        next(line for line in lines if line.startswith("near duplicates: at 2 places"))
    )
    assert lines[at + 1].split() == [
        "bits", "quality", "orientation", "marks", "near", "duplicate",
    ]  # fmt: skip
    assert lines[at + 2].split() == ["0", "90", "as", "it", "is", "identical", "evidence:rooms/copy.png"]  # fmt: skip
    assert lines[at + 3].split() == ["6", "80", "as", "it", "is", "evidence:picture-1.png"]


@pytest.mark.parametrize("form", ["json", "csv"])
def test_rows_of_near_duplicates_follow_the_hits_and_have_no_rank(
    run: Run, hashed: Made, form: str
) -> None:
    picture = hashed.folder / "picture-0.png"
    outcome = run(
        "query", picture, "-dp", hashed.database, "--near", "-k", 1, "--scene", "off",
        "--format", form,
    )  # fmt: skip
    rows = outcome.objects() if form == "json" else list(csv.DictReader(io.StringIO(outcome.out)))
    assert [tuple(row) for row in rows] == [COLUMNS] * 3
    assert [row["found_by"] for row in rows] == ["embedding", "pdq", "pdq"]
    assert [str(row["rank"] or "-") for row in rows] == ["1", "-", "-"]
    assert [str(row["pdq_distance"]) for row in rows] == ["0", "0", "6"]


def test_saved_hits_are_read_back_with_the_near_duplicates_behind_them(
    run: Run, hashed: Made
) -> None:
    picture = hashed.folder / "picture-0.png"
    outcome = run(
        "query", picture, "-dp", hashed.database, "--near", "-k", 2, "--scene", "off",
        "--format", "json",
    )  # fmt: skip
    found = read_hits([line.encode() for line in outcome.out.splitlines()], "hits.jsonl")
    assert [(row["rank"], row["found_by"]) for row in found] == [
        (1, "embedding"), (2, "embedding"), (None, "pdq"), (None, "pdq"),
    ]  # fmt: skip


def test_a_database_without_hashes_says_how_to_make_them(run: Run, indexed: Made) -> None:
    outcome = run("query", indexed.first, "-dp", indexed.database, "--near")
    assert outcome.code == 0
    assert (
        "near duplicates: none of 5 pictures has a PDQ hash; "
        "`image-similarity refresh --pdq` makes those that are missing"
    ) in outcome.out.splitlines()


def test_verify_adds_inliers_to_the_hits(run: Run, indexed: Made) -> None:
    pytest.importorskip("cv2")
    outcome = run(
        "query", indexed.first, "-dp", indexed.database, "--by-inliers", "-k", 2, "--scene", "off"
    )
    lines = outcome.out.splitlines()
    assert outcome.code == 0, outcome.err
    assert lines[1].split()[3:6] == ["inliers", "by", "distance"]
    assert any(
        line.startswith("geometric check: 5 of the 5 nearest pictures compared with the query (")
        for line in lines
    )


def test_candidates_without_a_check_are_wrong_usage(run: Run, indexed: Made) -> None:
    outcome = run("query", indexed.first, "-dp", indexed.database, "--candidates", 50)
    assert outcome.code == 2
    assert "--candidates goes with --verify or --by-inliers." in outcome.err


def test_an_unknown_source_is_wrong_usage(run: Run, indexed: Made) -> None:
    assert run("duplicates", "-dp", indexed.database, "--source", "elsewhere").code == 2


def test_a_missing_database_is_said(run: Run, tmp_path: Path) -> None:
    assert run("duplicates", "-dp", tmp_path / "no.db").code == 10
