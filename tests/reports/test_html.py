"""The HTML report."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.reports import about, html, searches
from image_similarity.reports.searches import Entry, Search
from image_similarity.values import (
    CaseFacts,
    Coverage,
    ImageRecord,
    MeasuredRecall,
    SceneFilter,
    SearchResult,
)
from tests.reports.samples import (
    HEAD,
    HOSTILE,
    on_disk,
    sample_about,
    sample_coverage,
    sample_hit,
    sample_image,
    sample_result,
)


def write(*results: SearchResult) -> str:
    """A report of searches."""
    found = [searches.from_result(result, on_disk) for result in results]
    entries = [
        Entry(hit.image, (row,))
        for result, search in zip(results, found, strict=True)
        for hit, row in zip(result.hits, search.rows, strict=True)
    ]
    return rendered(entries, found)


def rendered(entries: list[Entry], found: list[Search], about: object = None) -> str:
    stream = io.StringIO()
    html.write(stream, entries, about or sample_about(), found, preview=preview)  # type: ignore[arg-type]
    return stream.getvalue()


def preview(shown: Search | ImageRecord) -> bytes | None:
    return b"jpeg" if isinstance(shown, ImageRecord) else None


def test_a_report_names_each_hit_and_what_was_left_out() -> None:
    text = write(sample_result(sample_hit(identical=True), sample_hit(2)))
    for said in (
        "disk-07:rooms/a.jpg",
        "01" * 32,
        "ab" * 32,
        "f1" * 32,
        "distance 0.2500, similarity 0.9000",
        "identical",
        "bedroom 0.88",
        "left out 10 of 50 pictures; 2 of those would have ranked above the last hit",
        "exhaustive over 40 pictures",
        "Documented leads for examination, never findings.",
        "2026-03-04T05:06:08Z by image_similarity ",
    ):
        assert said in text, said
    assert text.count("data:image/jpeg;base64,") == 2


def test_a_report_says_the_case_and_what_was_not_searched_and_ends_with_the_audit_head() -> None:
    text = rendered([Entry(sample_image())], [])
    for said in (
        "17/2026",
        "A. Examiner",
        "EX-1",
        "second look",
        "ask about the lamp",
        "known: vendor",
    ):
        assert said in text, said
    assert re.search(r"Archives, not opened</dt><dd>3<", text)
    assert re.search(r"Videos, [^<]*</dt><dd>5<", text)
    assert "evidence mounted read-only" in text
    assert re.search(r"Deleted data</dt><dd>never", text)
    assert re.search(r"Could not be read</dt><dd>2 \(decode 2\)", text)
    assert "Formats that can hold several: GIF 6 (how many do is not recorded)" in text
    last = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    assert last.endswith(f"Audit head entry 7 of {HEAD.at}, SHA-256 {HEAD.digest}")


def test_case_facts_of_several_databases_stand_once_or_say_whose_they_are() -> None:
    one = sample_coverage(facts=CaseFacts(number="17"))
    other = replace(one, status=replace(one.status, path="other.db"))
    third = replace(other, facts=CaseFacts(number="18"))

    def case(*coverages: Coverage) -> tuple[about.Pair, ...]:
        return about.parts(replace(sample_about(), coverages=coverages))[0].pairs

    assert case(one, other) == (("Number", "17"),)
    assert case(one, third) == ((f"Number ({one.status.path})", "17"), ("Number (other.db)", "18"))
    assert case(replace(one, facts=CaseFacts())) == (("Number", "not stated"),)


def test_every_place_of_a_content_stands_on_its_card() -> None:
    text = rendered([Entry(sample_image())], [])
    assert "disk-07:rooms/a.jpg" in text
    assert "disk-07:copies/rooms/a.jpg" in text
    assert "gone since 2026-02-03T00:00:00Z" in text
    assert "modified 2020-09-13T12:26:40.123456Z" in text


def test_an_approximate_search_says_how_often_it_was_right() -> None:
    recall = MeasuredRecall(found=498, total=500, queries=50, at=10)
    text = write(sample_result(sample_hit(), search="approximate", recall=recall))
    said = "approximate (found 498 of the 500 nearest of 50 stored pictures) over 40 pictures"
    assert said in text
    assert "at least 2 of those would have ranked above the last hit" in text


def test_a_search_without_a_scene_filter_and_without_hits_says_so() -> None:
    text = write(sample_result(filter=SceneFilter("off", (), 50, 0, 0)))
    assert "all; nothing left out" in text
    assert "No picture found." in text


def test_a_name_from_evidence_cannot_break_out_or_turn_around() -> None:
    name = '<script>alert(1)</script>\u202egpj.exe\x1b[31m\udcff".jpg'
    text = write(sample_result(sample_hit(1, name), query=name))
    assert "<script" not in text
    assert "\u202e" not in text
    assert "\\u202egpj.exe\\x1b[31m\\udcff&#34;.jpg" in text


class Tags(HTMLParser):
    """The tags of a page with the names and the harmless values of their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(f"{name}={value}" for name, value in attrs)))


def page(text: str) -> str:
    """A page on which a text stands wherever evidence, an examiner or a file may put one."""
    image = sample_image(1, text, exif={"make": text, "software": text})
    image = replace(
        image,
        places=tuple(replace(place, source=text, root=text) for place in image.places),
        decisions=tuple(replace(each, value=text) for each in image.decisions),
        known=tuple(replace(each, list=text) for each in image.known),
    )
    hit = replace(sample_hit(), image=image)
    search = searches.from_result(sample_result(hit, query=text), on_disk)
    coverage = sample_coverage(facts=CaseFacts(text, text, text, text))
    about = sample_about(coverage, asked=((text, text),), strength=(text,))
    return rendered([Entry(image, search.rows, text)], [search], about)


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1) | st.sampled_from([HOSTILE, "</title><script>", '" onload="x']))
def test_no_text_of_the_evidence_becomes_a_tag_or_an_attribute(text: str) -> None:
    assert Tags(page(text)).found == Tags(page("plain")).found
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f]", page(text))


def test_a_report_needs_nothing_from_outside_and_no_script() -> None:
    text = write(sample_result(sample_hit()))
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:|//|file:)", text)
    assert "style=" not in text
    assert "<script" not in text
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in text.replace(
        "&#39;", "'"
    )


def test_pictures_are_blurred_and_grey_until_one_is_clicked_on() -> None:
    text = write(sample_result(sample_hit()))
    assert re.search(r"\.picture img \{[^}]*filter: grayscale\(1\) blur", text)
    shown = ".picture input:checked + img, #reveal:checked ~ main img { filter: none; }"
    assert shown in text
    assert re.search(r'<label class="picture"><input type="checkbox"[^>]*><img ', text)
    assert "hover" not in text


def test_on_paper_only_what_was_revealed_is_printed() -> None:
    printed = write(sample_result(sample_hit())).partition("@media print {")[2]
    assert ".picture img { display: none; }" in printed
    assert (
        ".picture input:checked + img, #reveal:checked ~ main img { display: inline; }" in printed
    )
