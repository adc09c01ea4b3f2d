"""Every page works for people who see little, use no mouse, or enlarge: axe's rules, keyboard, narrow windows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

from image_similarity.web import pages, texts
from tests.web.conftest import Served, Window

WEB = Path(pages.__file__).parent
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# All pages by what stands in the address bar; {query} and {hit} are SHA-256s of stored pictures.
PAGES = {
    "library": "/",
    "search": "/search",
    "results": "/search?sha256={query}",
    "compare": "/compare?query={query}&hit={hit}",
    "map": "/map",
    "stacks": "/stacks",
    "overview": "/overview",
    "selection": "/selection",
    "api": "/api",
}
# Pages through which the Tab key goes at every check; through all it takes half a minute.
MOST_USED = ("library", "results", "compare", "overview")
# Of the page of all operations, which takes half a minute: one template makes them, so three of each stand for all.
THREE_OF_EACH = """() => document.querySelectorAll("main article:nth-of-type(n+4), main tbody tr:nth-child(n+4)")
  .forEach((each) => each.remove())"""
# What the Tab key must come to: all that can be used, but of a group of radio buttons, a grid or a list one at a time.
REACHABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
  .filter((each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility({ visibilityProperty: true }))
  .filter((each) => each.type !== "radio" || each.checked)
  .map((each, at) => { each.dataset.tab = at; return [String(at), each.outerHTML.slice(0, 120)]; })"""
FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  const seen = style.outlineStyle !== "none" && style.outlineWidth !== "0px";
  return { tab: at.dataset.tab ?? null, seen, html: at.outerHTML.slice(0, 120) };
}"""


@pytest.fixture
def served(shared_served: Served) -> Served:
    """One server for all tests here: they look, and change nothing."""
    return shared_served


@pytest.fixture
def context(shared_context: BrowserContext) -> BrowserContext:
    """One browser for all tests here."""
    return shared_context


def shown(window: Window, name: str) -> Page:
    query, hit, *_ = window.served.hashes()
    page = window.go(PAGES[name].format(query=query, hit=hit))
    if name == "api":
        page.evaluate(THREE_OF_EACH)
    return page


def violations(page: Page) -> list[str]:
    found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found.response["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_wrong_with_a_page(window: Window, name: str) -> None:
    page = shown(window, name)
    found = {"light": violations(page)}
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 640, "height": 900})
    found["dark and narrow"] = violations(page)
    assert found == {"light": [], "dark and narrow": []}


def test_axe_finds_nothing_wrong_with_the_page_to_sign_in(browser: Browser, served: Served) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{served.url}/sign-in")
        assert violations(page) == []
        page.emulate_media(color_scheme="dark")
        assert violations(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_enlarged_twice_need_not_be_scrolled_sideways(window: Window, name: str) -> None:
    window.page.set_viewport_size({"width": 640, "height": 450})
    page = shown(window, name)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 640, page.evaluate(
        "[...document.querySelectorAll('main *')]"
        ".filter(each => each.getBoundingClientRect().right > 641).map(each => each.outerHTML.slice(0, 80)).slice(0, 9)"
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in MOST_USED else pytest.mark.slow, id=name)
        for name in PAGES
    ],
)
def test_the_tab_key_comes_to_everything_and_shows_where_it_is(window: Window, name: str) -> None:
    page = shown(window, name)
    wanted = dict(page.evaluate(REACHABLE))
    missing, unseen = dict(wanted), []
    for _ in range(len(wanted) + 5):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused["tab"] is None:
            continue
        missing.pop(focused["tab"], None)
        if not focused["seen"]:
            unseen.append(focused["html"])
    assert list(missing.values()) == []
    assert unseen == []


def sources() -> dict[str, str]:
    files = [*(WEB / "templates").glob("*"), *(WEB / "static").glob("*.js"), *WEB.rglob("*.py")]
    return {file.name: file.read_text("utf-8") for file in files}


def test_every_text_that_is_asked_for_is_there() -> None:
    known = texts.texts()
    asked = {
        (file, name)
        for file, source in sources().items()
        for name in re.findall(r"""\bt\(\s*["']([\w.]+)["']\s*[,)]""", source)
    }
    assert asked
    assert sorted((file, name) for file, name in asked if name not in known) == []


def test_every_text_that_is_there_is_asked_for() -> None:
    together = "\n".join(sources().values())
    # Put together from parts: t(`search.${way}`), t("care." + way), t(page ~ ".title").
    begun = tuple(re.findall(r"""[`"']([a-z_]+\.(?:[a-z_.]+)?)(?:\$\{|\{|["']\s*[+~])""", together))
    unused = [
        name
        for name in texts.texts()
        if not re.search(rf"""["'`]{re.escape(name)}["'`]""", together)
        and not name.startswith(begun)
        and not name.endswith(".title")
    ]
    assert unused == []


def test_the_texts_stand_once_and_say_something() -> None:
    pairs: list[tuple[str, Any]] = json.loads(texts.FILE.read_text("utf-8"), object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names))
    assert all(isinstance(value, str) and value.strip() for _, value in pairs)
