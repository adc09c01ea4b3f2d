"""What was selected and decided, and its way out: the page of the selection, and reports in a folder of their own."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from image_similarity.reports import html
from image_similarity.web import report_files
from tests.web.conftest import Serve, Served, Window

FOREIGN = "e" * 64


@pytest.fixture
def hashes(served: Served) -> list[str]:
    return served.hashes()


def folder_of(served: Served) -> Path:
    return served.made.database.with_name("case.db-reports")


def write(client: httpx.Client, **asked: Any) -> dict[str, Any]:
    answer = client.post("/reports", json=asked)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("form", "ending", "media_type"),
    [
        ("html", "html", "text/html"),
        ("csv", "csv", "text/csv"),
        ("jsonl", "jsonl", "application/x-ndjson"),
        ("vics", "vics.json", "application/json"),
        ("case-uco", "case.jsonld", "application/ld+json"),
    ],
)
def test_a_selection_is_written_in_every_form_recorded_and_downloaded(
    client: httpx.Client, served: Served, hashes: list[str], form: str, ending: str, media_type: str
) -> None:
    client.put("/session", json={"examiner": "A. Smith"})
    told = write(client, of="pictures", form=form, sha256s=hashes[:2])
    path = folder_of(served) / told["name"]
    assert told["name"].endswith(f"Z.{ending}")
    assert (told["pictures"], told["chosen"], told["notes"]) == (2, 2, [])
    assert told["path"] == str(path)
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (told["beside"] is not None) == (form == "csv")
    answer = client.get(f"/reports/{told['name']}")
    assert answer.content == path.read_bytes()
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-security-policy"] == "sandbox"
    entries = [entry for entry in served.desk.case.audit() if entry.action == "export"]
    assert json.loads(entries[0].detail)["sha256"] == told["sha256"]
    assert entries[0].actor.startswith("A. Smith (")


def test_only_their_owner_reads_reports(client: httpx.Client, served: Served) -> None:
    told = write(client, of="case", form="csv")
    folder = folder_of(served)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    assert sorted(each.name for each in folder.iterdir()) == sorted([told["name"], told["beside"]])


def test_a_report_of_a_tag_or_of_the_case_holds_what_it_says(
    client: httpx.Client, hashes: list[str]
) -> None:
    body = {"sha256s": hashes[:3], "kind": "tag", "value": "sofa"}
    client.post("/batches/decisions", json=body)
    assert write(client, of="tags", form="jsonl", tags=["sofa"])["pictures"] == 3
    assert write(client, of="tags", form="jsonl", tags=["none"])["pictures"] == 0
    told = write(client, of="case", form="jsonl", limit=4)
    assert (told["pictures"], told["chosen"]) == (4, 30)


def test_a_selected_picture_that_lies_nowhere_any_more_is_in_the_report(
    client: httpx.Client, served: Served, hashes: list[str]
) -> None:
    with served.desk.case._catalog.writing() as connection:
        connection.exec_driver_sql("UPDATE file SET gone_run_id = 1 WHERE image_id = 1")
    told = write(client, of="pictures", form="jsonl", sha256s=hashes[:2])
    assert told["pictures"] == 2


def test_ten_thousand_pictures_are_looked_up_at_once_and_counted_in_the_report(
    client: httpx.Client, served: Served, hashes: list[str]
) -> None:
    many = [*hashes, *(hashlib.sha256(str(n).encode()).hexdigest() for n in range(9970))]
    asked = {"of": "pictures", "form": "html", "sha256s": many}
    assert error(client.post("/reports", json=asked)) == (404, "unknown_image")
    assert client.get("/reports").json()["items"] == [], "nothing half"
    told = write(client, of="pictures", form="html", sha256s=hashes)
    text = (folder_of(served) / told["name"]).read_text()
    assert "one of 30 that were chosen one by one" in text


def test_the_hits_of_a_search_are_reported_as_they_were_ranked(
    client: httpx.Client, served: Served, hashes: list[str]
) -> None:
    asked = {"queries": [{"sha256": hashes[0]}], "scene": ["off"], "k": 5}
    answer = client.post("/searches", json=asked).json()
    told = write(client, of="search", form="jsonl", search=answer["id"])
    lines = (folder_of(served) / told["name"]).read_text().splitlines()
    found = [row for row in map(json.loads, lines) if row.get("rank")]
    hits = client.get(f"/searches/{answer['id']}/hits").json()["items"]
    assert {row["sha256"] for row in found} == {hit["sha256"] for hit in hits}
    unknown = {"of": "search", "form": "csv", "search": "0" * 32}
    assert error(client.post("/reports", json=unknown)) == (404, "forgotten")


def test_reports_of_one_second_have_names_of_their_own_and_come_page_by_page(
    client: httpx.Client,
) -> None:
    names = {write(client, of="case", form="jsonl")["name"] for _ in range(3)}
    assert len(names) == 3
    listed, cursor = [], ""
    while cursor is not None:
        page = client.get("/reports", params={"limit": 2, "cursor": cursor}).json()
        listed += [each["name"] for each in page["items"]]
        cursor = page["next"]
    assert sorted(listed) == sorted(names)


def test_nothing_but_reports_comes_out_of_the_folder(client: httpx.Client, served: Served) -> None:
    write(client, of="case", form="jsonl")
    folder = folder_of(served)
    (folder / "report-20260101T000000Z.html").symlink_to(served.made.database)
    (folder / "report-20260101T000000Z.csv").mkdir()
    (folder / "secret.txt").write_text("no")
    assert client.get("/reports").json()["total"] == 1
    for name in ("report-20260101T000000Z.html", "report-20260101T000000Z.csv"):
        assert error(client.get(f"/reports/{name}")) == (404, "no_such_report")
    for name in ("secret.txt", "..%2Fcase.db", "%2e%2e%2fcase.db", "report-20260101T000000Z.db"):
        assert client.get(f"/reports/{name}").status_code in (404, 422)


def test_a_folder_inside_the_evidence_is_refused_and_not_made(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    inside = served.made.folder / "reports"
    served.desk.reports.folder = inside
    with served.client() as client:
        answer = client.post("/reports", json={"of": "case", "form": "csv"})
    assert error(answer) == (400, "usage_error")
    assert not inside.exists()


def test_a_full_disk_is_told_and_leaves_nothing(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(html, "write", full)
    answer = client.post("/reports", json={"of": "case", "form": "html"})
    assert error(answer) == (409, "not_written")
    assert list(folder_of(served).iterdir()) == []


def test_searching_and_deciding_go_on_while_a_report_is_written_and_a_second_one_waits(
    client: httpx.Client, served: Served, hashes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = threading.Event(), threading.Event()
    writing = html.write

    def slow(*arguments: Any, **named: Any) -> None:
        begun.set()
        assert over.wait(30)
        writing(*arguments, **named)

    monkeypatch.setattr(html, "write", slow)
    monkeypatch.setattr(report_files, "_PATIENCE", 0.1)
    told: list[int] = []
    asked = {"of": "case", "form": "html"}

    def report() -> None:
        with served.client() as other:
            told.append(other.post("/reports", json=asked).status_code)

    writer = threading.Thread(target=report)
    writer.start()
    try:
        assert begun.wait(30)
        search = {"queries": [{"sha256": hashes[0]}], "scene": ["off"]}
        assert client.post("/searches", json=search).status_code == 200
        said = {"sha256": hashes[0], "kind": "tag", "value": "sofa"}
        assert client.post("/decisions", json=said).status_code == 201
        assert error(client.post("/reports", json=asked)) == (503, "busy")
    finally:
        over.set()
        writer.join(30)
    assert told == [201]


@pytest.mark.parametrize(
    "asked",
    [
        {"of": "case"},
        {"of": "case", "form": "pdf"},
        {"of": "case", "form": "csv", "limit": 0},
        {"of": "case", "form": "csv", "sha256s": []},
        {"of": "pictures", "form": "csv", "sha256s": []},
        {"of": "pictures", "form": "csv", "sha256s": ["../../etc/passwd"]},
        {"of": "pictures", "form": "csv", "sha256s": [FOREIGN] * 10_001},
        {"of": "tags", "form": "csv", "tags": []},
        {"form": "csv"},
    ],
)
def test_what_is_no_report_is_refused(client: httpx.Client, asked: dict[str, Any]) -> None:
    assert client.post("/reports", json=asked).status_code == 422


def test_a_page_for_reading_only_writes_no_report(serve: Serve) -> None:
    served = serve(read_only=True)
    with served.client() as client:
        answer = client.post("/reports", json={"of": "case", "form": "csv"})
        assert error(answer) == (403, "read_only")
        assert client.get("/reports").json()["items"] == []
    assert not folder_of(served).exists()


def test_pictures_are_looked_up_by_their_hashes_in_the_order_asked(
    client: httpx.Client, hashes: list[str]
) -> None:
    asked = {"sha256s": [hashes[3], FOREIGN, hashes[1], hashes[3]]}
    told = client.post("/batches/pictures", json=asked).json()
    assert [each["sha256"] for each in told["items"]] == [hashes[3], hashes[1]]
    assert told["unknown"] == [FOREIGN]


# -- in the browser -------------------------------------------------------------------------------------------------


def select(window: Window, hashes: list[str]) -> Page:
    """Open the page with pictures selected."""
    choose = "async (chosen) => (await import('/static/selection.js')).select(chosen)"
    window.go("/selection").evaluate(choose, hashes)
    return window.page


def test_the_selection_is_cleared_restored_and_kept_over_a_reload(window: Window) -> None:
    page = select(window, window.served.hashes()[:3])
    tiles = page.locator("#chosen .tile")
    expect(tiles).to_have_count(3)
    page.get_by_role("button", name="Clear the selection").click()
    expect(tiles).to_have_count(0)
    page.get_by_role("button", name="Restore").click()
    expect(tiles).to_have_count(3)
    tiles.nth(1).focus()
    page.keyboard.press("Space")
    page.get_by_text("Selected: 2").wait_for()
    page.reload()
    expect(tiles).to_have_count(2)


def test_what_is_not_in_the_case_is_told_and_taken_out(window: Window) -> None:
    page = select(window, [window.served.hashes()[0], FOREIGN])
    page.get_by_text("Not in this case: 1").wait_for()
    page.get_by_role("button", name="Take them out").click()
    page.get_by_text("Selected: 1").wait_for()
    expect(page.locator("#unknown")).to_be_hidden()


def test_a_report_of_the_selection_is_written_and_downloaded_and_a_decision_withdrawn(
    window: Window, client: httpx.Client
) -> None:
    hashes = window.served.hashes()
    said = {"sha256s": hashes[:2], "kind": "tag", "value": "sofa"}
    client.post("/batches/decisions", json=said)
    page = select(window, hashes[:3])
    page.get_by_label("Form").select_option("csv")
    page.get_by_role("button", name="Write the report").click()
    result = page.locator("#report-result")
    result.get_by_text("Written and in the audit chain").wait_for()
    with page.expect_download() as started:
        result.get_by_role("link").first.click()
    path = folder_of(window.served) / started.value.suggested_filename
    assert Path(started.value.path()).read_bytes() == path.read_bytes()
    expect(page.locator("#written a")).to_have_count(2)
    page.get_by_role("radio", name="All pictures with the tag").check()
    page.get_by_role("button", name="Write the report").click()
    expect(page.locator("#written a")).to_have_count(4)
    expect(page.locator("#decisions > li")).to_have_count(2)
    page.get_by_role("button", name="Withdraw").first.click()
    expect(page.locator("#decisions > li")).to_have_count(1)
    assert client.get("/decisions").json()["total"] == 1
    page.get_by_label("also withdrawn ones").check()
    expect(page.locator("#decisions > li")).to_have_count(2)
