"""A decision is on the picture, and the query, that the examiner has before the eyes, also while answers are late."""

from __future__ import annotations

from typing import Any

import httpx
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import Served, Window

ASKED = (
    "sessionStorage.setItem('image_similarity.examiner_asked',"
    " document.querySelector('meta[name=csrf]').content)"
)


def searched(window: Window, sha256: str) -> Page:
    """The hits of a picture; the examiner gave no name."""
    page = window.go(f"/search?sha256={sha256}&scene=off")
    page.evaluate(ASKED)
    page.locator(".tile").nth(3).wait_for()
    expect(page.locator("#search[aria-busy]")).to_have_count(0)
    return page


def standing(served: Served) -> list[tuple[str, str, str]]:
    """Query, picture and value of all decisions that stand."""
    found = served.desk.case.decisions()
    return [(each.query_sha256 or "", each.sha256, each.value) for each in found]


def test_while_the_next_search_is_on_its_way_a_verdict_is_on_the_query_of_the_hits_shown(
    window: Window, served: Served
) -> None:
    first, second = served.hashes()[:2]
    page = searched(window, first)
    page.evaluate(
        "hash => { history.pushState(null, '', `/search?sha256=${hash}&scene=off`); }", second
    )
    # Back and Forward are what leads to another query without a new page.
    page.go_back()
    expect(page.locator("#search[aria-busy]")).to_have_count(0)
    late: list[Route] = []
    page.route("**/api/v1/searches", lambda route: late.append(route))
    tile = page.locator(".tile").nth(2)
    hit = tile.get_attribute("data-sha256")
    tile.focus()
    page.go_forward()
    page.locator("#search[aria-busy]").wait_for()
    page.keyboard.press("x")
    page.get_by_text("Saved: Irrelevant.").wait_for()
    assert standing(served) == [(first, hit, "irrelevant")]
    page.keyboard.press("c")
    page.wait_for_url(f"**/compare?query={first}&hit={hit}")


def test_what_a_failed_search_took_from_sight_is_not_decided_on(
    window: Window, served: Served
) -> None:
    page = searched(window, served.hashes()[0])
    page.locator(".tile").nth(2).focus()
    page.route("**/api/v1/searches", lambda route: route.abort())
    page.get_by_role("button", name="Only scenes that the query likely shows").focus()
    page.evaluate("document.activeElement.click()")
    page.get_by_text("The page's server does not answer").wait_for()
    for key in ("x", "t"):
        page.keyboard.press(key)
        page.get_by_text("No picture is in focus").wait_for()
    assert standing(served) == []
    window.errors.clear()


def test_what_is_typed_before_the_known_tags_have_come_is_the_tag_and_no_verdict(
    window: Window, served: Served
) -> None:
    page = searched(window, served.hashes()[0])
    late: list[Route] = []
    page.route("**/api/v1/case", lambda route: late.append(route))
    tile = page.locator(".tile").nth(2)
    hit = tile.get_attribute("data-sha256")
    tile.focus()
    page.keyboard.press("t")
    page.keyboard.type("x-ray")
    page.keyboard.press("Enter")
    page.get_by_text("Saved: tag “x-ray”.").wait_for()
    assert standing(served) == [("", hit, "x-ray")]
    for route in late:
        route.fulfill(json={"tags": []})


def test_keys_do_not_reach_what_is_behind_a_dialog(window: Window, served: Served) -> None:
    page = searched(window, served.hashes()[0])
    page.locator(".tile").nth(2).focus()
    page.keyboard.press("n")
    page.mouse.click(5, 300)
    assert page.evaluate("document.activeElement.tagName") != "INPUT"
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.keyboard.press("u")
    page.get_by_text("Nothing was decided in this window").wait_for()
    assert standing(served) == []


def test_undo_leaves_what_someone_else_decided_meanwhile(
    window: Window, served: Served, client: httpx.Client
) -> None:
    page = searched(window, served.hashes()[0])
    tile = page.locator(".tile").nth(2)
    hit = tile.get_attribute("data-sha256")
    tile.focus()
    for value in ("1", "2"):
        page.keyboard.press("g")
        page.locator("dialog input").fill(value)
        page.keyboard.press("Enter")
        page.get_by_text(f"Saved: category {value}.").wait_for()
    said: dict[str, Any] = {"sha256": hit, "kind": "category", "value": "3"}
    assert client.post("/decisions", json=said).status_code == 201
    page.keyboard.press("u")
    page.get_by_text("Undone: category 2.").wait_for()
    assert standing(served) == [("", hit, "3")]
    # The browser tells of the 404: that it was withdrawn already.
    window.errors.clear()


def test_who_leaves_while_a_decision_is_under_way_is_asked(window: Window, served: Served) -> None:
    page = searched(window, served.hashes()[0])
    late: list[Route] = []
    told: list[str] = []
    # Until it was asked.
    page.route(
        "**/api/v1/decisions*",
        lambda route: route.continue_() if told else late.append(route),
    )
    page.on("dialog", lambda dialog: (told.append(dialog.type), dialog.dismiss()))
    tile = page.locator(".tile").nth(2)
    hit = tile.get_attribute("data-sha256")
    tile.focus()
    page.keyboard.press("r")
    with page.expect_event("dialog"):
        page.keyboard.press("Enter")
    assert told == ["beforeunload"]
    late[0].continue_()
    page.get_by_text("Saved: Relevant.").wait_for()
    assert standing(served) == [(served.hashes()[0], hit, "relevant")]
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/search?sha256={hit}")


def test_a_name_that_another_window_gave_is_kept_and_a_new_session_is_asked_anew(
    window: Window, served: Served
) -> None:
    page = window.go(f"/search?sha256={served.hashes()[0]}&scene=off")
    tile = page.locator(".tile").nth(2)
    other = page.context.new_page()
    other.goto(f"{served.url}/overview")
    other.get_by_role("button", name="Examiner").click()
    other.get_by_label("Name, kept").fill("A. Smith")
    other.get_by_role("button", name="Save").click()
    other.get_by_text("Decisions now carry the name A. Smith.").wait_for()
    tile.focus()
    page.keyboard.press("r")
    page.get_by_text("Saved: Relevant.").wait_for()
    (said,) = served.desk.case.decisions()
    assert said.actor.startswith("A. Smith")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto(served.link)
    page = window.go(f"/search?sha256={served.hashes()[0]}&scene=off")
    page.locator(".tile").nth(3).focus()
    page.keyboard.press("r")
    page.get_by_label("Name, kept").wait_for()


def test_a_server_that_is_gone_is_not_asked_for_the_next_page_again_and_again(
    window: Window, served: Served
) -> None:
    page = window.go("/")
    asked: list[str] = []
    page.route("**/api/v1/none", lambda route: (asked.append(route.request.url), route.abort()))
    page.evaluate(
        """async () => {
          const { grid } = await import("/static/grid.js");
          const { get } = await import("/static/api.js");
          const made = grid({ label: "made", words: () => [] });
          document.getElementById("main").prepend(made.element);
          made.more(() => get("/none"));
        }"""
    )
    page.get_by_text("The page's server does not answer").wait_for()
    more = page.get_by_role("button", name="Show more").first
    expect(more).to_be_enabled()
    before = len(asked)
    more.click()
    expect(more).to_be_enabled()
    assert (before, len(asked)) == (1, 2)
    window.errors.clear()
