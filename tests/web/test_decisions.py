"""Decisions through the page: one click or key, in the examiner's name, there when the page says so, and undone."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator

from image_similarity.case import Case
from image_similarity.store import engine
from image_similarity.web.sessions import Sessions
from tests.cli.conftest import start
from tests.web.conftest import Serve, Served, Window

# Of a query that no case holds.
FOREIGN = "e" * 64


@pytest.fixture
def hashes(served: Served) -> list[str]:
    return served.hashes()


def say(client: httpx.Client, sha256: str, kind: str, value: str, **more: str) -> dict[str, Any]:
    body = {"sha256": sha256, "kind": kind, "value": value, **more}
    answer = client.post("/decisions", json=body)
    assert answer.status_code in (200, 201), answer.text
    decision: dict[str, Any] = answer.json()
    return decision


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_decision_is_answered_as_it_stands_and_the_second_time_with_the_first_one(
    client: httpx.Client, hashes: list[str]
) -> None:
    for body in (
        {"kind": "tag", "value": "sofa"},
        {"kind": "note", "value": "seen in the hall"},
        {"kind": "category", "value": "1"},
        {"kind": "verdict", "value": "relevant", "query_sha256": hashes[1]},
        {"kind": "verdict", "value": "irrelevant", "query_sha256": FOREIGN},
    ):
        body = {"sha256": hashes[0], **body}
        made = client.post("/decisions", json=body)
        assert made.status_code == 201
        told = made.json()
        assert {name: told[name] for name in body} == body
        again = client.post("/decisions", json=body)
        assert again.status_code == 200
        assert again.json()["name"] == told["name"]
    picture = client.get(f"/pictures/{hashes[0]}").json()
    assert len(picture["decisions"]) == 3, "verdicts are of pairs"


def test_a_new_category_and_a_new_verdict_take_the_place_of_the_one_before(
    client: httpx.Client, hashes: list[str]
) -> None:
    for value in ("1", "2"):
        say(client, hashes[0], "category", value)
    for value in ("relevant", "irrelevant"):
        say(client, hashes[0], "verdict", value, query_sha256=FOREIGN)
    standing = client.get("/decisions").json()
    assert sorted(each["value"] for each in standing["items"]) == ["2", "irrelevant"]
    assert client.get("/decisions", params={"withdrawn": True}).json()["total"] == 4


def test_decisions_carry_the_session_s_examiner_and_the_chain_holds(
    client: httpx.Client, served: Served, hashes: list[str]
) -> None:
    client.put("/session", json={"examiner": " A. Smith "})
    made = say(client, hashes[0], "tag", "sofa")
    client.put("/session", json={"examiner": "B. Jones"})
    client.delete(f"/decisions/{made['name']}")
    said, withdrawn = served.desk.case.audit(2)
    assert made["actor"] == said.actor
    assert said.actor.startswith("A. Smith (")
    assert withdrawn.actor.startswith("B. Jones (")
    assert served.desk.case.verify_audit().findings == ()


@pytest.mark.parametrize("name", ["A\nB", "\u202eA", "nul\0", "x" * 101])
def test_a_name_that_could_not_stand_in_the_chain_is_refused_at_once(
    client: httpx.Client, name: str
) -> None:
    assert client.put("/session", json={"examiner": name}).status_code == 422


def test_what_was_said_of_the_case_s_examiner_never_hinders_a_decision(served: Served) -> None:
    sessions = Sessions(None, "A. Smith,\nunit 7, " + "x" * 200)
    session = sessions.of_program(sessions.key)
    assert session is not None
    with served.desk.deciding(session.examiner) as case:
        made = case.decide(served.hashes()[0], "tag", "sofa")
    assert made is not None
    assert made.actor.startswith(r"A. Smith,\x0aunit 7")


def test_a_decision_is_withdrawn_once_and_stays_on_record_with_the_time(
    client: httpx.Client, hashes: list[str]
) -> None:
    made = say(client, hashes[0], "tag", "sofa")
    gone = client.delete(f"/decisions/{made['name']}").json()
    assert gone["withdrawn_at"] is not None
    assert gone == {**made, "withdrawn_at": gone["withdrawn_at"]}
    assert error(client.delete(f"/decisions/{made['name']}")) == (404, "no_such_decision")
    assert error(client.delete("/decisions/m99")) == (404, "no_such_decision")
    assert client.get("/decisions").json()["items"] == []
    assert client.get("/decisions?withdrawn=true").json()["total"] == 1


def test_decisions_come_latest_first_page_by_page_and_are_filtered(
    client: httpx.Client, hashes: list[str]
) -> None:
    for number in range(5):
        say(client, hashes[number], "tag", f"tag {number % 2}")
    say(client, hashes[0], "verdict", "relevant", query_sha256=FOREIGN)
    names, cursor = [], ""
    while cursor is not None:
        page = client.get("/decisions", params={"limit": 2, "cursor": cursor}).json()
        assert page["total"] == 6
        names += [each["name"] for each in page["items"]]
        cursor = page["next"]
    assert sorted(names) == ["m1", "m2", "m3", "m4", "m5", "p1"]
    assert names[-1] == "m1"
    for asked, count in (
        ({"sha256": hashes[0]}, 2),
        ({"kind": "tag"}, 5),
        ({"kind": "tag", "value": "tag 1"}, 2),
        ({"tag": "tag 0"}, 4),
        ({"query_sha256": FOREIGN}, 1),
    ):
        assert client.get("/decisions", params=asked).json()["total"] == count
    assert client.get("/decisions").json()["items"][-1]["place"].startswith("evidence:")
    assert error(client.get("/decisions?cursor=m99")) == (422, "bad_cursor")


def test_several_pictures_are_tagged_at_once_or_none(
    client: httpx.Client, served: Served, hashes: list[str]
) -> None:
    say(client, hashes[0], "tag", "sofa")
    body = {"sha256s": hashes[:3], "kind": "tag", "value": "sofa"}
    unknown = client.post("/batches/decisions", json={**body, "sha256s": [hashes[4], FOREIGN]})
    assert error(unknown) == (404, "unknown_image")
    told = client.post("/batches/decisions", json=body).json()
    assert [each["sha256"] for each in told["decided"]] == hashes[1:3]
    assert told["stood"] == 1
    names = [each["name"] for each in told["decided"]]
    refused = client.post("/batches/withdrawals", json={"names": [*names, "m99"]})
    assert error(refused) == (404, "no_such_decision")
    gone = client.post("/batches/withdrawals", json={"names": names}).json()["withdrawn"]
    assert [each["name"] for each in gone] == names
    assert client.get("/decisions").json()["total"] == 1
    assert served.desk.case.verify_audit().findings == ()


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "tag", "value": ""},
        {"kind": "tag", "value": "x" * 101},
        {"kind": "tag", "value": "two\nlines"},
        {"kind": "tag", "value": "nul\0"},
        {"kind": "tag", "value": "lone \ud800"},
        {"kind": "tag", "value": "sofa", "query_sha256": FOREIGN},
        {"kind": "tag", "value": "sofa", "more": 1},
        {"kind": "verdict", "value": "relevant"},
        {"kind": "verdict", "value": "perhaps", "query_sha256": FOREIGN},
        {"kind": "colour", "value": "red"},
        {"kind": "tag", "value": "sofa", "sha256": "abc"},
        {"kind": "tag", "value": "sofa", "sha256": "../../etc/passwd"},
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_is_written(
    client: httpx.Client, hashes: list[str], body: dict[str, Any]
) -> None:
    sent = json.dumps({"sha256": hashes[0], **body})
    answer = client.post("/decisions", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert client.get("/decisions?withdrawn=true").json()["total"] == 0


def test_a_picture_that_is_not_in_the_case_is_not_decided_on(client: httpx.Client) -> None:
    body = {"sha256": FOREIGN, "kind": "tag", "value": "sofa"}
    assert error(client.post("/decisions", json=body)) == (404, "unknown_image")


def test_a_page_for_reading_only_decides_nothing(serve: Serve) -> None:
    served = serve(read_only=True)
    sha256 = served.hashes()[0]
    with served.client() as client:
        for answer in (
            client.post("/decisions", json={"sha256": sha256, "kind": "tag", "value": "a"}),
            client.delete("/decisions/m1"),
            client.post(
                "/batches/decisions", json={"sha256s": [sha256], "kind": "tag", "value": "a"}
            ),
            client.post("/batches/withdrawals", json={"names": ["m1"]}),
        ):
            assert error(answer) == (403, "read_only")
        assert client.get("/decisions").status_code == 200


def test_a_decision_waits_for_a_run_s_batch(client: httpx.Client, served: Served) -> None:
    held, done = threading.Event(), threading.Event()

    def batch() -> None:
        with closing(sqlite3.connect(served.made.database, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            held.set()
            done.wait(0.5)
            connection.execute("COMMIT")

    writer = threading.Thread(target=batch)
    writer.start()
    held.wait()
    assert say(client, served.hashes()[0], "tag", "sofa")["name"] == "m1"
    done.set()
    writer.join()


def test_a_case_that_stays_locked_says_so_and_look_ups_go_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 50)
    served = serve()
    sha256 = served.hashes()[0]
    with (
        closing(sqlite3.connect(served.made.database, isolation_level=None)) as other,
        served.client() as client,
    ):
        other.execute("BEGIN IMMEDIATE")
        answer = client.post("/decisions", json={"sha256": sha256, "kind": "tag", "value": "a"})
        assert error(answer) == (503, "database_locked")
        assert client.get("/decisions").json()["total"] == 0
        other.execute("ROLLBACK")
        say(client, sha256, "tag", "a")


def test_a_decision_that_was_answered_survives_the_server_s_death(
    served: Served, tmp_path: Path
) -> None:
    sha256 = served.hashes()[0]
    arguments = ["--port", "0", "--cache", tmp_path / "cache"]
    process = start("serve", "-dp", served.made.database, *arguments)
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        with httpx.Client(follow_redirects=True, timeout=60) as client:
            page = client.get(link)
            csrf = page.text.split('<meta name="csrf" content="')[1].partition('"')[0]
            made = client.post(
                page.url.join("/api/v1/decisions"),
                json={"sha256": sha256, "kind": "tag", "value": "sofa"},
                headers={"X-CSRF-Token": csrf},
            )
        os.kill(process.pid, signal.SIGKILL)
        assert made.status_code == 201
    finally:
        process.kill()
        process.communicate()
    with Case.open(served.made.database, read_only=True) as case:
        assert case.image(sha256).tags == ("sofa",)
        assert case.verify_audit().findings == ()


# -- in the browser -------------------------------------------------------------------------------------------------


def tiles(window: Window, count: int = 3) -> Locator:
    """Some pictures in a grid."""
    choose = "async (chosen) => (await import('/static/selection.js')).select(chosen)"
    window.go("/selection").evaluate(choose, window.served.hashes()[:count])
    found = window.page.locator("#chosen .tile")
    found.nth(count - 1).wait_for()
    return found


def press(window: Window, key: str, words: str = "") -> None:
    """Press a key, and answer the dialog that it opens."""
    window.page.keyboard.press(key)
    if words:
        window.page.locator("dialog input").fill(words)
        window.page.keyboard.press("Enter")


def without_a_name(window: Window) -> None:
    """As if the examiner had been asked for the name in this session, and had given none."""
    window.page.evaluate(
        "sessionStorage.setItem('image_similarity.examiner_asked',"
        " document.querySelector('meta[name=csrf]').content)"
    )


def test_a_picture_is_tagged_noted_and_categorised_by_single_keys_and_undone_after_a_reload(
    window: Window, client: httpx.Client
) -> None:
    tile = tiles(window).nth(1)
    tile.focus()
    press(window, "t")
    window.page.get_by_label("Tag, up to").fill("sofa")
    window.page.keyboard.press("Enter")
    window.page.get_by_label("Name, kept").fill("A. Smith")
    window.page.keyboard.press("Enter")
    tile.get_by_text("sofa").wait_for()
    press(window, "g", "1")
    tile.get_by_text("category 1").wait_for()
    press(window, "g", "2")
    tile.get_by_text("category 2").wait_for()
    press(window, "n", "seen in the hall")
    window.page.get_by_text("Saved: note").wait_for()
    assert all(each["actor"].startswith("A. Smith (") for each in standing(client))
    tile = tiles(window).nth(1)
    assert tile.locator(".chips li").all_inner_texts() == ["category 2", "sofa"], "after a reload"
    press(window, "u")
    window.page.get_by_text("Undone: note").wait_for()
    press(window, "u")
    tile.get_by_text("category 1").wait_for()
    press(window, "u")
    press(window, "u")
    tile.locator(".chips").wait_for(state="detached")
    assert standing(client) == []
    press(window, "u")
    window.page.get_by_text("Nothing was decided in this window").wait_for()


def standing(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/decisions").json()["items"]
    return found


def test_a_verdict_is_on_a_hit_of_the_page_s_query_and_undo_brings_back_the_one_before(
    window: Window, client: httpx.Client
) -> None:
    client.put("/session", json={"examiner": "program"})
    tile = tiles(window).nth(1)
    without_a_name(window)
    tile.focus()
    press(window, "r")
    window.page.get_by_text("Relevant or irrelevant to what?").wait_for()
    window.page.evaluate("query => { document.body.dataset.query = query; }", FOREIGN)
    press(window, "r")
    tile.locator(".mark-relevant").wait_for()
    press(window, "x")
    tile.locator(".mark-irrelevant").wait_for()
    press(window, "x")
    window.page.get_by_text("That stands already.").wait_for()
    press(window, "u")
    tile.locator(".mark-relevant").wait_for()
    assert [(each["value"], each["query_sha256"]) for each in standing(client)] == [
        ("relevant", FOREIGN)
    ]


def test_the_whole_selection_is_tagged_at_once_and_undone_at_once(
    window: Window, client: httpx.Client
) -> None:
    found = tiles(window)
    without_a_name(window)
    press(window, "Shift+T", "sofa")
    window.page.get_by_text("Saved of 3 pictures: tag “sofa”.").wait_for()
    assert found.locator(".chips").all_inner_texts() == ["sofa"] * 3
    window.page.get_by_role("button", name="Undo").click()
    window.page.get_by_text("Undone").wait_for()
    assert standing(client) == []


def test_a_refused_word_is_asked_for_again_and_nothing_is_shown_that_is_not_stored(
    window: Window,
) -> None:
    tile = tiles(window).first
    without_a_name(window)
    tile.focus()
    press(window, "t", "\u202eafos")
    window.page.get_by_role("alert").wait_for()
    assert tile.locator(".chips").count() == 0
    assert window.page.get_by_label("Tag, up to").input_value() == "\u202eafos"
    window.errors.clear()


def test_a_key_in_no_picture_decides_nothing(window: Window, client: httpx.Client) -> None:
    tiles(window)
    press(window, "t")
    window.page.get_by_text("No picture is in focus").wait_for()
    assert standing(client) == []
