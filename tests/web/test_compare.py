"""Two pictures side by side: what is measured of them, why they are alike, and the page that shows both."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageEnhance
from playwright.sync_api import BrowserContext, Page, expect

from image_similarity.case import Case
from image_similarity.web.options import ServeOptions
from image_similarity.web.problems import Refused
from tests.cli import conftest as commands
from tests.cli.conftest import Made, Run, index_arguments
from tests.conftest import draw_picture
from tests.web.conftest import Served, Window, running, signed_in

run = commands.run


def detailed(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """A picture with many corners, so that its points can be matched."""
    picture = draw_picture(seed, size)
    for number in range(40):
        part = draw_picture(1000 * seed + number, (60, 44))
        picture.paste(part, (number % 8 * 78 + 9, number // 8 * 94 + 7))
    return picture


@pytest.fixture
def alike(gallery: Made, tmp_path: Path, run: Run) -> Iterator[Served]:
    """A page over a picture, a brighter copy of it, and another picture."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    detailed(1).save(folder / "1.png")
    ImageEnhance.Brightness(detailed(1)).enhance(1.1).save(folder / "2.jpg", quality=95)
    draw_picture(9, (640, 480)).save(folder / "3.png")
    for path in folder.iterdir():
        os.utime(path, (1_600_000_000, 1_600_000_000))
    database = tmp_path / "alike.db"
    assert run(*index_arguments(folder, database, gallery.model)).code == 0
    options = ServeOptions(database, port=0, cache=tmp_path / "cache")
    with running(options, Made(folder, database, gallery.model)) as served:
        yield served


def test_two_pictures_are_measured_as_a_search_measures_them(
    client: httpx.Client, served: Served
) -> None:
    one = served.hashes()[0]
    for hit in served.desk.case.search(sha256=one, k=5, scene="off").hits[1:]:
        found = client.get(f"/comparisons/{one}/{hit.image.sha256}").json()
        assert found["distance"] == hit.distance
        assert found["identical"] is False
        assert found["model"] == served.desk.case.models()[0].name
    same = client.get(f"/comparisons/{one}/{one}").json()
    assert (same["distance"], same["identical"], same["similarity"]) == (0.0, True, 1.0)


def test_the_verdict_that_stands_is_told(client: httpx.Client, served: Served) -> None:
    one, other, third = served.hashes()[:3]
    served.desk.case.judge(one, other, "relevant")
    served.desk.case.judge(third, other, "irrelevant")
    assert client.get(f"/comparisons/{one}/{other}").json()["verdict"]["value"] == "relevant"
    assert client.get(f"/comparisons/{other}/{one}").json()["verdict"] is None


def test_pdq_is_told_where_it_can_be_known_and_why_not_elsewhere(
    alike: Served, pdq_stand_in: None
) -> None:
    with alike.client() as client:
        one, two, three = alike.hashes()
        assert client.get(f"/comparisons/{one}/{one}").json()["pdq_distance"] == 0
        assert client.get(f"/comparisons/{one}/{two}").json()["pdq_distance"] > 0
        (alike.made.folder / "3.png").unlink()
        gone = client.get(f"/comparisons/{one}/{three}").json()
    assert gone["pdq_distance"] is None
    assert "no file holds the picture" in gone["pdq_note"]
    assert gone["distance"] > 0, "the vectors are stored"


def test_an_upload_is_compared_with_a_stored_picture(alike: Served) -> None:
    data = (alike.made.folder / "1.png").read_bytes()
    name = alike.desk.uploads.add(data, "dropped.png").sha256
    other = alike.hashes()[1]
    with alike.client() as client:
        sent = client.get(f"/comparisons/{name}/{other}?upload=true").json()
        assert sent["distance"] == client.get(f"/comparisons/{name}/{other}").json()["distance"]
        assert client.get(f"/comparisons/{'0' * 64}/{other}?upload=true").status_code == 404
        assert client.get(f"/comparisons/{'0' * 64}/{other}").status_code == 404


def test_points_that_both_have_in_common_are_shares_of_width_and_height(alike: Served) -> None:
    one, two, _ = alike.hashes()
    with alike.client() as client:
        found = client.post("/explanations", json={"query": one, "hit": two}).json()
    assert found["method"] == "matched points"
    assert len(found["points"]) >= 20
    assert all(0 <= each <= 1 for point in found["points"] for each in point)
    assert all(abs(x - u) < 0.02 and abs(y - v) < 0.02 for x, y, u, v in found["points"])


