"""Duplicates: stacks of identical files and of near ones, what joins two sources, and how they are looked at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from image_similarity.case import Case
from image_similarity.settings import IndexOptions
from image_similarity.web import stacks
from tests.cli.conftest import Made
from tests.conftest import draw_picture
from tests.web.conftest import Served, Window
from tests.web.test_overview import over, serving

pytest.importorskip("pdqhash")

# Drawings with enough structure for a PDQ hash that may be compared.
SHARP = (0, 6, 8, 13)


@pytest.fixture(scope="module")
def two_disks(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Made:
    """Two sources, hashed with PDQ: a file that lies in both, a picture that is smaller in the second, others."""
    base = tmp_path_factory.mktemp("disks")
    database = base / "case.db"
    for name in ("disk", "stick"):
        (base / name).mkdir()
    for number in SHARP:
        draw_picture(number, (640, 480)).save(base / "disk" / f"picture-{number}.png")
    shutil.copy(base / "disk" / f"picture-{SHARP[0]}.png", base / "stick" / "copy.png")
    draw_picture(SHARP[1], (640, 480)).resize((320, 240)).save(base / "stick" / "small.png")
    draw_picture(SHARP[2], (640, 480)).resize((320, 240)).save(base / "disk" / "smaller.png")
    options = IndexOptions(models=(str(tiny_model),), scenes=str(tiny_model), pdq=True)
    with Case.open(database) as case:
        for name in ("disk", "stick"):
            for path in (base / name).iterdir():
                os.utime(path, (1_600_000_000, 1_600_000_000))
            case.index(base / name, options=options)
    return Made(base, database, tiny_model)


@pytest.fixture
def disks(two_disks: Made, tmp_path: Path) -> Iterator[Served]:
    """The two sources, served."""
    database = Path(shutil.copy(two_disks.database, tmp_path / "disks.db"))
    with serving(Made(two_disks.folder, database, two_disks.model)) as served:
        yield served


@pytest.fixture
def client(disks: Served) -> Iterator[httpx.Client]:
    with disks.client() as found:
        yield found


@pytest.fixture
def served(disks: Served) -> Served:
    """What the window looks at."""
    return disks


def test_identical_files_are_one_stack_with_all_their_places(client: httpx.Client) -> None:
    found = client.get("/stacks").json()
    (stack,) = found["items"]
    assert (stack["kind"], stack["sources"]) == ("identical", ["disk", "stick"])
    places = [f"{each['source']}:{each['path']}" for each in stack["pictures"][0]["found_at"]]
    assert places == [f"disk:picture-{SHARP[0]}.png", "stick:copy.png"]
    assert stack["pictures"][0]["live"] == 2
    assert (found["identical"], found["near"], found["current"]) == (1, 0, True)


def test_near_duplicates_are_told_with_their_distance_the_largest_first(
    client: httpx.Client,
) -> None:
    found = client.get("/stacks", params={"near": True}).json()
    assert (found["identical"], found["near"], found["hashed"]) == (1, 2, 6)
    for stack in found["items"][1:]:
        first, second = stack["pictures"]
        assert (first["width"], second["width"]) == (640, 320)
        assert first["distance"] == 0
        assert second["distance"] <= found["limit"]
        assert stack["sha256s"] == [first["sha256"], second["sha256"]]


def test_only_what_joins_two_sources_is_asked_for(client: httpx.Client) -> None:
    found = client.get("/stacks", params={"near": True, "across": True}).json()
    assert [each["sources"] for each in found["items"]] == [["disk", "stick"]] * 2
    of_stick = client.get("/stacks", params={"near": True, "source": "stick"}).json()
    assert of_stick["total"] == 2
    assert client.get("/stacks", params={"source": "elsewhere"}).status_code == 404


def test_stacks_come_page_by_page(client: httpx.Client) -> None:
    asked = {"near": True, "limit": 2}
    first = client.get("/stacks", params=asked).json()
    second = client.get("/stacks", params={**asked, "cursor": first["next"]}).json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (2, 1, None)
    assert second["total"] == 3


def test_a_tag_that_was_set_since_is_shown_on_a_stack_that_was_kept(
    client: httpx.Client, disks: Served
) -> None:
    sha256 = client.get("/stacks").json()["items"][0]["sha256s"][0]
    with disks.desk.deciding("A. Smith") as case:
        case.decide(sha256, "tag", "kitchen")
    found = client.get("/stacks").json()
    assert found["items"][0]["pictures"][0]["tags"] == ["kitchen"]
    assert found["current"]


def test_what_takes_long_is_found_by_a_job_and_kept_until_files_are_taken_in(
    client: httpx.Client, disks: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "_PAIRS_AT_ONCE", 1)
    refused = client.get("/stacks", params={"near": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "stacks_not_ready")
    job = over(client, client.post("/jobs", json={"kind": "stacks"}).json())
    assert (job["state"], job["result"]) == ("done", {"stacks": 3})
    assert client.get("/stacks", params={"near": True}).json()["current"]
    disks.desk.case.refresh(["stick"])
    later = client.get("/stacks", params={"near": True}).json()
    assert (later["current"], later["total"]) == (False, 3)


def test_near_duplicates_may_be_looked_for_on_a_case_that_is_read_only(two_disks: Made) -> None:
    with serving(two_disks, read_only=True) as served, served.client() as client:
        job = over(client, client.post("/jobs", json={"kind": "stacks", "turned": True}).json())
        assert job["state"] == "done"


def test_a_stack_is_selected_and_compared_by_keyboard(window: Window) -> None:
    page = window.go("/stacks?near=true&across=true")
    near = page.locator("article").nth(1)
    near.get_by_role("button", name="Select the whole stack").press("Enter")
    page.get_by_text("2 selected.").wait_for()
    near.get_by_role("option").first.focus()
    page.keyboard.press("c")
    page.get_by_text("This is the first of its stack").wait_for()
    first, second = (near.get_by_role("option").nth(at) for at in range(2))
    hashes = [each.get_attribute("data-sha256") for each in (first, second)]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.wait_for_url(f"**/compare?query={hashes[0]}&hit={hashes[1]}")


def test_what_was_chosen_stands_in_the_address_and_is_there_after_a_reload(window: Window) -> None:
    page = window.go("/stacks")
    page.get_by_text("near duplicates are not counted").wait_for()
    page.get_by_label("also near duplicates").check()
    page.get_by_text("2 of near duplicates").wait_for()
    page.get_by_label("With a picture in").select_option("stick")
    page.get_by_text("1 of near duplicates").wait_for()
    page.reload()
    page.get_by_text("1 of near duplicates").wait_for()
    assert page.get_by_label("also near duplicates").is_checked()
    assert page.get_by_label("With a picture in").input_value() == "stick"


def test_nothing_of_another_choice_stands_where_the_server_gave_no_list(window: Window) -> None:
    page = window.go("/stacks")
    page.locator(".stack").first.wait_for()
    page.route("**/api/v1/stacks?*", lambda route: route.abort())
    page.get_by_label("only stacks that join two sources").check()
    page.get_by_text("The page's server does not answer").wait_for()
    assert page.locator(".stack").count() == 0
    assert page.locator("#told").inner_text() == ""
    window.errors.clear()
