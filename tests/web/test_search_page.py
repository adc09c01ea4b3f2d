"""The page of searches in a browser: a picture is dropped, filters widen, a box is drawn, all stays on reload."""

from __future__ import annotations

import hashlib
import io
import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from image_similarity.case import Case
from tests.conftest import draw_picture
from tests.web.conftest import Served, Window

DROP = """async ([bytes, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
  const main = document.getElementById("main");
  for (const kind of ["dragenter", "dragover", "drop"])
    main.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def picture(seed: int = 500) -> bytes:
    target = io.BytesIO()
    draw_picture(seed, (120, 90)).save(target, "JPEG")
    return target.getvalue()


def first(served: Served) -> str:
    """The content that lies at two places."""
    data = (served.made.folder / "picture-00.jpg").read_bytes()
    return hashlib.sha256(data).hexdigest()


def drop(page: Page, data: bytes, name: str = "found.jpg") -> None:
    page.evaluate(DROP, [list(data), name])


def settled(page: Page) -> Page:
    expect(page.locator("#search[aria-busy]")).to_have_count(0)
    return page


def test_a_dropped_picture_is_searched_with_and_the_address_says_so(window: Window) -> None:
    page = window.go("/search")
    data = picture()
    drop(page, data, "<img src=x onerror=alert(1)>.jpg")
    page.wait_for_url(f"**/search?upload={hashlib.sha256(data).hexdigest()}")
    expect(page.get_by_text("<img src=x onerror=alert(1)>.jpg")).to_be_visible()
    expect(page.locator(".tile").first).to_contain_text("1. distance")
    expect(page.get_by_text("Hits are leads for examination, never findings.")).to_be_visible()


def test_what_the_scene_filter_hides_is_said_and_one_click_brings_it(
    window: Window, client: httpx.Client
) -> None:
    asked = {"queries": [{"sha256": first(window.served)}]}
    rare = client.post("/searches", json=asked).json()["scenes"][-1]["name"]
    page = window.go(f"/search?sha256={first(window.served)}&scene={rare}")
    expect(page.get_by_text(re.compile(rf"of 30 pictures were searched.*: {rare}"))).to_be_visible()
    expect(
        page.get_by_text(re.compile(r"The scene filter hides \d+; \d+ of those"))
    ).to_be_visible()
    assert page.locator("[data-facet=scene]:checked").count() == 1
    page.get_by_role("button", name="Search all scenes").click()
    expect(page.get_by_text("All 30 pictures were searched")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(31)
    page.get_by_role("button", name="Only scenes that the query likely shows").click()
    expect(page.get_by_text(re.compile(r"of 30 pictures were searched, those"))).to_be_visible()
    assert "scene" not in page.url


def test_ticking_another_scene_widens_and_unticking_a_likely_one_names_the_rest(
    window: Window,
) -> None:
    page = window.go(f"/search?sha256={first(window.served)}")
    before = page.locator("[data-facet=scene]:checked").count()
    page.locator("[data-facet=scene]:not(:checked)").first.click()
    expect(page.locator("[data-facet=scene]:checked")).to_have_count(before + 1)
    assert "scene=auto" in page.url
    page.locator("[data-facet=scene]:checked").first.click()
    expect(page.locator("[data-facet=scene]:checked")).to_have_count(before)
    settled(page)
    page.go_back()
    expect(page.locator("[data-facet=scene]:checked")).to_have_count(before + 1)


def test_the_slider_narrows_by_distance_and_can_be_let_go(window: Window) -> None:
    page = window.go(f"/search?sha256={first(window.served)}&scene=off")
    slider = page.get_by_label("At most this distance")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator(".tile")).to_have_count(2)
    assert "max=0.00" in page.url
    page.get_by_role("button", name="Any distance").click()
    expect(page.locator(".tile")).to_have_count(31)


def test_a_box_is_drawn_by_keyboard_and_stays_on_reload(window: Window) -> None:
    page = window.go(f"/search?sha256={first(window.served)}&scene=off")
    page.locator(".region").focus()
    for name in ("ArrowRight", "ArrowLeft", "Shift+ArrowDown", "ArrowUp", "Enter"):
        page.keyboard.press(name)
    made = page.get_by_text("Searched with part of the picture: crop 23%,23%,50%,52%.")
    expect(made).to_be_visible()
    page.reload()
    expect(made).to_be_visible()
    expect(page.get_by_label("Height")).to_have_value("52")
    page.get_by_role("button", name="Whole picture").click()
    expect(made).to_have_count(0)
    assert "crop" not in page.url


def test_a_box_is_drawn_by_mouse_and_given_as_numbers(window: Window) -> None:
    page = window.go(f"/search?sha256={first(window.served)}&scene=off")
    shown = page.locator(".region").bounding_box()
    assert shown is not None
    page.mouse.move(shown["x"] + shown["width"] / 4, shown["y"] + shown["height"] / 4)
    page.mouse.down()
    page.mouse.move(shown["x"] + shown["width"] * 3 / 4, shown["y"] + shown["height"] * 3 / 4)
    page.mouse.up()
    expect(page.get_by_text("crop 25%,25%,50%,50%")).to_be_visible()
    page.get_by_label("Left").fill("0")
    page.get_by_label("Left").press("Enter")
    expect(page.get_by_text("crop 0%,25%,50%,50%")).to_be_visible()


def test_a_hit_is_compared_added_and_ruled_out_by_single_keys(window: Window) -> None:
    served = window.served
    page = window.go(f"/search?sha256={first(served)}&scene=off")
    page.locator(".tile").nth(2).focus()
    added = page.locator(".tile").nth(2).get_attribute("data-sha256")
    page.keyboard.press("a")
    expect(page.locator("[aria-label='Searched with'] .query")).to_have_count(2)
    expect(page.get_by_text("ranked by reciprocal rank fusion of 2 queries")).to_be_visible()
    assert page.url.endswith(f"sha256={first(served)}&sha256={added}&scene=off")
    settled(page)
    page.locator(".tile").nth(4).focus()
    page.keyboard.press("b")
    expect(page.locator("[aria-label='Not like these'] .query")).to_have_count(1)
    settled(page)
    page.locator(".tile").nth(3).focus()
    hit = page.locator(".tile").nth(3).get_attribute("data-sha256")
    page.keyboard.press("c")
    page.wait_for_url(f"**/compare?query={first(served)}&hit={hit}")


def test_an_irrelevant_hit_is_marked_and_gone_with_the_next_search(window: Window) -> None:
    served = window.served
    page = window.go(f"/search?sha256={first(served)}&scene=off")
    with Case.open(served.made.database) as case:
        case.judge(
            first(served),
            page.locator(".tile").nth(5).get_attribute("data-sha256") or "",
            "irrelevant",
        )
    page.reload()
    expect(page.get_by_text("1 picture, judged irrelevant for this query, hidden")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(30)
    page.get_by_role("button", name="Show those judged irrelevant, too").click()
    expect(page.locator(".tile")).to_have_count(31)
    assert "irrelevant=1" in page.url


def test_an_empty_answer_says_why_and_one_click_searches_everything(window: Window) -> None:
    page = window.go(f"/search?sha256={first(window.served)}&from=2031")
    expect(page.locator(".count-of-hits", has_text="No picture found.")).to_be_visible()
    expect(page.get_by_text("searched: only pictures taken from 2031")).to_be_visible()
    page.get_by_role("button", name="Search without any filter").click()
    expect(page.locator(".tile")).to_have_count(31)


def test_a_comparison_of_all_pictures_is_asked_for_by_a_box_and_stays_on_reload(
    window: Window,
) -> None:
    page = window.go(f"/search?sha256={first(window.served)}")
    with page.expect_request("**/searches") as asked:
        page.get_by_label("Compare all pictures").check()
    assert asked.value.post_data_json["exact"] is True
    assert "&exact=1" in settled(page).url
    page.reload()
    expect(page.get_by_label("Compare all pictures")).to_be_checked()


def test_further_hits_come_while_scrolling(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    from image_similarity.web.api import searches

    monkeypatch.setattr(searches, "FIRST_PAGE", 10)
    page = window.go(f"/search?sha256={first(window.served)}&scene=off")
    page.locator(".tile").nth(9).scroll_into_view_if_needed()
    expect(page.locator(".tile")).to_have_count(31)
