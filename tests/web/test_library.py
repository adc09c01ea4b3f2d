"""The library: all pictures by filters, over the interface and in a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from image_similarity import Case
from image_similarity.web.options import ServeOptions
from tests.cli.conftest import Made
from tests.web.conftest import PICTURES, SCRIPT, Served, Window, forgetting, running


def listed(client: httpx.Client, **filters: Any) -> dict[str, Any]:
    answer = client.get("/pictures", params=filters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def places(found: dict[str, Any]) -> list[str]:
    return [each["place"] for each in found["items"]]


# -- over the interface -----------------------------------------------------------------------------------------------


def test_every_picture_comes_once_page_by_page(client: httpx.Client) -> None:
    found, cursor, pages = [], "", 0
    while cursor is not None:
        page = listed(client, limit=7, cursor=cursor)
        assert page["total"] == PICTURES
        found += places(page)
        cursor, pages = page["next"], pages + 1
    assert len(found) == len(set(found)) == PICTURES
    assert found == sorted(found)
    assert pages == 5


def test_a_picture_is_listed_with_what_its_tile_says(client: httpx.Client) -> None:
    (first,) = [
        each
        for each in listed(client, taken="2024-01")["items"]
        if each["place"] == "evidence:picture-00.jpg"
    ]
    assert first["places"] == 2
    assert first["taken"] == "2024-01-03 10:00:00"
    assert first["scene"]["probability"] > 0
    assert (first["gone"], first["partial"], first["verdicts"]) == (False, False, [])


def test_a_name_that_is_markup_comes_as_it_is(client: httpx.Client) -> None:
    assert f"evidence:{SCRIPT}" in places(listed(client))


def test_the_counts_beside_the_pictures_are_those_that_a_click_lists(client: httpx.Client) -> None:
    facets = client.get("/facets").json()
    assert facets["total"] == PICTURES
    assert facets["source"] == [{"name": "evidence", "count": PICTURES}]
    assert sum(each["count"] for each in facets["scene"]) == PICTURES
    assert facets["taken"][-1] == {"name": "undated", "count": 20}
    for name in ("scene", "taken"):
        for each in facets[name]:
            assert listed(client, **{name: each["name"]})["total"] == each["count"]


def test_several_filters_narrow_and_several_values_of_one_widen(client: httpx.Client) -> None:
    one, other = (each["name"] for each in client.get("/facets").json()["scene"][:2])
    both = listed(client, scene=[one, other])["total"]
    assert both == listed(client, scene=one)["total"] + listed(client, scene=other)["total"]
    undated = listed(client, scene=[one, other], taken="undated")["total"]
    dated = listed(client, scene=[one, other], taken_from="2024", taken_to="2024-12")["total"]
    assert undated + dated == both


def test_the_folder_of_a_source_is_a_filter(client: httpx.Client) -> None:
    assert places(listed(client, under="rooms")) == ["evidence:rooms/copy.jpg"]


def test_what_was_tagged_is_found_by_its_tag_at_once(client: httpx.Client, served: Served) -> None:
    assert listed(client, tag="seen")["total"] == 0
    sha256 = served.hashes()[3]
    with served.desk.deciding("A. Smith") as case:
        case.decide(sha256, "tag", "seen")
    assert [each["sha256"] for each in listed(client, tag="seen")["items"]] == [sha256]
    assert client.get("/facets").json()["tag"] == [{"name": "seen", "count": 1}]


def test_a_source_whose_name_is_shown_with_escapes_is_chosen_by_what_is_shown(
    client: httpx.Client, served: Served
) -> None:
    with served.desk.case._catalog.writing() as connection:
        connection.exec_driver_sql("UPDATE source SET name = ?", ("exe\u202egpj",))
        connection.exec_driver_sql("UPDATE run SET status = 'running'")
    (source,) = client.get("/facets").json()["source"]
    assert source["name"] == "exe\\u202egpj"
    assert listed(client, source=source["name"])["total"] == PICTURES


@pytest.mark.parametrize(
    ("filters", "status", "code"),
    [
        ({"scene": "ballroom of ice"}, 404, "unknown_scene"),
        ({"source": "nowhere"}, 404, "unknown_source"),
        ({"taken_from": "2024-02-31"}, 400, "invalid_setting"),
        ({"taken": "2024-13"}, 400, "invalid_setting"),
        ({"taken_to": "yesterday"}, 422, "malformed"),
        ({"scenes": "kitchen"}, 422, "malformed"),
        ({"tag": "a\0b"}, 422, "malformed"),
        ({"limit": 501}, 422, "malformed"),
        ({"order": "size"}, 422, "malformed"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    client: httpx.Client, filters: dict[str, Any], status: int, code: str
) -> None:
    answer = client.get("/pictures", params=filters)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("cursor", ["added-1", "path-999999", "path-x", "1"])
def test_a_cursor_that_is_none_of_this_list_is_refused(client: httpx.Client, cursor: str) -> None:
    assert client.get("/pictures", params={"cursor": cursor}).status_code == 422


# -- in a browser -----------------------------------------------------------------------------------------------------


def tiles(page: Page) -> Any:
    return page.locator(".tile")


def test_a_filter_narrows_the_grid_stands_in_the_address_and_goes_with_a_click(
    window: Window,
) -> None:
    page = window.go("/")
    expect(page.get_by_role("heading", name="30 pictures")).to_be_visible()
    expect(tiles(page)).to_have_count(30)
    page.get_by_role("checkbox", name="undated").check()
    expect(page.get_by_role("heading", name="20 pictures")).to_be_visible()
    expect(tiles(page)).to_have_count(20)
    assert "taken=undated" in page.url
    page.reload()
    expect(page.get_by_role("checkbox", name="undated")).to_be_checked()
    page.get_by_label("Below this folder").fill("rooms")
    page.get_by_label("Below this folder").press("Enter")
    expect(page.get_by_text("No picture meets all of these filters")).to_be_visible()
    page.get_by_role("button", name="Take away: taken: undated").click()
    expect(tiles(page)).to_have_count(1)
    page.go_back()
    page.go_back()
    expect(tiles(page)).to_have_count(20)
    expect(page.get_by_label("Below this folder")).to_have_value("")


def test_the_library_says_what_is_not_in_it(window: Window) -> None:
    page = window.go("/")
    expect(page.get_by_text("1 file could not be read and is not in the library")).to_be_visible()
    page.get_by_role("link", name="see Overview").click()
    assert page.url.endswith("/overview")


def test_a_tile_names_place_scene_and_marks_and_takes_no_name_for_markup(
    window: Window, served: Served
) -> None:
    (sha256,) = [
        each.sha256 for each in served.desk.case.browse(limit=500).items if each.path == SCRIPT
    ]
    with served.desk.deciding("A. Smith") as case:
        case.decide(sha256, "tag", "seen")
        case.judge(served.hashes()[0], sha256, "relevant")
    page = window.go("/")
    tile = page.locator(f'.tile[data-sha256="{sha256}"]')
    expect(tile.locator(f'[title="evidence:{SCRIPT}"]')).to_be_visible()
    expect(tile).to_contain_text(re.compile(r"\d%"))
    expect(tile).to_contain_text("seen")
    expect(tile).to_contain_text("judged relevant")


def test_enter_searches_with_the_picture_in_focus_and_back_returns_to_it(window: Window) -> None:
    page = window.go("/?order=added")
    expect(tiles(page)).to_have_count(30)
    tiles(page).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    sha256 = tiles(page).nth(2).get_attribute("data-sha256")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/search?sha256={sha256}")
    page.wait_for_load_state("networkidle")
    page.go_back()
    expect(page.locator(f'.tile[data-sha256="{sha256}"]')).to_be_focused()


def test_all_that_are_listed_are_selected_and_how_many_is_said(window: Window) -> None:
    page = window.go("/?taken=undated")
    page.get_by_role("button", name="Select all listed").click()
    expect(page.locator("#status")).to_have_text("Selected 20.")
    expect(page.locator('.tile[aria-selected="true"]')).to_have_count(20)


def test_a_chosen_file_is_searched_with(window: Window, served: Served) -> None:
    page = window.go("/")
    page.set_input_files("#file", served.made.folder / "picture-05.jpg")
    page.wait_for_url("**/search?upload=*")
    page.wait_for_load_state("networkidle")


def test_more_pictures_come_as_one_scrolls(window: Window) -> None:
    page = window.page
    # Pages of 100 would all be there at once.
    page.route(
        "**/api/v1/pictures?*",
        lambda route: route.continue_(url=route.request.url.replace("limit=100", "limit=9")),
    )
    page = window.go("/")
    expect(tiles(page)).not_to_have_count(0)
    page.keyboard.press("End")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(tiles(page)).to_have_count(30)


def test_a_case_whose_pictures_are_all_gone_says_so_and_shows_them_on_demand(
    window: Window, served: Served
) -> None:
    with served.desk.case._catalog.writing() as connection:
        connection.exec_driver_sql("UPDATE file SET gone_run_id = 1")
        connection.exec_driver_sql("UPDATE run SET status = 'running'")
    # The browser would tell of each that is not there.
    window.page.route("**/thumbnail?*", lambda route: route.fulfill(status=204))
    page = window.go("/")
    expect(page.get_by_text("lies anywhere any more. The filter")).to_be_visible()
    expect(page.get_by_role("button", name="Select all listed")).to_be_disabled()
    page.get_by_label("Also what no longer lies anywhere").check()
    expect(tiles(page)).to_have_count(PICTURES)
    expect(tiles(page).first).to_contain_text("gone")


def test_a_case_without_pictures_says_how_to_index(
    profile: BrowserContext, tmp_path: Path, gallery: Made
) -> None:
    options = ServeOptions(tmp_path / "new.db", port=0, cache=tmp_path / "cache")
    Case.open(options.database).close()
    with running(options, gallery) as served, forgetting(profile, served) as context:
        page = context.new_page()
        page.goto(served.link)
        expect(page.get_by_text("The case holds no pictures yet. Index a folder")).to_be_visible()
        expect(page.get_by_role("heading", name="0 pictures")).to_be_visible()


@pytest.mark.parametrize("address", ["/", "/search?sha256="])
def test_by_keys_one_is_past_the_filters_at_once_and_nothing_is_asked_again(
    window: Window, address: str
) -> None:
    page = window.go(address + (window.served.hashes()[0] if "=" in address else ""))
    page.locator(".tile").first.wait_for()
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/api/" in request.url else None
    )
    page.get_by_role("link", name="Skip the filters").focus()
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.tile')"):
            break
    expect(page.locator(".tile:focus")).to_have_count(1)
    assert [each for each in asked if "thumbnail" not in each] == []