def test_pictures_without_common_points_get_a_heat_map_and_a_reason(alike: Served) -> None:
    one, _, three = alike.hashes()
    with alike.client() as client:
        found = client.post("/explanations", json={"query": one, "hit": three}).json()
        assert found["method"] == "occlusion" and "points matched" in found["note"]
        assert {len(row) for row in found["query_heat"]} == {len(found["hit_heat"])}
        asked = {"query": one, "hit": three, "method": "points"}
        refused = client.post("/explanations", json=asked)
    assert refused.status_code == 400
    assert "points matched" in refused.json()["error"]["message"]


def test_one_explanation_is_made_at_a_time_and_who_left_is_not_waited_for(
    alike: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = alike.hashes()
    explaining = alike.desk.explaining
    inside, go_on = threading.Event(), threading.Event()
    at_once: list[int] = []

    def slow(self: Case, *arguments: object, on_event: object, **settings: object) -> None:
        at_once.append(len(at_once))
        inside.set()
        go_on.wait(30)
        on_event()  # type: ignore[operator]

    monkeypatch.setattr(Case, "explain", slow)
    gone = threading.Event()
    asked = {"method": "auto", "model": None}

    def first() -> None:
        with pytest.raises(Refused, match="nobody waits"):
            explaining.explain(one, two, given_up=gone.is_set, **asked)  # type: ignore[arg-type]

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(30)
    with pytest.raises(Refused, match="nobody waits"):
        explaining.explain(one, two, given_up=lambda: True, **asked)  # type: ignore[arg-type]
    assert at_once == [0]
    gone.set()
    go_on.set()
    thread.join(30)
    explaining.explain(one, two, given_up=lambda: False, **asked)  # type: ignore[arg-type]
    assert at_once == [0, 1], "the turn was given back"


@pytest.mark.parametrize(
    "body",
    [
        {"query": "../../etc/passwd", "hit": "0" * 64},
        {"query": "0" * 64, "hit": "0" * 64, "more": 1},
        {"query": "0" * 64, "hit": "0" * 64, "model": "/etc/passwd"},
        {"query": "0" * 64, "hit": "0" * 64, "method": "guess"},
    ],
)
def test_what_names_no_picture_is_refused(client: httpx.Client, body: dict[str, object]) -> None:
    assert client.post("/explanations", json=body).status_code == 422


SEEN = """() => [...document.querySelectorAll(".moved")].map((each) => each.style.transform)"""


def compared(window: Window, query: str, hit: str) -> Page:
    page = window.go(f"/compare?query={query}&hit={hit}")
    page.get_by_role("rowheader", name="SHA-256").wait_for()
    return page


def test_both_pictures_are_zoomed_and_moved_in_step_until_they_are_unlinked(
    window: Window, served: Served
) -> None:
    page = compared(window, *served.hashes()[:2])
    page.keyboard.press("+")
    page.keyboard.press("+")
    one, other = page.evaluate(SEEN)
    assert one == other and "scale(1.5625)" in one
    page.get_by_role("group", name="Query", exact=True).focus()
    page.keyboard.press("ArrowRight")
    moved, other = page.evaluate(SEEN)
    assert moved == other != one
    page.get_by_label("both in step").uncheck()
    page.get_by_role("group", name="Hit", exact=True).focus()
    page.keyboard.press("0")
    assert page.evaluate(SEEN) == [moved, "translate(0%, 0%) scale(1)"]
    page.get_by_label("both in step").check()
    assert page.evaluate(SEEN) == [moved, moved]


def test_the_wheel_zooms_where_the_mouse_is_and_dragging_moves(
    window: Window, served: Served
) -> None:
    page = compared(window, *served.hashes()[:2])
    view = page.locator(".pane .picture").first
    view.scroll_into_view_if_needed()
    view.hover(position={"x": 10, "y": 10})
    page.mouse.wheel(0, -100)
    page.wait_for_function("document.querySelector('.moved').style.transform.includes('1.25')")
    before = page.evaluate(SEEN)
    page.mouse.down()
    page.mouse.move(0, 0, steps=3)
    page.mouse.up()
    after = page.evaluate(SEEN)
    assert after != before and after[0] == after[1]


def test_pictures_lie_on_top_of_each_other_and_change_by_hand_only(
    window: Window, served: Served
) -> None:
    page = compared(window, *served.hashes()[:2])
    visible = (
        "() => [...document.querySelectorAll('.pane')].map((e) => getComputedStyle(e).visibility)"
    )
    page.keyboard.press("f")
    assert page.evaluate(visible) == ["hidden", "visible"]
    page.keyboard.press("f")
    assert page.evaluate(visible) == ["visible", "hidden"]
    page.get_by_text("Shown: Query").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate(visible) == ["visible", "visible"]


def test_large_pictures_are_covered_until_a_key_shows_both(window: Window, served: Served) -> None:
    page = compared(window, *served.hashes()[:2])
    drawn = (
        "() => [...document.querySelectorAll('.pane img')].map((e) => getComputedStyle(e).filter)"
    )
    assert all("blur" in each for each in page.evaluate(drawn))
    page.keyboard.press("v")
    assert page.evaluate(drawn) == ["none", "none"]
    page.keyboard.press("v")
    assert all("blur" in each for each in page.evaluate(drawn))


def test_the_hits_of_a_search_are_gone_through_with_j_and_k_and_the_address_follows(
    window: Window, served: Served
) -> None:
    query, *hits = served.hashes()[:4]
    window.go("/selection").evaluate(
        "async ([query, hits]) => (await import('/static/hits.js')).keepHits(query, hits)",
        [query, hits],
    )
    page = compared(window, hits[1], hits[0])
    expect(page.locator("#walk")).to_be_hidden()  # of another query they are no hits
    page = compared(window, query, hits[0])
    page.get_by_text("hit 1 of 3").wait_for()
    page.keyboard.press("j")
    page.get_by_role("cell", name=hits[1]).wait_for()
    assert page.url.endswith(f"hit={hits[1]}")
    page.keyboard.press("k")
    page.get_by_role("cell", name=hits[0]).wait_for()
    page.keyboard.press("k")
    page.get_by_text("This is the first hit").wait_for()
    page.go_back()
    page.get_by_role("cell", name=hits[1]).wait_for()


def test_a_decision_is_on_the_hit_and_stands_here_at_once(window: Window, served: Served) -> None:
    query, hit = served.hashes()[:2]
    page = compared(window, query, hit)
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog")
    page.locator("dialog, #measured dd:has-text('relevant (')").first.wait_for()
    if dialog.count():
        page.get_by_role("button", name="Save").click()
    page.locator("#measured dd", has_text="relevant (").wait_for()
    (said,) = served.desk.case.decisions()
    assert (said.query_sha256, said.sha256, said.value) == (query, hit, "relevant")


def test_markup_in_names_and_exif_is_shown_as_text(window: Window, served: Served) -> None:
    everything = [served.desk.case.image(each) for each in served.hashes()]
    named = next(each for each in everything if "onerror" in each.places[0].path)
    tagged = next(each for each in everything if "script" in str(each.exif))
    page = compared(window, named.sha256, tagged.sha256)
    assert page.locator("#table").get_by_text("<img src=x onerror=alert(1)>.png").count()
    assert page.locator("#table").get_by_text("<script>alert(1)</script>").count()


@pytest.fixture
def opened(profile: BrowserContext, alike: Served) -> Iterator[Page]:
    """A page of a browser that is signed in where the look-alikes are served."""
    with signed_in(profile, alike) as context:
        yield context.new_page()


def test_points_are_drawn_over_both_pictures_and_cleared(alike: Served, opened: Page) -> None:
    one, two, _ = alike.hashes()
    page = opened
    page.goto(f"{alike.url}/compare?query={one}&hit={two}")
    page.get_by_role("button", name="Matched points").click()
    page.get_by_text("are explained by one").wait_for()
    assert page.locator(".lines circle").count() == 80
    page.get_by_role("button", name="Heat maps").click()
    page.get_by_text("the redder a part").wait_for()
    assert page.locator("canvas.heat:not([hidden])").count() == 2
    assert page.locator(".lines circle").count() == 0
    page.get_by_role("button", name="Clear").click()
    assert page.locator("canvas.heat:not([hidden])").count() == 0


def test_a_picture_that_cannot_be_shown_any_more_says_why(alike: Served, opened: Page) -> None:
    one, two, _ = alike.hashes()
    draw_picture(5, (640, 480)).save(alike.made.folder / "2.jpg")
    page = opened
    page.goto(f"{alike.url}/compare?query={one}&hit={two}")
    page.locator(".missing", has_text="the file there is another now").wait_for()
    page.wait_for_function(
        "document.querySelectorAll('.pane img').values()"
        ".filter((each) => each.checkVisibility()).toArray().length === 1"
    )
