"""VICS-2.0-style JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from image_similarity import __version__
from image_similarity.reports import searches, vics
from image_similarity.reports.searches import Entry
from image_similarity.values import CaseFacts
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


def written(*entries: Entry, facts: CaseFacts | None = None) -> str:
    about = sample_about(sample_coverage(**({"facts": facts} if facts else {})))
    stream = io.StringIO()
    vics.write(stream, entries, about, len(entries))
    return stream.getvalue()


def case(*entries: Entry, facts: CaseFacts | None = None) -> dict[str, Any]:
    found = json.loads(written(*entries, facts=facts))
    assert list(found) == ["@odata.context", "value"]
    assert found["@odata.context"] == (
        "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/US/$metadata#Cases"
    )
    (only,) = found["value"]
    return dict(only)


def test_the_case_says_whose_it_is_and_that_nothing_is_certified() -> None:
    found = case(Entry(sample_image()), Entry(sample_image(2)))
    assert found["CaseNumber"] == "17/2026"
    assert found["ContactName"] == "A. Examiner"
    assert found["SourceApplicationName"] == "image_similarity (VICS-style, not certified)"
    assert found["SourceApplicationVersion"] == __version__
    assert found["TotalMediaFiles"] == len(found["Media"]) == 2
    assert found["Comments"].startswith("VICS-style, not certified.")
    assert "Videos, no frame of which was looked at: 5" in found["Comments"]
    assert found["Comments"].endswith(f"SHA-256 {HEAD.digest}")
    assert list(found)[-1] == "Comments"


def test_a_content_is_one_media_with_a_file_for_each_place() -> None:
    (media,) = case(Entry(sample_image()))["Media"]
    assert media == {
        "MediaID": 1,
        "Category": 2,
        "MD5": "01" * 16,
        "SHA1": "01" * 20,
        "MediaSize": 1000,
        "MimeType": "image/jpeg",
        "RelativeFilePath": "rooms/a.jpg",
        "VictimIdentified": False,
        "OffenderIdentified": False,
        "IsDistributed": False,
        "IsSuspected": False,
        "SelfGenerated": False,
        "Tags": "room",
        "Series": "",
        "Comments": f"SHA-256 {'01' * 32}\nnote: ask about the lamp\nin hash list vendor by sha1",
        "Exifs": [
            {"PropertyName": "latitude", "PropertyValue": "-33.5"},
            {"PropertyName": "make", "PropertyValue": "Maker"},
        ],
        "MediaFiles": [
            {
                "FileName": "a.jpg",
                "FilePath": "/evidence/rooms/a.jpg",
                "Written": "2020-09-13T12:26:40.123456Z",
            },
            {
                "FileName": "a.jpg",
                "FilePath": "/evidence/copies/rooms/a.jpg",
                "Written": "2020-09-13T12:26:40.123456Z",
            },
        ],
    }


@pytest.mark.parametrize(
    ("said", "category"),
    [("0", 0), ("5", 5), ("6", 0), ("12", 0), ("", 0), ("\u0663", 0), ("A", 0)],
)
def test_only_a_number_from_0_to_5_is_a_category(said: str, category: int) -> None:
    image = sample_image()
    decisions = tuple(
        replace(each, value=said) if each.kind == "category" else each for each in image.decisions
    )
    assert vics.category(replace(image, decisions=decisions)) == category


def test_the_hits_that_a_content_is_stand_in_its_comments() -> None:
    search = searches.from_result(sample_result(sample_hit(), sample_hit(2)), on_disk)
    (media,) = case(Entry(sample_image(), search.rows))["Media"]
    said = media["Comments"].splitlines()[-2:]
    assert said[0].startswith(
        f"hit 1 of the query query.jpg (SHA-256 {'ab' * 32}); distance 0.2500"
    )
    assert said[1].endswith("a lead for examination, never a finding")


def test_hostile_text_stays_text_and_can_be_read_by_any_reader() -> None:
    bad = HOSTILE + "\udcff"
    image = sample_image(1, HOSTILE, exif={"make": bad})
    text = written(Entry(image), facts=CaseFacts(number=bad))
    assert text.isascii()
    (media,) = json.loads(text)["value"][0]["Media"]
    assert media["MediaFiles"][0]["FilePath"] == f"/evidence/{HOSTILE}"
    assert media["Exifs"] == [{"PropertyName": "make", "PropertyValue": f"{HOSTILE}\\udcff"}]
    text.encode("utf-8").decode("unicode_escape").encode("utf-8", "strict")


def test_a_case_without_pictures_is_whole() -> None:
    found = case(facts=CaseFacts(examiner="an@example.org"))
    assert (found["Media"], found["ContactEmail"]) == ([], "an@example.org")


def test_two_exports_of_one_state_are_the_same_bytes() -> None:
    assert written(Entry(sample_image())) == written(Entry(sample_image()))


def test_a_report_is_known_by_its_beginning() -> None:
    assert vics.MARK in written()[:1000]
