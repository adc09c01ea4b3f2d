"""The map of the whole collection: its layout, its sheets, and moving about and selecting on it."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.web.conftest import Serve, Served


def laid_out(client: httpx.Client) -> dict[str, Any]:
    """Lay the pictures out; gives the state of the map."""
    job = client.post("/jobs", json={"kind": "map"}).json()
    while job["state"] in ("waiting", "running"):
        job = client.get(f"/jobs/{job['id']}").json()
        time.sleep(0.05)
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
