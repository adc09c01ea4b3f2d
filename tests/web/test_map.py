"""The map of the whole collection: its layout, its sheets, and moving about and selecting on it."""

from __future__ import annotations

import io
import re
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import Serve, Served, Window
from tests.web.test_accessibility import violations


def ended(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """A job when it is over."""
    while job["state"] in ("waiting", "running"):
        job = client.get(f"/jobs/{job['id']}").json()
        time.sleep(0.05)
    return job


def laid_out(client: httpx.Client) -> dict[str, Any]:
    """Lay the pictures out; gives the state of the map."""
    job = ended(client, client.post("/jobs", json={"kind": "map"}).json())
    assert job["state"] == "done", job
    state: dict[str, Any] = client.get("/map").json()
    return state


def points_of(client: httpx.Client, state: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Column, row and scene of each picture."""
    packed = client.get("/map/points", params={"version": state["map"]["version"]}).content
    return list(struct.iter_unpack("<HHH", packed))


def hashes_of(client: httpx.Client, state: dict[str, Any]) -> list[str]:
    packed = client.get("/map/hashes", params={"version": state["map"]["version"]}).content
    return [packed[at : at + 32].hex() for at in range(0, len(packed), 32)]


def test_before_it_is_laid_out_the_map_says_what_could_be(client: httpx.Client) -> None:
    state = client.get("/map").json()
    assert (state["state"], state["map"], state["job"]) == ("none", None, None)
    assert state["model"]["pictures"] == 30
    assert state["can_lay_out"]


def test_a_job_lays_all_pictures_out_each_in_a_cell_of_its_own(
    client: httpx.Client, served: Served
) -> None:
    state = laid_out(client)
    assert state["state"] == "ready"
    shown = state["map"]
    assert (shown["pictures"], shown["missing"], shown["left"]) == (30, 0, 0)
    points = points_of(client, state)
    assert len({(column, row) for column, row, _ in points}) == 30
    assert all(column < shown["columns"] and row < shown["rows"] for column, row, _ in points)
    of_scene = [[scene for _, _, scene in points].count(n) for n in range(len(shown["scenes"]))]
    assert of_scene == [each["pictures"] for each in shown["scenes"]]
    assert sorted(hashes_of(client, state)) == sorted(served.hashes())


def test_some_hashes_are_those_of_all_at_that_place(client: httpx.Client) -> None:
    state = laid_out(client)
    version = state["map"]["version"]
    some = client.get("/map/hashes", params={"version": version, "start": 28, "count": 10})
    assert some.content.hex() == "".join(hashes_of(client, state)[28:])


def test_the_map_is_kept_for_the_next_time_the_page_is_opened(serve: Serve) -> None:
    with serve().client() as client:
        first = laid_out(client)
    with serve().client() as client:
        again = client.get("/map").json()
    assert again["map"] == first["map"]
    assert again["job"] is None


def test_a_sheet_shows_each_picture_of_its_block_in_its_cell(
    client: httpx.Client, served: Served
) -> None:
    state = laid_out(client)
    assert state["map"]["columns"] <= 16 and state["map"]["rows"] <= 16
    params = {"version": state["map"]["version"], "side": 32}
    answer = client.get("/map/sheets/0", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as sheet:
        assert sheet.size == (512, 512)
        for (column, row, _), sha256 in zip(
            points_of(client, state), hashes_of(client, state), strict=True
        ):
            cell = sheet.crop((column * 32 + 8, row * 32 + 11, column * 32 + 24, row * 32 + 21))
            thumbnail = client.get(f"/pictures/{sha256}/thumbnail", params={"side": 64}).content
            with Image.open(io.BytesIO(thumbnail)) as small:
                wanted = small.resize((32, 24)).crop((8, 7, 24, 17))
            assert _differ(cell, wanted) < 20, sha256


def _differ(one: Image.Image, other: Image.Image) -> float:
    """How far the mean colours are apart."""
    means = [each.convert("RGB").resize((1, 1), Image.Resampling.BOX) for each in (one, other)]
    pairs = zip(means[0].getpixel((0, 0)), means[1].getpixel((0, 0)), strict=True)  # type: ignore[arg-type]
    return max(abs(a - b) for a, b in pairs)


def test_a_sheet_is_made_once(client: httpx.Client, served: Served) -> None:
    version = laid_out(client)["map"]["version"]
    params = {"version": version, "side": 64}
    first = client.get("/map/sheets/0", params=params).content
    for sha256 in served.hashes():
        for path in served.made.database.parent.glob(f"cache/*/{sha256}-*.jpg"):
            path.write_bytes(b"")
    assert client.get("/map/sheets/0", params=params).content == first


def test_a_picture_that_cannot_be_shown_leaves_the_others_on_their_sheet(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    lost = served.hashes()[3]
    found = served.desk.thumbnails.jpeg

    def jpeg(sha256: str, side: int) -> tuple[bytes, bool]:
        from image_similarity.errors import ImageUnreadable

        if sha256 == lost:
            raise ImageUnreadable("gone")
        return found(sha256, side)

    with served.client() as client:
        version = laid_out(client)["map"]["version"]
        params = {"version": version, "side": 32}
        with monkeypatch.context() as patch:
            patch.setattr(served.desk.thumbnails, "jpeg", jpeg)
            without = client.get("/map/sheets/0", params=params)
        assert without.status_code == 200
        assert without.headers["Cache-Control"] == "no-store"
        # It was not kept so: the source may be mounted again.
        assert client.get("/map/sheets/0", params=params).content != without.content


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/map?model=x", 422),
        ("/map?model=" + "0" * 64, 404),
        ("/map/points", 422),
        ("/map/points?version=../../etc", 422),
        ("/map/points?version=" + "0" * 16, 409),
        ("/map/hashes?version=VERSION&start=-1", 422),
        ("/map/hashes?version=VERSION&count=100000", 422),
        ("/map/hashes?version=VERSION&start=4000", 200),
        ("/map/sheets/1?version=VERSION", 404),
        ("/map/sheets/99999999999999999999?version=VERSION", 422),
        ("/map/sheets/-1?version=VERSION", 422),
        ("/map/sheets/0?version=VERSION&side=4096", 422),
        ("/map/sheets/..%2f..%2fetc?version=VERSION", 404),
    ],
)
def test_what_is_no_map_and_no_sheet_is_refused(
    placed: tuple[httpx.Client, str], address: str, status: int
) -> None:
    client, version = placed
    answer = client.get(address.replace("VERSION", version))
    assert answer.status_code == status, answer.text
    if status != 200:
        assert set(answer.json()["error"]) == {"code", "message", "hint"}


@pytest.fixture
def placed(client: httpx.Client) -> Iterator[tuple[httpx.Client, str]]:
    """A client and the version of the map that was laid out."""
    yield client, laid_out(client)["map"]["version"]


def test_a_case_that_is_read_only_is_laid_out_and_nothing_of_it_stays(serve: Serve) -> None:
    served = serve(read_only=True)
    with served.client() as client:
        assert laid_out(client)["map"]["pictures"] == 30
    assert not (served.made.database.parent / "cache").exists()


def test_of_a_case_that_is_read_only_nothing_is_laid_out_into_the_evidence(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(read_only=True)
    monkeypatch.setattr(tempfile, "tempdir", str(served.made.folder / "rooms"))
    with served.client() as client:
        assert client.get("/map").json()["state"] == "none"
        job = ended(client, client.post("/jobs", json={"kind": "map"}).json())
    assert job["state"] == "failed"
    assert "indexed folder" in job["message"]
    assert [each.name for each in (served.made.folder / "rooms").iterdir()] == ["copy.jpg"]


@pytest.mark.parametrize("ending", ["csv", "csv.cells.npz"])
def test_a_layout_that_is_damaged_is_none_and_can_be_made_anew(
    client: httpx.Client, served: Served, ending: str
) -> None:
    laid_out(client)
    (path,) = (served.made.database.parent / "cache").rglob(f"map-*.{ending}")
    path.write_bytes(b"\xff" + bytes(100))
    assert client.get("/map").status_code == 200
    assert laid_out(client)["map"]["pictures"] == 30


def test_sheets_of_a_map_that_is_known_do_not_wait_until_another_is_read(
    placed: tuple[httpx.Client, str], served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, version = placed
    reads, may_go_on = threading.Event(), threading.Event()

    def slow(path: object) -> None:
        reads.set()
        assert may_go_on.wait(60)
        raise OSError

    monkeypatch.setattr(served.desk.case, "laid_out", slow)
    served.made.database.touch()
    reader = threading.Thread(target=served.desk.maps.shown, args=(served.desk.maps.usual_model(),))
    reader.start()
    assert reads.wait(60)
    assert client.get("/map/sheets/0", params={"version": version}).status_code == 200
    may_go_on.set()
    reader.join(60)


# -- in the browser ----------------------------------------------------------------------------------------------------


def opened(window: Window, client: httpx.Client, address: str = "/map") -> Page:
    """The page of a map that is laid out, with all sheets in view."""
    laid_out(client)
    page = window.go(address)
    ready(page)
    return page


def ready(page: Page) -> None:
    page.locator("#map[aria-busy=false]").wait_for()


def view_of(page: Page) -> tuple[float, float, float]:
    """The cell in the middle and the pixels of a cell, from the address."""
    page.wait_for_function("location.hash.split(',').length === 3")
    x, y, scale = (float(each) for each in page.url.partition("#")[2].split(","))
    return x, y, scale


def box_of(page: Page) -> dict[str, float]:
    box = page.locator("#map").bounding_box()
    assert box is not None
    return dict(box)


def place_of(page: Page, column: float, row: float) -> tuple[float, float]:
    """Where in the window a place on the map is, which is told in cells."""
    x, y, scale = view_of(page)
    # Within its border of one pixel.
    box = box_of(page)
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    return middle[0] + (column - x) * scale, middle[1] + (row - y) * scale


def selection(page: Page) -> set[str]:
    name = "image_similarity.selection." + str(
        page.evaluate("document.querySelector('meta[name=case]').content")
    )
    found: list[str] = page.evaluate("name => JSON.parse(localStorage.getItem(name) ?? '[]')", name)
    return set(found)


def inside(polygon: list[tuple[float, float]], x: float, y: float) -> bool:
    """Whether a point is in a polygon: how often a ray to the right crosses its edges."""
    crossed = 0
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            crossed += 1
    return crossed % 2 == 1


def test_the_map_is_laid_out_from_the_page_itself(window: Window) -> None:
    page = window.go("/map")
    page.get_by_text("30 pictures can be laid out").wait_for()
    page.get_by_role("button", name="Lay them out").click()
    page.get_by_text("30 pictures, laid out by").wait_for()
    ready(page)


def test_a_lasso_selects_the_pictures_whose_middle_is_inside(
    window: Window, client: httpx.Client
) -> None:
    page = opened(window, client)
    state = client.get("/map").json()
    columns, rows = state["map"]["columns"], state["map"]["rows"]
    star = [(0.02, 0.1), (0.7, 0.03), (0.4, 0.45), (0.96, 0.9), (0.3, 0.7)]
    # Between cells, so that none has its middle on a line.
    polygon = [(columns * x + 0.013, rows * y + 0.017) for x, y in star]
    wanted = {
        sha256
        for (column, row, _), sha256 in zip(
            points_of(client, state), hashes_of(client, state), strict=True
        )
        if inside(polygon, column + 0.5, row + 0.5)
    }
    assert 0 < len(wanted) < 30
    places = [place_of(page, *corner) for corner in polygon]
    page.get_by_role("button", name="Lasso").click()
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=15)
    page.mouse.up()
    page.get_by_text(f"{len(wanted)} inside, {len(wanted)} of them added").wait_for()
    assert selection(page) == wanted
    page.get_by_role("button", name="Take back").click()
    page.get_by_text("taken back; 0 selected").wait_for()
    assert selection(page) == set()


def test_a_hidden_scene_is_not_selected(window: Window, client: httpx.Client) -> None:
    page = opened(window, client)
    state = client.get("/map").json()
    first = state["map"]["scenes"][0]
    page.get_by_role("checkbox", name=first["name"]).uncheck()
    box = box_of(page)
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    page.keyboard.down("Shift")
    page.mouse.down()
    for x, y in ((0.997, 0.004), (0.997, 0.996), (0.003, 0.996)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.get_by_text(f"{30 - first['pictures']} inside").wait_for()
    hidden = {
        sha256
        for (_, _, scene), sha256 in zip(
            points_of(client, state), hashes_of(client, state), strict=True
        )
        if scene == 0
    }
    assert len(selection(page)) == 30 - first["pictures"]
    assert not selection(page) & hidden


def test_by_keys_alone_one_goes_from_picture_to_picture_selects_and_searches(
    window: Window, client: httpx.Client
) -> None:
    page = opened(window, client)
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    card = page.locator("#map-card [data-sha256]")
    card.wait_for()
    first = card.get_attribute("data-sha256")
    file = page.locator("#map-card dd").first.text_content()
    assert (page.locator("#map-told").text_content() or "").startswith(f"{file}, ")
    page.keyboard.press("Space")
    page.get_by_text("Selected; 1 in all").wait_for()
    assert selection(page) == {first}
    page.keyboard.press("ArrowRight")
    page.locator(f"#map-card [data-sha256]:not([data-sha256='{first}'])").wait_for()
    second = card.get_attribute("data-sha256")
    compare = page.get_by_role("link", name="Compare").get_attribute("href")
    assert compare == f"/compare?query={first}&hit={second}"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/search?sha256={second}")


def test_shift_and_arrows_span_a_rectangle_that_space_selects(
    window: Window, client: httpx.Client
) -> None:
    page = opened(window, client)
    state = client.get("/map").json()
    page.locator("#map").focus()
    for _ in range(40):
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Shift+ArrowUp")
    start = (state["map"]["columns"] // 2, state["map"]["rows"] // 2)
    wanted = {
        sha256
        for (column, row, _), sha256 in zip(
            points_of(client, state), hashes_of(client, state), strict=True
        )
        if column <= start[0] and row <= start[1]
    }
    assert 0 < len(wanted) < 30
    page.get_by_text(f"{len(wanted)} in the rectangle").wait_for()
    page.keyboard.press("Space")
    page.get_by_text(f"{len(wanted)} of them added").wait_for()
    assert selection(page) == wanted
    page.keyboard.press("Escape")
    page.get_by_text("taken back").wait_for()
    assert selection(page) == set()


def at(page: Page, x: float, y: float, scale: float) -> None:
    """Wait until the address says so."""
    page.wait_for_function(
        """wanted => {
          const told = location.hash.slice(1).split(",").map(Number);
          return wanted.every((each, at) => Math.abs(each - told[at]) < 0.03);
        }""",
        arg=[x, y, scale],
    )


def test_where_one_was_is_in_the_address_and_a_reload_goes_back_there(
    window: Window, client: httpx.Client
) -> None:
    page = opened(window, client)
    x, y, scale = view_of(page)
    page.get_by_role("button", name="Closer").click()
    at(page, x, y, 1.5 * scale)
    box = box_of(page)
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 240, steps=4)
    page.mouse.up()
    x, y = x - 60 / (1.5 * scale), y - 40 / (1.5 * scale)
    at(page, x, y, 1.5 * scale)
    page.reload()
    ready(page)
    page.get_by_role("button", name="Farther").click()
    at(page, x, y, scale)


def colourful(page: Page) -> float:
    """The share of pixels in the middles of pictures on the canvas that have a colour."""
    share: float = page.evaluate(
        """async () => {
          const map = document.getElementById("map");
          const { width, height } = map;
          const data = map.getContext("2d").getImageData(0, 0, width, height).data;
          const version = (await (await fetch("/api/v1/map")).json()).map.version;
          const points = new Uint16Array(await (await fetch(`/api/v1/map/points?version=${version}`)).arrayBuffer());
          const [x, y, scale] = location.hash.slice(1).split(",").map(Number);
          let coloured = 0, all = 0;
          for (let i = 0; i < points.length; i += 3) {
            for (let step = -6; step <= 6; step++) {
              const px = Math.round((points[i] + .5 - x) * scale + width / 2 + step);
              const py = Math.round((points[i + 1] + .5 - y) * scale + height / 2 + step);
              const [r, g, b] = data.subarray(4 * (py * width + px), 4 * (py * width + px) + 3);
              coloured += Math.max(r, g, b) - Math.min(r, g, b) > 16;
              all++;
            }
          }
          return coloured / all;
        }"""
    )
    return share


def test_pictures_on_the_map_are_covered_until_someone_chooses_otherwise(
    window: Window, client: httpx.Client
) -> None:
    page = opened(window, client)
    view_of(page)
    for way, covered in (("blur", True), ("grey", True), ("show", False), ("blur", True)):
        page.get_by_label("Pictures", exact=True).select_option(way)
        ready(page)
        for _ in range(600):
            # Drawn with the next frame, and with each sheet that comes.
            share = colourful(page)
            if share == 0 if covered else share > 0.5:
                break
            page.wait_for_timeout(100)
        else:
            raise AssertionError((way, share))


def test_the_key_v_uncovers_the_picture_beside_the_map(
    window: Window, client: httpx.Client
) -> None:
    page = opened(window, client)
    page.locator("#map").focus()
    page.keyboard.press("ArrowDown")
    picture = page.locator("#map-card .picture")
    picture.wait_for()
    assert page.locator("#map-card .revealed").count() == 0
    page.keyboard.press("v")
    page.locator("#map-card .picture.revealed").wait_for()


def test_new_pictures_are_counted_and_offered(
    window: Window, client: httpx.Client, served: Served
) -> None:
    laid_out(client)
    (layout,) = served.made.database.parent.glob("cache/*/map-*.csv")
    lines = layout.read_text("utf-8").splitlines(keepends=True)
    layout.write_text("".join(lines[:-4]), "utf-8")
    page = window.go("/map")
    page.get_by_text("4 pictures are new since").wait_for()
    page.get_by_role("button", name="Lay out again").click()
    page.get_by_text("30 pictures, laid out by").wait_for()
    assert page.get_by_text("new since").count() == 0


def test_axe_finds_nothing_wrong_with_a_map_that_is_laid_out(
    window: Window, client: httpx.Client
) -> None:
    page = opened(window, client)
    page.locator("#map").focus()
    page.keyboard.press("ArrowDown")
    page.locator("#map-card .picture").wait_for()
    found = {}
    for colours in ("light", "dark"):
        page.emulate_media(color_scheme=colours)
        for width in (1280, 640):
            page.set_viewport_size({"width": width, "height": 900})
            found[colours, width] = violations(page)
    assert found == {each: [] for each in found}
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_key_that_is_pressed_at_once_acts_on_the_picture_under_the_cursor(
    window: Window, client: httpx.Client, served: Served
) -> None:
    page = opened(window, client)
    page.evaluate(
        "sessionStorage.setItem('image_similarity.examiner_asked',"
        " document.querySelector('meta[name=csrf]').content)"
    )
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#map-card .map-links").wait_for()
    before = page.locator("#map-card [data-sha256]").get_attribute("data-sha256")
    late: list[Route] = []
    page.route(re.compile("/api/v1/pictures/[0-9a-f]{64}$"), lambda route: late.append(route))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("t")
    page.locator("dialog input").fill("sofa")
    page.keyboard.press("Enter")
    page.get_by_text("Saved: tag “sofa”.").wait_for()
    (said,) = served.desk.case.decisions()
    card = page.locator("#map-card [data-sha256]").get_attribute("data-sha256")
    assert said.sha256 == card != before


def test_what_the_pointer_uncovered_beside_the_map_is_covered_once_it_is_elsewhere(
    window: Window, client: httpx.Client
) -> None:
    page = opened(window, client)
    column, row, _ = points_of(client, client.get("/map").json())[0]
    page.mouse.move(*place_of(page, column + 0.5, row + 0.5))
    page.locator("#map-card .picture.revealed").wait_for()
    page.mouse.move(5, 5)
    expect(page.locator("#map-card .picture")).to_have_count(1)
    expect(page.locator("#map-card .revealed")).to_have_count(0)
