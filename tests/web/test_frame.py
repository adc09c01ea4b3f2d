"""The frame of all pages: signing in, the list of keys, care with pictures, the examiner's name."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from image_similarity.web import server
from image_similarity.web.options import ServeOptions
from image_similarity.web.pages import PAGES
from tests.web.conftest import Served, Window


def test_the_link_that_was_printed_opens_the_page_and_leaves_no_token_in_the_address(
    window: Window,
) -> None:
    window.page.goto(window.served.link)
    assert window.page.url == f"{window.served.url}/"
    assert window.page.title().startswith("Library")


def test_every_page_opens_without_an_error_and_says_in_the_navigation_where_one_is(
    window: Window,
) -> None:
    for address, name in PAGES.items():
        page = window.go(address)
        assert page.locator("nav [aria-current=page]").count() == 1, name


def test_the_case_tells_what_it_holds(client: httpx.Client, served: Served) -> None:
    case = client.get("/case").json()
    assert case["pictures"] == 30
    assert case["failures"] == 1
    assert case["models"][0]["vectors"] == 30


def test_pictures_are_blurred_until_someone_chooses_otherwise_and_the_choice_is_remembered(
    window: Window,
) -> None:
    page = window.go("/")
    assert page.locator("html").get_attribute("data-care") == "blur"
    page.get_by_label("Pictures", exact=True).select_option("show")
    page = window.go("/")
    assert page.locator("html").get_attribute("data-care") == "show"


def test_the_keys_are_listed_on_demand_and_can_be_turned_off(window: Window) -> None:
    page = window.go("/")
    page.keyboard.press("?")
    page.get_by_label("Single keys act").uncheck()
    page.keyboard.press("Escape")
    assert page.evaluate("localStorage.getItem('image_similarity.keys')") == "off"


def test_the_examiner_s_name_goes_with_the_session(window: Window, client: httpx.Client) -> None:
    page = window.go("/")
    page.get_by_role("button", name="Examiner").click()
    page.get_by_label("Name, kept").fill("A. Smith")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Decisions now carry the name A. Smith.").wait_for()
    assert client.get("/session").json() == {"examiner": ""}, "another session has its own"


@pytest.mark.parametrize("address", [*PAGES, "/api/v1/case", "/compare"])
def test_nothing_is_told_to_who_is_not_signed_in(served: Served, address: str) -> None:
    answer = httpx.get(f"{served.url}{address}", timeout=60)
    assert "picture" not in answer.text
    assert answer.status_code in (303, 401)


@pytest.mark.parametrize("way", ["busy", "gone"])
def test_who_could_not_be_signed_out_is_told(window: Window, way: str) -> None:
    page = window.go("/overview")
    page.route(
        "**/sign-out",
        lambda route: route.fulfill(status=503) if way == "busy" else route.abort(),
    )
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("You are still signed in").wait_for()
    assert page.url.endswith("/overview")
    window.errors.clear()


def test_answers_are_sent_at_once_and_not_held_back_for_an_acknowledgement(tmp_path: Path) -> None:
    with server.listen(ServeOptions(tmp_path / "case.db", port=0)) as taken:
        assert taken.proto == socket.IPPROTO_TCP, "asyncio sets TCP_NODELAY on no other"
