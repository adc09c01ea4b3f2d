"""Near duplicates of a query stand beside its hits: found by PDQ whatever the scene, mixed with no distance."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from image_similarity.case import Case, search_cases
from image_similarity.errors import DatabaseDamaged, InvalidSetting, UnknownSource
from image_similarity.events import Event, Started
from image_similarity.matching import pdq
from image_similarity.matching.pdq import PdqHash
from image_similarity.search import SearchRequest
from image_similarity.values import SearchResult
from tests.conftest import draw_picture
from tests.search.near_cases import ORIGINAL, flipped, give_hashes
from tests.search.synthetic import Row, at_angle, write_case

BEDROOM = [("bedroom", 0.9)]
STREET = [("street", 0.9)]


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A bedroom as query; its near copies were judged otherwise or lie far away by the model's distance."""
    rows = [
        Row("query", at_angle(0), BEDROOM, ["query.png", "again/query.png"]),
        Row("alike", at_angle(5), BEDROOM),
        Row("copy", at_angle(60), STREET, ["copy.png", "deep/copy.png"]),
        Row("turned", at_angle(80), STREET),
        Row("far", at_angle(3), BEDROOM),
        Row("poor", at_angle(4), BEDROOM),
        Row("unhashed", at_angle(50), BEDROOM),
    ]
    path = write_case(tmp_path / "case.db", rows)
    mirrored = pdq.oriented(np.frombuffer(ORIGINAL, np.uint8)[None])[1, 0].tobytes()
    give_hashes(
        path,
        {
            "query.png": (ORIGINAL, 90),
            "alike.png": (flipped(ORIGINAL, 31), 50),
            "copy.png": (flipped(ORIGINAL, 4), 80),
            "turned.png": (mirrored, 80),
            "far.png": (flipped(ORIGINAL, 32), 80),
            "poor.png": (ORIGINAL, 49),
        },
    )
    return path


def ask(path: Path, name: str = "query", **request: object) -> SearchResult:
    with Case.open(path, read_only=True) as case:
        return case.search(sha256=Row(name, ()).sha256, near=True, **request)  # type: ignore[arg-type]


def request(path: Path, **more: object) -> SearchResult:
    with Case.open(path, read_only=True) as case:
        asked = SearchRequest(sha256=Row("query", ()).sha256, near=True, **more)  # type: ignore[arg-type]
        return search_cases([case], asked)


def found(result: SearchResult) -> list[tuple[str, int]]:
    assert result.near is not None
    return [(hit.place.path, hit.distance) for hit in result.near.hits]


def test_near_duplicates_are_found_at_every_place_past_the_scene_filter(case: Path) -> None:
    result = ask(case, k=2)
    assert found(result) == [
        ("again/query.png", 0),
        ("query.png", 0),
        ("copy.png", 4),
        ("deep/copy.png", 4),
        ("alike.png", 31),
    ]
    assert "copy.png" not in {hit.place.path for hit in result.hits}
    assert [hit.identical for hit in result.near.hits] == [True, True, False, False, False]


def test_the_ranking_is_the_one_without_near_duplicates(case: Path) -> None:
    result = ask(case, k=5)
    with Case.open(case, read_only=True) as opened:
        plain = opened.search(sha256=Row("query", ()).sha256, k=5)
    assert [(h.rank, h.distance, h.place) for h in result.hits] == [
        (h.rank, h.distance, h.place) for h in plain.hits
    ]
    assert plain.near is None
    assert {hit.pdq_distance for hit in plain.hits} == {None}


def test_hits_say_their_pdq_distance_where_both_hashes_are_worth_comparing(case: Path) -> None:
    result = ask(case, k=6, scene="bedroom")
    assert {hit.place.path: hit.pdq_distance for hit in result.hits} == {
        "query.png": 0,
        "again/query.png": 0,
        "far.png": 32,
        "poor.png": None,
        "alike.png": 31,
        "unhashed.png": None,
    }


def test_turned_copies_are_found_only_when_orientations_are_asked_for(case: Path) -> None:
    assert "turned.png" not in dict(found(ask(case)))
    result = ask(case, turned=True)
    assert dict(found(result))["turned.png"] == 0
    turned = {hit.place.path: hit.orientation for hit in result.near.hits}
    assert turned["turned.png"] == "mirrored left to right"
    assert turned["copy.png"] == "as it is"


def test_the_answer_counts_what_could_be_compared(case: Path) -> None:
    near = ask(case).near
    assert near is not None
    assert (near.pictures, near.hashed, near.poor, near.quality) == (7, 6, 1, 90)


def test_a_query_of_too_little_structure_is_compared_with_nothing(case: Path) -> None:
    near = ask(case, "poor").near
    assert near is not None
    assert (near.quality, near.hits) == (49, ())


def test_a_database_without_hashes_says_so_and_is_searched(tmp_path: Path) -> None:
    path = write_case(tmp_path / "plain.db", [Row("query", at_angle(0)), Row("b", at_angle(9))])
    result = ask(path, scene="off")
    assert result.near is not None
    assert (result.near.hashed, result.near.pictures, result.near.hits) == (0, 2, ())
    assert len(result.hits) == 2


def test_a_query_without_a_stored_hash_must_be_given_as_a_picture(case: Path) -> None:
    with pytest.raises(InvalidSetting, match="no database holds a PDQ hash"):
        ask(case, "unhashed")


