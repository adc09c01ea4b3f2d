"""`review`, and what it does to `query`."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Made, Run
from tests.conftest import draw_picture


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_tags_notes_and_a_category_are_shown_with_the_picture(run: Run, case: Made) -> None:
    picture, database = case.folder / "picture-1.png", ["-dp", case.database]
    hit = sha(picture)[:12]
    outcome = run("review", "tag", picture, "room 3", "sofa", *database)
    assert (outcome.code, outcome.out) == (
        0,
        f"m1: tag 'room 3' of {hit}\nm2: tag 'sofa' of {hit}\n",
    )
    assert run("review", "tag", hit, "sofa", *database).out == "tag 'sofa' was said before\n"
    run("review", "note", "evidence:picture-1.png", "the sofa of exhibit 4", *database)
    run("review", "category", "picture-1.png", "2", *database)
    run("review", "category", "picture-1.png", "1", *database)
    shown = " ".join(run("show", picture, *database).out.split())
    for said in ("tag room 3 (m1, ", "note the sofa of exhibit 4 (m3, ", "category 1 (m5, "):
        assert said in shown
    assert "category 2" not in shown
    asked = ["query", "--sha256", hit, *database]
    own = run(*asked, "--format", "json").objects()[0]
    assert (own["tags"], own["category"], own["notes"]) == (
        ["room 3", "sofa"],
        "1",
        ["the sofa of exhibit 4"],
    )
    assert "category:1,tag:room 3,tag:sofa" in run(*asked).out


def test_tags_travel_to_copies_also_to_those_found_later(
    run: Run, case: Made, tmp_path: Path
) -> None:
    run("review", "tag", case.first, "seen", "-dp", case.database)
    more = tmp_path / "phone"
    more.mkdir()
    shutil.copyfile(case.first, more / "again.png")
    run("index", "-m", case.model, "--scenes", case.model, "-ip", more, "-dp", case.database)
    outcome = run("query", case.first, "-dp", case.database, "--tag", "seen", "--format", "json")
    assert outcome.code == 0, outcome.err
    hits = outcome.objects()
    assert {(row["relative_path"], *row["tags"]) for row in hits} == {
        ("rooms/copy.png", "seen"),
        ("again.png", "seen"),
    }


@pytest.mark.parametrize("spelled", ["Caf\u00e9", "Cafe\u0301", " Caf\u00e9 "])
def test_a_tag_is_found_however_it_is_spelled(
    run: Run, case: Made, tmp_path: Path, spelled: str
) -> None:
    run("review", "tag", case.first, "Cafe\u0301", "-dp", case.database)
    asked = ["-dp", case.database, "--tag", spelled]
    assert len(run("query", case.first, *asked, "--format", "json").objects()) == 1
    assert len(run("review", "list", *asked, "--format", "json").objects()) == 1
    reported = run("report", "html", *asked, "-o", tmp_path / "out.html")
    assert reported.err == "1 picture in the report\n"


def test_an_irrelevant_hit_does_not_come_back_and_it_is_said(
    run: Run, case: Made, tmp_path: Path
) -> None:
    query = tmp_path / "query.png"
    draw_picture(77, (64, 48)).save(query)
    database, hit = ["-dp", case.database], case.folder / "picture-2.png"
    asked = ["query", query, *database, "--scene", "off", "-k", 9]
    assert "picture-2.png" in run(*asked).out
    outcome = run("review", "irrelevant", query, hit, *database)
    assert (outcome.code, outcome.out) == (
        0,
        f"p1: verdict 'irrelevant' of {sha(hit)[:12]} for query {sha(query)[:12]}\n",
    )
    assert run("review", "irrelevant", query, hit, *database).out.endswith("said before\n")
    found = run(*asked)
    assert "picture-2.png" not in found.out
    assert (
        "1 picture, judged irrelevant for this query, hidden (review list shows them, "
        "--include-irrelevant brings them back)" in found.out
    )
    (row, *_) = run(*asked, "--format", "json").objects()
    assert row["hidden_irrelevant"] == 1
    shown = run(*asked, "--include-irrelevant", "--format", "json").objects()
    assert {row["verdict"] for row in shown if row["relative_path"] == "picture-2.png"} == {
        "irrelevant"
    }
    assert run("review", "withdraw", "p1", *database).out == "p1: verdict 'irrelevant' withdrawn\n"
    assert "picture-2.png" in run(*asked).out


def test_decisions_are_listed_with_what_was_withdrawn(run: Run, case: Made) -> None:
    database = ["-dp", case.database]
    run("review", "tag", case.first, "a", *database)
    run("review", "tag", case.folder / "picture-3.png", "=1+1", *database)
    run("review", "relevant", case.first, case.folder / "picture-3.png", *database)
    run("review", "withdraw", "m1", *database)
    listed = run("review", "list", *database)
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == ["name", "m2", "p1"]
    everything = run("review", "list", *database, "--withdrawn", "--format", "json").objects()
    assert [(row["name"], row["withdrawn_at"] is None) for row in everything] == [
        ("m1", False),
        ("m2", True),
        ("p1", True),
    ]
    assert [row["place"] for row in everything] == [
        "evidence:picture-0.png",
        "evidence:picture-3.png",
        "evidence:picture-3.png",
    ]
    text = run("review", "list", *database, "--tag", "=1+1", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["name"], row["value"]) for row in rows] == [("m2", "'=1+1"), ("p1", "relevant")]
    assert run("review", "list", *database, "--tag", "none", "--format", "json").out == ""


@pytest.mark.parametrize("text", ["", " ", "two\nlines", "turn\u202eed", "\x1b[31m", "x" * 101])
@pytest.mark.parametrize("kind", ["tag", "category"])
def test_what_is_no_line_of_text_is_refused(run: Run, case: Made, kind: str, text: str) -> None:
    outcome = run("review", kind, case.first, text, "-dp", case.database)
    assert (outcome.code, outcome.out) == (2, "")
    assert "\x1b" not in outcome.err
    assert run("review", "list", "-dp", case.database, "--format", "json").out == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["tag", "none.png", "a"], 2),
        (["tag", "abcdef", "a"], 2),
        (["tag", "0" * 64, "a"], 2),
        (["relevant", "none.png", "picture-1.png"], 2),
        (["withdraw", "m99"], 2),
        (["withdraw", "x"], 2),
        (["withdraw", "m" + "9" * 40], 2),
        (["withdraw", "m²"], 2),
    ],
)
def test_what_is_not_there_is_said(run: Run, case: Made, arguments: list[str], code: int) -> None:
    outcome = run("review", *arguments, "-dp", case.database)
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith("Error: ")


def test_a_query_that_is_no_picture_exits_with_14(run: Run, case: Made) -> None:
    letter = case.folder / "letter.txt"
    outcome = run("review", "irrelevant", letter, "picture-1.png", "-dp", case.database)
    assert outcome.code == 14


def test_no_database_is_made_for_a_decision(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    for arguments in (["tag", "a.png", "x"], ["irrelevant", "a", "b"], ["withdraw", "m1"]):
        assert run("review", *arguments, "-dp", missing).code == 10
    assert not missing.exists()
