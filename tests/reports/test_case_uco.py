"""CASE/UCO JSON-LD, held to the ontology by the validator of the CASE community."""

from __future__ import annotations

import functools
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from image_similarity.reports import case_uco, searches
from image_similarity.reports.about import About
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

SEARCH = searches.from_result(
    sample_result(sample_hit(), sample_hit(2), query=HOSTILE + "\udcff"), on_disk
)
ENTRIES = [
    Entry(sample_image(), SEARCH.rows[:1]),
    Entry(
        sample_image(2, HOSTILE, exif={"make": HOSTILE + "\udcff"}, partial=True), SEARCH.rows[1:]
    ),
    Entry(sample_image(3, decisions=(), known=(), exif={})),
]


def written(about: About, *entries: Entry) -> str:
    stream = io.StringIO()
    case_uco.write(stream, entries, about, [SEARCH])
    return stream.getvalue()


def graph(about: About, *entries: Entry) -> list[dict[str, Any]]:
    return list(json.loads(written(about, *entries))["@graph"])


def validated(folder: Path, *texts: str) -> tuple[bool, str]:
    """What the validator says of graphs, from the ontology that it carries."""
    from case_utils.case_validate import validate

    paths = [folder / f"{number}.jsonld" for number, _ in enumerate(texts)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    result = validate(list(map(str, paths)))
    return result.conforms and not result.undefined_concepts, str(result.text)


@pytest.mark.filterwarnings("ignore")  # of the validator's own libraries
@pytest.mark.usefixtures("no_network")
def test_the_validator_of_the_community_finds_nothing_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a warning; and it does look: a time that is none is found."""
    from case_utils import case_validate

    # Half a megabyte of Turtle is to be read once.
    load = functools.cache(case_validate.get_ontology_graph)
    monkeypatch.setattr(case_validate, "get_ontology_graph", lambda version, more: load(version))
    empty = sample_about(sample_coverage(facts=CaseFacts(), runs=(), head=None))
    sound = written(sample_about(), *ENTRIES)
    said = validated(tmp_path, sound, written(empty))
    assert said == (True, "Validation Report\nConforms: True\n")
    broken = written(sample_about(written="yesterday"))
    assert not validated(tmp_path, broken)[0]


def test_a_content_has_its_hashes_and_a_file_for_each_place() -> None:
    nodes = graph(sample_about(), ENTRIES[0])
    (content,) = [each for each in nodes if "uco-core:tag" in each]
    data, picture, exif = content["uco-core:hasFacet"]
    assert content["uco-core:tag"] == ["room", "category: 2", "in hash list: vendor (sha1)"]
    assert {
        each["uco-types:hashMethod"]: each["uco-types:hashValue"]["@value"]
        for each in data["uco-observable:hash"]
    } == {"MD5": "01" * 16, "SHA1": "01" * 20, "SHA256": "01" * 32}
    assert (picture["uco-observable:pictureWidth"], picture["uco-observable:pictureHeight"]) == (
        96,
        72,
    )
    (dictionary,) = exif["uco-observable:exifData"]
    assert [each["uco-types:value"] for each in dictionary["uco-types:entry"]] == ["-33.5", "Maker"]
    files = {each["@id"]: each for each in nodes if each["@type"] == "uco-observable:File"}
    assert [each["uco-core:hasFacet"][0]["uco-observable:filePath"] for each in files.values()] == [
        "/evidence/rooms/a.jpg",
        "/evidence/copies/rooms/a.jpg",
    ]
    links = [each for each in nodes if each["@type"] == "uco-observable:ObservableRelationship"]
    assert [each["uco-core:target"]["@id"] for each in links] == list(files)
    assert {each["uco-core:source"]["@id"] for each in links} == {content["@id"]}


def test_the_report_is_an_action_with_tool_and_examiner_and_ends_with_the_audit_head() -> None:
    nodes = graph(sample_about(), ENTRIES[0])
    by_id = {each["@id"]: each for each in nodes}
    report, _, record = nodes[-3:]
    assert by_id[report["uco-action:instrument"][0]["@id"]]["uco-core:name"] == "image_similarity"
    assert by_id[report["uco-action:performer"]["@id"]]["uco-core:name"] == "A. Examiner"
    assert "Archives, not opened: 3" in report["uco-core:description"]
    assert record["@type"] == "case-investigation:ProvenanceRecord"
    assert record["case-investigation:exhibitNumber"] == "EX-1"
    assert record["uco-core:description"].endswith(f"SHA-256 {HEAD.digest}")
    held = {by_id[each["@id"]]["@type"] for each in record["uco-core:object"]}
    assert held == {
        "uco-observable:ContentData",
        "uco-observable:File",
        "uco-analysis:AnalyticResult",
    }


def test_two_exports_of_one_state_differ_in_the_time_of_writing_alone() -> None:
    first, again = (written(sample_about(), *ENTRIES) for _ in range(2))
    later = written(sample_about(written="2027-01-01T00:00:00Z"), *ENTRIES).splitlines()
    assert first == again
    changed = [a for a, b in zip(first.splitlines(), later, strict=True) if a != b]
    assert len(changed) <= 3, "the report, the investigation, the provenance"


def test_each_query_of_a_fused_list_is_a_content_of_its_own() -> None:
    several = replace(SEARCH, sha256=f"{'ab' * 32} + {'cd' * 32}")
    stream = io.StringIO()
    case_uco.write(stream, [], sample_about(), [several])
    nodes = json.loads(stream.getvalue())["@graph"]
    queries = {each["@id"] for each in nodes if each["@type"] == "uco-observable:ContentData"}
    (report,) = [each for each in nodes if "uco-action:performer" in each]
    assert {each["@id"] for each in report["uco-action:object"]} == queries
    assert len(queries) == 2


def test_every_identifier_names_one_thing() -> None:
    found: dict[str, str] = {}

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "@id" in value and "@type" in value:
                text = json.dumps(value, sort_keys=True)
                assert found.setdefault(value["@id"], text) == text
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(graph(sample_about(), *ENTRIES))
    assert len(found) > 20


def test_a_report_is_known_by_its_beginning() -> None:
    assert case_uco.MARK in written(sample_about())[:1000]
