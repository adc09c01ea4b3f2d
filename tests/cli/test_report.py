"""`report`."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
import stat
from html import escape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cli.conftest import Made, Run, index_arguments
from tests.conftest import draw_picture

FORMS = ("html", "csv", "jsonl", "vics", "case-uco")


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def files(path: Path) -> list[dict[str, Any]]:
    return [each for each in records(path) if each["record"] == "file"]


def exports(database: Path) -> list[dict[str, Any]]:
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT detail FROM audit WHERE action = 'export' ORDER BY id")
    found = [json.loads(detail) for (detail,) in rows]
    connection.close()
    return found


@pytest.fixture
def hits(run: Run, case: Made, tmp_path: Path) -> Path:
    """The hits of a query with the first picture."""
    path = tmp_path / "hits.jsonl"
    outcome = run(
        "query", case.first, "-dp", case.database, "--scene", "off", "-k", 3, "--format", "json"
    )
    path.write_text(outcome.out)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_written_for_its_owner_alone_and_recorded(
    run: Run, case: Made, tmp_path: Path, form: str
) -> None:
    target = tmp_path / "report.out"
    outcome = run("report", form, "-dp", case.database, "-o", target)
    assert outcome.code == 0, outcome.err
    paths = [target] + ([tmp_path / "report.out.about.json"] if form == "csv" else [])
    assert outcome.out.splitlines() == [str(path) for path in paths]
    assert "5 pictures in the report" in outcome.err
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    recorded = exports(case.database)[-len(paths) :]
    assert [(each["kind"], each["form"], each["path"]) for each in recorded] == [
        ("report", form, str(path)) for path in paths
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_what_was_not_searched_and_ends_with_the_audit_head(
    run: Run, case: Made, tmp_path: Path, form: str
) -> None:
    connection = sqlite3.connect(case.database)
    ((head,),) = connection.execute("SELECT digest FROM audit ORDER BY id DESC LIMIT 1")
    connection.close()
    target = tmp_path / "report.out"
    run("report", form, "-dp", case.database, "-o", target)
    said = tmp_path / "report.out.about.json" if form == "csv" else target
    text = re.sub(r"<[^>]*>|[\"\[\],]", " ", said.read_text("utf-8"))
    for pattern in (
        r"Deleted data\W+never",
        r"Archives, not opened|Archives  not opened",
        r"Videos",
        r"Later frames and pages\W+never",
        r"Could not be read\W+1 \(decode 1\)",
        r"Documented leads for examination  ?never findings|Documented leads for examination, never findings",
    ):
        assert re.search(pattern, text), pattern
    assert head in text[-900:]


def test_the_whole_case_has_each_content_once_and_each_place(
    run: Run, case: Made, tmp_path: Path
) -> None:
    run("report", "vics", "-dp", case.database, "-o", tmp_path / "case.json")
    (found,) = json.loads((tmp_path / "case.json").read_text())["value"]
    names = [[file["FileName"] for file in each["MediaFiles"]] for each in found["Media"]]
    assert sorted(names) == [
        ["picture-0.png", "copy.png"],
        *([f"picture-{number}.png"] for number in range(1, 5)),
    ]
    assert len({each["MD5"] for each in found["Media"]}) == 5
    assert all("Created" not in file for each in found["Media"] for file in each["MediaFiles"])


def test_a_selection_by_tag_path_source_scene_or_hash(run: Run, case: Made, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"

    def chosen(*arguments: object) -> set[str]:
        outcome = run("report", "jsonl", "-dp", case.database, "-o", target, "--force", *arguments)
        assert outcome.code == 0, outcome.err
        return {each["relative_path"] for each in files(target)}

    everything = chosen()
    assert len(everything) == 6
    first = next(each for each in files(target) if each["relative_path"] == "picture-0.png")
    connection = sqlite3.connect(case.database)
    connection.execute(
        "INSERT INTO mark (image_id, kind, value, at, actor) SELECT id, 'tag', 'room', '', '' "
        "FROM image WHERE sha256 = ?",
        (first["sha256"],),
    )
    connection.commit()
    connection.close()
    both = {"picture-0.png", "rooms/copy.png"}
    assert chosen("--tag", "room") == both
    assert files(target)[0]["tags"] == ["room"]
    assert chosen("--tag", "other") == set()
    assert chosen("--sha256", first["sha256"][:8]) == both
    assert chosen("--under", "rooms") == {"rooms/copy.png"}
    assert chosen("--source", "evidence") == everything
    assert chosen("--scene", first["scene"]) >= both
    assert chosen("--scene", first["scene"], "--tag", "room") == both
    assert chosen("--tag", "room", "--tag", "other") == both


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--source", "disk-99"], "has no source 'disk-99'"),
        (["--scene", "moon"], "knows no scene 'moon'"),
        (["--sha256", "0123456789"], "holds no picture"),
        (["--limit", "0"], "a limit of 0"),
    ],
)
def test_a_slip_of_the_hand_gives_an_error_and_not_an_empty_report(
    run: Run, indexed: Made, tmp_path: Path, arguments: list[str], said: str
) -> None:
    outcome = run("report", "html", "-dp", indexed.database, "-o", tmp_path / "a", *arguments)
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert said in outcome.err


def test_places_that_are_gone_are_left_out_unless_asked_for(
    run: Run, case: Made, tmp_path: Path
) -> None:
    (case.folder / "picture-4.png").unlink()
    (case.folder / "rooms" / "copy.png").unlink()
    run(*index_arguments(case.folder, case.database, case.model))
    arguments = ["report", "jsonl", "-dp", case.database, "-o", tmp_path / "a", "--force"]
    run(*arguments)
    assert len(files(tmp_path / "a")) == 4
    run(*arguments, "--include-gone")
    gone = [each["relative_path"] for each in files(tmp_path / "a") if each["gone_since"]]
    assert sorted(gone) == ["picture-4.png", "rooms/copy.png"]


def test_a_search_becomes_a_report_from_its_hits(
    run: Run, case: Made, hits: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in hits.read_text().splitlines()]
    target = tmp_path / "hits.html"
    outcome = run("report", "html", "-dp", case.database, "-o", target, "--hits", hits)
    assert outcome.code == 0, outcome.err
    text = target.read_text("utf-8")
    assert "Report of a search" in text
    assert "the pictures were not ranked again" in text
    assert "k 3" in text
    assert text.index(rows[0]["sha256"]) < text.index(rows[1]["sha256"])
    assert text.count("data:image/jpeg") == 4, "the query and three hits"
    table = tmp_path / "hits.csv"
    run("report", "csv", "-dp", case.database, "-o", table, "--hits", hits)
    with table.open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["rank"], row["relative_path"]) for row in found][:2] == [
        ("1", "picture-0.png"),
        ("1", "rooms/copy.png"),
    ]
    assert found[0]["sha1"]
    exchange = tmp_path / "hits.json"
    run("report", "vics", "-dp", case.database, "-o", exchange, "--hits", hits)
    (only,) = json.loads(exchange.read_text())["value"]
    assert ["hit 1 of the query" in each["Comments"] for each in only["Media"]] == [
        True,
        False,
        False,
    ]


def test_hits_may_come_from_a_pipe(
    run: Run, case: Made, hits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hits.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        outcome = run("report", "jsonl", "-dp", case.database, "-o", tmp_path / "a", "--hits", "-")
    assert outcome.code == 0, outcome.err
    assert [each["rank"] for each in files(tmp_path / "a")] == [1, 1, 2, 3]


def test_hits_of_another_database_are_refused(run: Run, case: Made, hits: Path) -> None:
    row = {**json.loads(hits.read_text().splitlines()[0]), "sha256": "ab" * 32}
    hits.write_text(json.dumps(row))
    target = hits.with_name("report")
    outcome = run("report", "html", "-dp", case.database, "-o", target, "--hits", hits)
    assert (outcome.code, target.exists()) == (2, False)
    assert f"does not hold 1 of the pictures that were hit, such as {'ab' * 32}" in outcome.err


def test_hits_and_a_selection_exclude_each_other(run: Run, case: Made, hits: Path) -> None:
    arguments = ["-dp", case.database, "-o", hits.with_name("a"), "--hits", hits, "--tag", "x"]
    assert run("report", "html", *arguments).code == 2


def test_a_limit_is_told_in_the_report_and_beside_it(run: Run, case: Made, tmp_path: Path) -> None:
    target = tmp_path / "few.html"
    outcome = run("report", "html", "-dp", case.database, "-o", target, "--limit", 2)
    assert "2 pictures in the report; 3 left out, --limit takes more" in outcome.err
    text = target.read_text("utf-8")
    assert "2 pictures; 3 more are left out of this report" in text
    assert text.count("<li>") == 2


@pytest.mark.parametrize("form", FORMS)
def test_another_file_is_never_replaced_and_an_earlier_report_only_on_demand(
    run: Run, case: Made, tmp_path: Path, form: str
) -> None:
    target, other = tmp_path / "report", tmp_path / "notes"
    other.write_text("mine")
    arguments = ["report", form, "-dp", case.database, "-o"]
    assert run(*arguments, target).code == 0
    assert run(*arguments, target).code == 2
    assert run(*arguments, target, "--force").code == 0
    assert run(*arguments, other, "--force").code == 2
    assert other.read_text() == "mine"
    assert run(*arguments, case.database, "--force").code == 2


def test_a_report_is_never_written_into_evidence(run: Run, case: Made) -> None:
    target = case.folder / "rooms" / "report.csv"
    outcome = run("report", "csv", "-dp", case.database, "-o", target)
    assert (outcome.code, target.exists()) == (2, False)
    assert "Evidence is never written to" in outcome.err


def test_the_case_facts_stand_on_every_report(run: Run, case: Made, tmp_path: Path) -> None:
    connection = sqlite3.connect(case.database)
    facts = {"number": "17/2026", "examiner": "A. Examiner", "exhibit": "EX-1", "notes": "<b>x"}
    connection.executemany("INSERT INTO case_fact VALUES (?, ?)", facts.items())
    connection.commit()
    connection.close()
    for form in FORMS:
        target = tmp_path / form
        run("report", form, "-dp", case.database, "-o", target)
        text = (tmp_path / "csv.about.json" if form == "csv" else target).read_text("utf-8")
        for value in facts.values():
            assert (escape(value) if form == "html" else value) in text


def test_hostile_exif_stays_text(run: Run, case: Made, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "=1+1<script>alert(1)</script>"
    draw_picture(9, (64, 48)).save(case.folder / "exif.jpg", exif=exif)
    run(*index_arguments(case.folder, case.database, case.model))
    for form in FORMS:
        assert run("report", form, "-dp", case.database, "-o", tmp_path / form).code == 0
    assert "<script" not in (tmp_path / "html").read_text("utf-8")
    assert "=1+1&lt;script&gt;" in (tmp_path / "html").read_text("utf-8")
    with (tmp_path / "csv").open(encoding="utf-8-sig", newline="") as file:
        makes = {row["exif_make"] for row in csv.DictReader(file)}
    assert makes == {"", "'=1+1<script>alert(1)</script>"}
    assert exif[0x010F] in {each["exif_make"] for each in files(tmp_path / "jsonl")}


@pytest.mark.skipif(os.name == "nt", reason="such names do not exist there")
def test_hostile_names_in_the_evidence_stay_names(run: Run, case: Made, tmp_path: Path) -> None:
    name = b"=1+1;@x<script>\xff\xe2\x80\xaegpj.png"
    shutil.copyfile(case.first, os.path.join(os.fsencode(case.folder), name))  # noqa: PTH118
    run(*index_arguments(case.folder, case.database, case.model))
    for form in FORMS:
        target = tmp_path / form
        assert run("report", form, "-dp", case.database, "-o", target).code == 0
        text = target.read_text("utf-8-sig")
        assert "\u202e" not in text
        assert "<script>" not in text or form != "html"
    with (tmp_path / "csv").open(encoding="utf-8-sig", newline="") as file:
        cells = {row["relative_path"] for row in csv.DictReader(file)}
    assert "'=1+1;'@x<script>\\xff\\u202egpj.png" in cells
    paths = {each["relative_path"] for each in files(tmp_path / "jsonl")}
    assert "=1+1;@x<script>\\xff\u202egpj.png" in paths


def test_a_database_that_cannot_be_written_still_gives_its_report(
    run: Run, case: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.records import exports as recorded

    said = "this export is not in the audit chain: read-only"
    monkeypatch.setattr(recorded, "record", lambda *args, **kwargs: said)
    outcome = run("report", "csv", "-dp", case.database, "-o", tmp_path / "a.csv")
    assert outcome.code == 0
    assert outcome.err.count(said) == 1


def test_progress_counts_pictures(run: Run, case: Made, tmp_path: Path) -> None:
    outcome = run(
        "report", "jsonl", "-dp", case.database, "-o", tmp_path / "a", "--progress", "json"
    )
    events = [json.loads(line) for line in outcome.err.splitlines() if line.startswith("{")]
    assert (events[0]["event"], events[0]["total"], events[0]["unit"]) == ("started", 5, "pictures")
    assert events[-1]["done"] == 5


def test_a_stored_thumbnail_is_shown_where_the_file_is_no_longer_at_hand(
    run: Run, case: Made, tmp_path: Path
) -> None:
    arguments = index_arguments(case.folder, case.database, case.model)
    run(*arguments, "--thumbnails", "--rehash")
    case.folder.rename(tmp_path / "away")
    target = tmp_path / "report.html"
    assert run("report", "html", "-dp", case.database, "-o", target).code == 0
    assert target.read_text("utf-8").count("data:image/jpeg") == 5


def test_a_picture_that_changed_since_it_was_indexed_is_not_shown(
    run: Run, case: Made, tmp_path: Path
) -> None:
    shutil.copyfile(case.folder / "picture-1.png", case.folder / "picture-2.png")
    target = tmp_path / "report.html"
    run("report", "html", "-dp", case.database, "-o", target)
    text = target.read_text("utf-8")
    assert text.count("data:image/jpeg") == 4
    assert "no preview: missing, unreadable, or changed since it was indexed" in text