def test_the_other_filters_hold_for_near_duplicates_too(case: Path) -> None:
    assert found(ask(case, under="deep")) == [("deep/copy.png", 4)]


def test_orientations_go_with_near_duplicates_only(case: Path) -> None:
    with Case.open(case, read_only=True) as opened, pytest.raises(InvalidSetting, match="near"):
        opened.search(sha256=Row("query", ()).sha256, turned=True)


def test_a_damaged_hash_is_named(case: Path) -> None:
    with closing(sqlite3.connect(case)) as connection, connection:
        connection.execute("UPDATE pdq SET hash = x'00' WHERE quality = 49")
    with pytest.raises(DatabaseDamaged, match="1 of 6 stored PDQ hashes"):
        ask(case)


def test_the_hash_of_a_picture_that_is_not_stored_is_made_and_its_own_place_left_out(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.settings import IndexOptions

    monkeypatch.setattr(pdq, "require", lambda: None)
    monkeypatch.setattr(pdq, "hash_pixels", lambda pixels: PdqHash(ORIGINAL, 99))
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    for number in range(3):
        draw_picture(number, (64, 48)).save(evidence / f"{number}.png")
    new = tmp_path / "new.png"
    draw_picture(9, (64, 48)).save(new)
    options = IndexOptions(models=(str(tiny_model),), scenes=None, pdq=True)
    with Case.open(tmp_path / "case.db") as case:
        case.index(evidence, options=options)
        assert len(case.search(new, near=True).near.hits) == 3
        assert len(case.search(evidence / "0.png", near=True).near.hits) == 2


def test_stacks_are_identical_files_first_and_then_near_ones_with_every_place(case: Path) -> None:
    with Case.open(case, read_only=True) as opened:
        plain = opened.duplicates()
        both = opened.duplicates(near=True)
    assert [stack.kind for stack in plain.stacks] == ["identical", "identical"]
    assert [len(stack.members[0].image.places) for stack in plain.stacks] == [2, 2]
    # "far" is 32 bits from the query, but fewer from another: a chain.
    near = [stack for stack in both.stacks if stack.kind == "near"]
    assert len(near) == 1
    names = {member.image.places[0].path for member in near[0].members}
    assert {"again/query.png", "copy.png", "alike.png"} <= names
    assert "poor.png" not in names
    assert near[0].members[0].distance == 0
    assert near[0].spread >= 31
    assert (both.pictures, both.hashed, both.poor) == (7, 6, 1)


def test_while_stacks_are_looked_for_others_can_write_and_what_goes_meanwhile_is_left_out(
    case: Path,
) -> None:
    def meanwhile(event: Event) -> None:
        if isinstance(event, Started):
            # It waits for nobody: a transaction that were open would be one.
            with closing(sqlite3.connect(case, timeout=0, isolation_level=None)) as connection:
                connection.execute(
                    "UPDATE file SET gone_run_id = (SELECT min(id) FROM run)"
                    " WHERE path IN ('alike.png', 'again/query.png')"
                )

    with Case.open(case, read_only=True) as opened:
        found = opened.duplicates(near=True, on_event=meanwhile)
    places = [
        [place.path for member in stack.members for place in member.image.places]
        for stack in found.stacks
    ]
    assert places[0] == ["copy.png", "deep/copy.png"]
    assert {"query.png", "copy.png"} <= set(places[1])
    assert "alike.png" not in places[1]
    assert len(places) == 2


def test_stacks_of_an_unknown_source_are_refused(case: Path) -> None:
    with Case.open(case, read_only=True) as opened, pytest.raises(UnknownSource):
        opened.duplicates(sources=["elsewhere"])


def test_stacks_can_join_turned_copies(case: Path) -> None:
    with Case.open(case, read_only=True) as opened:
        found = opened.duplicates(near=True, turned=True)
    near = [stack for stack in found.stacks if stack.kind == "near"]
    turned = {m.image.places[0].path: m.orientation for stack in near for m in stack.members}
    assert turned["turned.png"] == "mirrored left to right"


def test_what_was_judged_irrelevant_does_not_come_back_as_near(case: Path) -> None:
    with Case.open(case) as opened:
        opened.judge(Row("query", ()).sha256, Row("copy", ()).sha256, "irrelevant")
    assert "copy.png" not in dict(found(ask(case)))
    assert "copy.png" in dict(found(request(case, include_irrelevant=True)))


def test_what_was_judged_irrelevant_in_one_database_is_near_in_none(
    case: Path, tmp_path: Path
) -> None:
    other = write_case(tmp_path / "other.db", [Row("copy", at_angle(60), STREET, ["there.png"])])
    give_hashes(other, {"there.png": (flipped(ORIGINAL, 4), 80)})
    asked = SearchRequest(sha256=Row("query", ()).sha256, near=True)

    def both() -> set[str]:
        with Case.open(case, read_only=True) as one, Case.open(other, read_only=True) as two:
            return set(dict(found(search_cases([one, two], asked))))

    assert {"copy.png", "there.png"} <= both()
    with Case.open(case) as opened:
        opened.judge(Row("query", ()).sha256, Row("copy", ()).sha256, "irrelevant")
    assert both().isdisjoint({"copy.png", "there.png"})


def test_only_tagged_pictures_are_near_where_a_tag_is_asked_for(case: Path) -> None:
    with Case.open(case) as opened:
        opened.decide(Row("alike", ()).sha256, "tag", "exhibit")
    assert found(request(case, tags=("exhibit",))) == [("alike.png", 31)]
