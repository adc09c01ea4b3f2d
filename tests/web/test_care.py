"""Care: no picture is seen by accident; whoever wants to see one says so, and the choice is remembered."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.web.conftest import Served, Window

FILTER = "element => getComputedStyle(element).filter"


def tiles(window: Window, count: int = 3) -> Locator:
    """Some pictures in the grid of the selection."""
    page = window.go("/selection")
    choose = "async (chosen) => (await import('/static/selection.js')).select(chosen)"
    page.evaluate(choose, window.served.hashes()[:count])
    found = page.locator("#chosen .tile")
    found.nth(count - 1).wait_for()
    for number in range(count):
        expect(found.nth(number).locator("img")).to_have_js_property("complete", True)
    # Nothing may lie under the mouse by chance.
    page.mouse.move(1, 1)
    return found


def choose(page: Page, way: str) -> None:
    page.get_by_label("Pictures", exact=True).select_option(way)


def blur(tile: Locator) -> tuple[float, float]:
    """The radius of the blur, and the width of the picture."""
    text = tile.locator("img").evaluate(FILTER)
    return float(text.partition("blur(")[2].partition("px")[0]), tile.locator(".picture").evaluate(
        "element => element.clientWidth"
    )


def wait_for_filter(tile: Locator, *, shown: bool) -> None:
    expected = expect(tile.locator("img"))
    if shown:
        expected.to_have_css("filter", "none")
    else:
        expected.not_to_have_css("filter", "none")


def fineness(picture: bytes) -> float:
    """How much of a picture's contrast is in what is smaller than a fourteenth of its middle."""
    pixels = Image.open(io.BytesIO(picture)).convert("L")
    width, height = pixels.size
    # A blur ends in the ground around the picture, which tells nothing of it.
    pixels = pixels.crop((width // 5, height // 5, width - width // 5, height - height // 5))
    coarse = pixels.resize((14, 14), Image.Resampling.BOX).resize(
        pixels.size, Image.Resampling.BICUBIC
    )
    return float(np.abs(np.asarray(pixels, float) - np.asarray(coarse, float)).mean())


@pytest.mark.parametrize("side", ["11rem", "60rem"])
def test_pictures_are_blurred_by_their_size_so_that_large_ones_are_not_recognised_either(
    window: Window, side: str
) -> None:
    tile = tiles(window).first
    tile.evaluate(
        "(element, side) => document.documentElement.style.setProperty('--tile', side)", side
    )
    radius, width = blur(tile)
    assert radius >= 0.079 * width
    assert radius >= 14
    window.page.locator(".decide").evaluate("element => element.remove()")
    covered = fineness(tile.locator(".picture").screenshot())
    choose(window.page, "show")
    shown = fineness(tile.locator(".picture").screenshot())
    assert covered < 0.5 * shown


def test_grey_pictures_are_small_also_in_large_places(window: Window) -> None:
    tile = tiles(window).first
    before = tile.evaluate("element => element.clientWidth")
    choose(window.page, "grey")
    assert tile.evaluate("element => element.clientWidth") < 0.8 * before
    assert "grayscale(1)" in tile.locator("img").evaluate(FILTER)
    tile.evaluate("() => document.documentElement.style.setProperty('--tile', '40rem')")
    width, height = tile.locator("img").evaluate("e => [e.clientWidth, e.clientHeight]")
    assert max(width, height) <= 96


def test_the_focus_alone_shows_nothing_and_the_key_shows_and_covers(window: Window) -> None:
    first, second = tiles(window).nth(0), tiles(window).nth(1)
    page = window.page
    first.focus()
    wait_for_filter(first, shown=False)
    page.keyboard.press("v")
    wait_for_filter(first, shown=True)
    wait_for_filter(second, shown=False)
    page.keyboard.press("v")
    wait_for_filter(first, shown=False)
    page.keyboard.press("v")
    choose(page, "grey")
    wait_for_filter(first, shown=False)


def test_the_mouse_shows_the_picture_it_rests_on_unless_that_is_turned_off_for_good(
    window: Window,
) -> None:
    first, second = tiles(window).nth(0), tiles(window).nth(1)
    page = window.page
    first.locator(".picture").hover()
    wait_for_filter(first, shown=True)
    wait_for_filter(second, shown=False)
    page.get_by_label("shown under the mouse").uncheck()
    first.locator(".picture").hover()
    page.reload()
    first.locator(".picture").hover()
    wait_for_filter(first, shown=False)
    assert not page.get_by_label("shown under the mouse").is_checked()
    assert page.locator("html").get_attribute("data-hover") == "off"


def test_a_choice_holds_in_every_window_at_once(
    several_windows: BrowserContext, served: Served
) -> None:
    one, other = several_windows.new_page(), several_windows.new_page()
    for page in (one, other):
        page.goto(f"{served.url}/selection", wait_until="networkidle")
    choose(other, "show")
    expect(one.locator("html")).to_have_attribute("data-care", "show")
    choose(other, "blur")
    expect(one.locator("html")).to_have_attribute("data-care", "blur")
    assert one.get_by_label("Pictures", exact=True).input_value() == "blur"


def test_a_covered_picture_is_not_dragged_and_nothing_moves_for_who_wants_no_motion(
    window: Window,
) -> None:
    page = window.page
    page.emulate_media(reduced_motion="reduce")
    tile = tiles(window).first
    drag = "e => e.dispatchEvent(new DragEvent('dragstart', {bubbles: true, cancelable: true}))"
    assert tile.locator("img").evaluate(drag) is False
    assert tile.evaluate("e => getComputedStyle(e).transitionDuration") == "0s"
    assert page.locator("video, audio, [autoplay]").count() == 0
