"""Two pictures side by side: what is measured of them, why they are alike, and the page that shows both."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageEnhance

from image_similarity.case import Case
from image_similarity.web.options import ServeOptions
from image_similarity.web.problems import Refused
from tests.cli import conftest as commands
from tests.cli.conftest import Made, Run, index_arguments
from tests.conftest import draw_picture
from tests.web.conftest import Served, running

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
