"""The contact sheet."""

from __future__ import annotations

import base64
import hashlib
import re
import stat
from pathlib import Path

import pytest

from image_similarity.errors import UsageError
from image_similarity.reports import html
from image_similarity.values import Hit, MeasuredRecall, SceneFilter, SearchResult
from tests.reports.samples import sample_hit, sample_result


def write(target: Path, *results: SearchResult, overwrite: bool = False) -> str:
    html.write(
        results,
        target,
        settings={"databases": "case.db"},
        preview=lambda shown: b"jpeg" if isinstance(shown, Hit) else None,
        overwrite=overwrite,
    )
    return target.read_text("utf-8")


def test_a_sheet_names_each_hit_and_what_was_left_out(tmp_path: Path) -> None:
    text = write(tmp_path / "sheet.html", sample_result(sample_hit(identical=True), sample_hit(2)))
    for said in (
        "disk-07:rooms/a.jpg",
        "01" * 32,
        "ab" * 32,
        "f1" * 32,
        "distance 0.2500, similarity 0.9000",
        "identical",
        "bedroom",
        "left out 10 of 50 pictures; 2 of those would have ranked above the last hit",
        "exhaustive over 40 pictures",
        "Documented leads for examination, never findings.",
        " UTC by image_similarity ",
    ):
        assert said in text, said
    assert text.count("data:image/jpeg;base64,") == 2


def test_an_approximate_search_says_how_often_it_was_right(tmp_path: Path) -> None:
    recall = MeasuredRecall(found=498, total=500, queries=50, at=10)
    result = sample_result(sample_hit(), search="approximate", recall=recall)
    text = write(tmp_path / "sheet.html", result)
    said = "approximate (found 498 of the 500 nearest of 50 stored pictures) over 40 pictures"
    assert said in text
    assert "at least 2 of those would have ranked above the last hit" in text


def test_a_sheet_without_a_scene_filter_and_without_hits_says_so(tmp_path: Path) -> None:
    text = write(tmp_path / "sheet.html", sample_result(filter=SceneFilter("off", (), 50, 0, 0)))
    assert "all; nothing left out" in text
    assert "No picture found." in text


def test_a_name_from_evidence_cannot_break_out_or_turn_around(tmp_path: Path) -> None:
    name = '<script>alert(1)</script>\u202egpj.exe\x1b[31m\udcff".jpg'
    text = write(tmp_path / "sheet.html", sample_result(sample_hit(1, name), query=name))
    assert "<script" not in text
    assert "\u202e" not in text
    assert "\\u202egpj.exe\\x1b[31m\\udcff&#34;.jpg" in text


def test_a_sheet_needs_nothing_from_outside_and_no_script(tmp_path: Path) -> None:
    text = write(tmp_path / "sheet.html", sample_result(sample_hit()))
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:|//|file:)", text)
    assert "style=" not in text
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in text.replace(
        "&#39;", "'"
    )


def test_pictures_are_blurred_until_asked_for(tmp_path: Path) -> None:
    text = write(tmp_path / "sheet.html", sample_result(sample_hit()))
    assert re.search(r"\.picture img \{[^}]*filter: blur", text)
    assert (
        ".picture:hover img, .picture:focus img, #reveal:checked ~ main img { filter: none; }"
        in text
    )


def test_only_the_owner_can_read_a_sheet(tmp_path: Path) -> None:
    target = tmp_path / "sheet.html"
    write(target, sample_result())
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.html"]


def test_an_existing_file_is_replaced_only_on_demand_and_only_if_it_is_a_sheet(
    tmp_path: Path,
) -> None:
    target, other = tmp_path / "sheet.html", tmp_path / "notes.html"
    write(target, sample_result())
    other.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write(target, sample_result())
    with pytest.raises(UsageError, match="not a contact sheet"):
        write(other, sample_result(), overwrite=True)
    assert "rooms/a.jpg" in write(target, sample_result(sample_hit()), overwrite=True)
    assert other.read_text() == "mine"


def test_a_sheet_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(shown: SearchResult | Hit) -> bytes | None:
        raise MemoryError

    with pytest.raises(MemoryError):
        html.write([sample_result(sample_hit())], tmp_path / "a.html", settings={}, preview=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        html.refuse_existing(tmp_path / "none" / "sheet.html", overwrite=False)
