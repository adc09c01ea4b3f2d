"""A map as one HTML page."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from image_similarity.reports import map_page
from image_similarity.reports.about import About
from image_similarity.reports.map_layout import MapPoint
from image_similarity.reports.tiles import Tile
from tests.reports import maps
from tests.reports.samples import HOSTILE, sample_coverage

ABOUT = About("map", (("Model", "builtin"),), "50 pictures", (sample_coverage(),), "2026-03-04")


def page(
    points: list[MapPoint], tiles: Any = maps.tile_of, *, tile: int = 40, reveal: bool = False
) -> str:
    stream = io.StringIO()
    map_page.write(stream, points, maps.grid(points), tiles, ABOUT, tile=tile, reveal=reveal)
    return stream.getvalue()


class Parts(HTMLParser):
    """The tags of a page in order, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.images: list[str] = []
        self._open = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open = tag == "script"
        if self._open:
            self.scripts.append("")
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.scripts[-1] += data


def data_of(text: str) -> dict[str, Any]:
    return dict(json.loads(Parts(text).scripts[0]))


def sheet_of(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")


def test_the_page_carries_every_picture_with_path_scene_and_hash() -> None:
    points = maps.points(50)
    data = data_of(page(points))
    assert data["hashes"] == [each.sha256 for each in points]
    assert data["paths"] == [each.place.path for each in points]
    assert data["sources"] == [["disk", "disk", "/evidence/disk"]]
    assert [name for name, _, _ in data["scenes"]] == ["kitchen", "street"]
    assert [data["scenes"][number][0] for number in data["scene"]] == [e.scene for e in points]
    cells = list(zip(data["cells"][::2], data["cells"][1::2], strict=True))
    assert len(set(cells)) == 50
    assert data["reveal"] is False
    assert data_of(page(points, reveal=True))["reveal"] is True


def test_each_thumbnail_stands_on_its_sheet_where_the_script_looks_for_it(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(map_page, "_SHEET", 160)
    points = maps.points(50)
    text = page(points)
    data, images = data_of(text), Parts(text).images
    assert (data["across"], len(images)) == (4, 4)
    for number in range(50):
        sheet, place = divmod(number, data["across"] ** 2)
        row, column = divmod(place, data["across"])
        middle = (column * 40 + 20, row * 40 + 20)
        found = np.array(sheet_of(images[sheet]).getpixel(middle), dtype=int)
        assert np.abs(found - maps.colour(number)).max() < 12, number


def test_a_picture_keeps_its_proportions_and_one_that_cannot_be_shown_says_why() -> None:
    def tiles(point: MapPoint) -> Tile:
        if point.place.path == "p1.jpg":
            return Tile(None, "not shown: gone\u202e")
        return Tile(np.zeros((20, 40, 3), dtype=np.uint8))

    data = data_of(page(maps.points(3), tiles))
    assert data["sizes"] == [40, 20, 0, 0, 40, 20]
    assert data["why"] == {"1": "not shown: gone\\u202e"}


def test_the_page_reaches_nothing_outside_and_runs_no_other_script() -> None:
    text = page(maps.points(5))
    assert not re.search(r"(src|href|url|action)\s*[=(]\s*[\"']?(https?:|//|file:)", text)
    assert "style=" not in text
    assert not re.search(r"<[^>]*\son\w+=", text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    _, script = Parts(text).scripts
    hashes = [
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        for part in (style, script)
    ]
    assert (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    ) in text.replace("&#39;", "'")
    for reach in ("fetch(", "XMLHttpRequest", "WebSocket", "innerHTML", "eval(", "document.write"):
        assert reach not in script


@settings(deadline=None, max_examples=60)
@given(
    st.text(min_size=1)
    | st.sampled_from(
        [HOSTILE, "</script><script>alert(1)</script>", "<!--<script>", "\u2028", '"]};', "\udcff"]
    )
)
def test_no_name_of_the_evidence_leaves_the_data(text: str) -> None:
    points = [maps.point(0), maps.point(1, text, scene=text, source=text), maps.point(2)]
    points[1] = replace(points[1], places=(replace(points[1].place, root=text),))

    def tiles(point: MapPoint) -> Tile:
        return Tile(None, text)

    made = page(points, tiles)
    assert Parts(made).tags == Parts(page(maps.points(3), lambda _: Tile(None, "gone"))).tags
    data = data_of(made)
    assert data["paths"][1] == text
    assert not re.search("[\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f]", made)


def test_a_deceptive_name_is_shown_with_escapes_and_kept_exact() -> None:
    data = data_of(page([maps.point(0, "a\u202egpj.exe"), maps.point(1), maps.point(2)],
                        lambda _: Tile(None, "gone")))  # fmt: skip
    assert data["shown"] == {"0": "a\\u202egpj.exe"}
    assert data["paths"][0] == "a\u202egpj.exe"


def test_a_source_never_starts_a_formula_in_the_file_of_a_selection() -> None:
    points = [maps.point(number, source="=1+1") for number in range(3)]
    assert data_of(page(points))["sources"] == [["'=1+1", "=1+1", "/evidence/disk"]]


def test_who_moves_by_keys_or_hears_the_page_is_told_what_is_where() -> None:
    text = page(maps.points(3))
    # A canvas that is said to be a picture keeps a screen reader from handing the arrow keys on.
    assert re.search(r'<canvas id="map" tabindex="0" role="application" aria-label="[^"]+', text)
    # A toolbar would promise that arrow keys walk through it.
    assert 'role="toolbar"' not in text
    for button in re.findall(r"<button[^>]*>[^<]*<", text):
        assert re.search(r'aria-label="\w|>\w', button)
    assert "No picture in the middle" in text


def test_what_was_searched_and_the_caution_stand_on_the_page() -> None:
    text = page(maps.points(3))
    assert "Documented leads for examination, never findings." in text
    assert "What was not searched" in text
    assert f'content="{map_page.MARK} ' in text[:4096]


def test_thumbnails_of_many_pictures_are_smaller() -> None:
    assert map_page.largest_tile(5_000) >= map_page.TILE
    assert 100_000 * map_page.largest_tile(100_000) ** 2 <= map_page.MOST_PIXELS
