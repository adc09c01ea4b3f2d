"""Looking through a case: who meets a choice, in which order, page by page, and the counts beside it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from image_similarity import Case
from image_similarity.errors import InvalidSetting, UnknownScene, UnknownSource
from image_similarity.store.engine import run_plain
from image_similarity.values import Choice, Counted, Listing, Location, Order
from tests.postgres import copy_of
from tests.search.synthetic import Place, Row, at_angle, write_case

DATES = {
    "p1": "2024-03-01T10:00:00",
    "p2": "2024-03-01T09:00:00+02:00",
    "p3": "2023-12-31T23:59:59",
    "p4": "sometime in May",
}


@pytest.fixture(scope="module")
def made(shared_location: Location) -> Location:
    return write(shared_location)


@pytest.fixture(scope="module")
def made_in_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("made") / "case.db")


def write(path: Place) -> Place:
    """Six contents: p1 to p5 on a disk, p6 on a phone; p3 is gone, p4 lies at two places and on the phone as well.

    p1 and p2 are bedrooms, p3 and p6 streets; p5 was decoded in part.
    """
    rows = [
        Row("p1", at_angle(1), [("bedroom", 0.8), ("street", 0.1)]),
        Row("p2", at_angle(2), [("bedroom", 0.6)], paths=["deep/p2.png"]),
        Row("p3", at_angle(3), [("street", 0.9)]),
        Row("p4", at_angle(4), paths=["p4.png", "deep/p4.png"]),
        Row("p5", at_angle(5), partial=True),
    ]
    write_case(path, rows)
    write_case(path, [Row("p6", at_angle(6), [("street", 0.7)])], source="phone")
    with Case.open(path) as case:
        run(case, "UPDATE file SET gone_run_id = 1 WHERE path = 'p3.png'")
        run(
            case,
            "INSERT INTO file (source_id, path, image_id, size, mtime_ns, settled, first_run_id)"
            " SELECT 2, 'a/p4.png', image_id, size, mtime_ns, settled, 2 FROM file WHERE path = 'p4.png'",
        )
        for name, told in DATES.items():
            exif = json.dumps({"date_time_original": told})
            run(case, "UPDATE image SET exif = ? WHERE sha256 = ?", exif, sha256(name))
    return path


@pytest.fixture
def case(made: Location, tmp_path: Path) -> Iterator[Case]:
    """The case above, in a copy."""
    with Case.open(copy_of(made, tmp_path)) as case:
        yield case


@pytest.fixture(scope="module")
def read(made: Location, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """The case above, for reading only."""
    with Case.open(copy_of(made, tmp_path_factory.mktemp("read")), read_only=True) as case:
        yield case


def run(case: Case, statement: str, *values: Any) -> None:
    with case._catalog.writing() as connection:
        run_plain(connection, statement, values)


def sha256(name: str) -> str:
    return Row(name, ()).sha256


def names(listing: Listing) -> list[str]:
    known = {sha256(f"p{number}"): f"p{number}" for number in range(30)}
    return [known[each.sha256] for each in listing.items]


def counted(found: tuple[Counted, ...]) -> dict[str, int]:
    return {each.name: each.count for each in found}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), "p2 p4 p1 p5 p6"),
        (Choice(include_gone=True), "p2 p4 p1 p3 p5 p6"),
        (Choice(scenes=("bedroom",)), "p2 p1"),
        (Choice(scenes=("street",)), "p6"),
        (Choice(scenes=("bedroom", "street")), "p2 p1 p6"),
        (Choice(sources=("phone",)), "p4 p6"),
        (Choice(sources=("phone",), under="a"), "p4"),
        (Choice(under="/deep/"), "p2 p4"),
        (Choice(under="dee"), ""),
        (Choice(taken_from="2024"), "p2 p1"),
        (Choice(taken_to="2023", include_gone=True), "p3"),
        (Choice(taken_from="2023-12-31", taken_to="2024-03-01", include_gone=True), "p2 p1 p3"),
        (Choice(taken_from="2023", taken_to="2024-02", include_gone=True), "p3"),
        (Choice(taken=("undated",)), "p4 p5 p6"),
        (Choice(taken=("2024-03", "undated")), "p2 p4 p1 p5 p6"),
        (Choice(taken=("2023",), include_gone=True), "p3"),
        (Choice(scenes=("bedroom",), under="deep", taken=("2024",)), "p2"),
    ],
)
def test_a_choice_is_met_by_what_meets_every_part_of_it(
    read: Case, choice: Choice, expected: str
) -> None:
    found = read.browse(choice)
    assert names(found) == expected.split()
    assert found.total == len(found.items)
    assert read.facets(choice).total == found.total


def test_tags_categories_and_hash_lists_choose_as_soon_as_they_are_there(
    case: Case, tmp_path: Path
) -> None:
    assert case.browse(Choice(tags=("seen",))).total == 0
    case.decide(sha256("p1"), "tag", "seen")
    case.decide(sha256("p6"), "tag", "seen")
    case.decide(sha256("p6"), "category", "B")
    hashes = tmp_path / "known.txt"
    hashes.write_text(f"{sha256('p1')}\n{sha256('p5')}\n")
    case.import_hash_list(hashes, name="operating systems")
    assert names(case.browse(Choice(tags=("seen",)))) == ["p1", "p6"]
    assert names(case.browse(Choice(categories=("B",)))) == ["p6"]
    assert names(case.browse(Choice(known="only"))) == ["p1", "p5"]
    assert names(case.browse(Choice(known="hide"))) == ["p2", "p4", "p6"]
    assert names(case.browse(Choice(lists=("operating systems",), tags=("seen",)))) == ["p1"]
    found = case.facets()
    assert counted(found.lists) == {"operating systems": 2}
    assert counted(found.tags) == {"seen": 2}
    assert counted(found.categories) == {"B": 1}
    (decision,) = [each for each in case.decisions(tag="seen") if each.sha256 == sha256("p1")]
    case.withdraw(decision.name)
    assert counted(case.facets().tags) == {"seen": 1}
    case.remove_hash_list("operating systems")
    assert case.browse(Choice(known="hide")).total == 5


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("path", "p2 p4 p1 p3 p5 p6"),
        ("taken", "p3 p2 p1 p4 p5 p6"),
        ("added", "p6 p5 p4 p3 p2 p1"),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 4, 6])
def test_pages_give_everything_once_and_in_order(
    read: Case, order: Order, expected: str, limit: int
) -> None:
    found, after = [], None
    while True:
        page = read.browse(Choice(include_gone=True), order=order, after=after, limit=limit)
        assert page.total == 6
        found += names(page)
        after = page.following
        if after is None:
            break
    assert found == expected.split()


@pytest.mark.parametrize("order", ["path", "taken", "added"])
def test_pages_go_on_where_they_stopped_while_a_run_adds_and_closes(
    case: Case, order: Order
) -> None:
    whole = names(case.browse(order=order))
    first = case.browse(order=order, limit=1)
    write_case(case.path, [Row("p7", at_angle(7), paths=["0.png"]), Row("p8", at_angle(8))])
    # The picture that the cursor names is gone by now.
    last = first.items[-1]
    run(case, "UPDATE file SET gone_run_id = 1 WHERE path = ?", last.path)
    rest = case.browse(order=order, after=first.following)
    found = [*names(first), *names(rest)]
    assert [each for each in found if each in whole] == whole
    assert len(found) == len(set(found))


def test_a_picture_that_gets_another_place_before_the_cursor_is_not_missed(case: Case) -> None:
    first = case.browse(limit=2)
    run(
        case,
        "INSERT INTO file (source_id, path, image_id, size, mtime_ns, settled, first_run_id)"
        " SELECT 1, 'a/' || path, image_id, size, mtime_ns, settled, 1 FROM file WHERE path IN ('p1.png', 'p5.png')",
    )
    # The first has both places now, the second moved.
    run(case, "UPDATE file SET gone_run_id = 1 WHERE path = 'p5.png'")
    rest = case.browse(after=first.following)
    assert [*names(first), *names(rest)] == ["p2", "p4", "p1", "p6", "p5"]
    assert rest.items[-1].path == "a/p5.png"


def test_a_picture_is_shown_at_a_place_that_meets_the_choice(read: Case) -> None:
    (anywhere,) = read.browse(Choice(taken=("undated",)), limit=1).items
    assert (anywhere.source, anywhere.path, anywhere.places) == ("disk", "deep/p4.png", 3)
    (there,) = read.browse(Choice(sources=("phone",)), limit=1).items
    assert (there.source, there.path) == ("phone", "a/p4.png")


def test_a_picture_that_is_gone_from_one_place_is_shown_at_another(case: Case) -> None:
    run(case, "UPDATE file SET gone_run_id = 1 WHERE path = 'deep/p4.png'")
    found = {each.sha256: each for each in case.browse(Choice(include_gone=True)).items}
    assert found[sha256("p4")].path == "p4.png"
    assert not found[sha256("p4")].gone
    assert found[sha256("p4")].places == 2, "one of three is gone"
    assert (found[sha256("p3")].gone, found[sha256("p3")].places) == (True, 1)


def test_a_place_that_a_picture_left_is_marked_though_it_lies_at_another(case: Case) -> None:
    run(case, "UPDATE file SET gone_run_id = 1 WHERE path = 'a/p4.png'")
    choice = Choice(sources=("phone",), under="a", include_gone=True)
    (left,) = case.browse(choice).items
    assert (left.path, left.gone, left.places) == ("a/p4.png", True, 2)


def test_what_is_listed_says_what_is_known_of_a_picture(case: Case) -> None:
    case.judge(sha256("p2"), sha256("p1"), "relevant")
    found = {each.sha256: each for each in case.browse().items}
    one, five = found[sha256("p1")], found[sha256("p5")]
    assert one.scene is not None
    assert (one.scene.name, one.scene.probability) == ("bedroom", 0.8)
    assert (one.taken, one.verdicts, one.partial) == ("2024-03-01T10:00:00", ("relevant",), False)
    assert (five.scene, five.taken, five.verdicts, five.partial) == (None, "", (), True)


def test_a_facet_is_not_narrowed_by_its_own_choice_but_by_all_others(read: Case) -> None:
    found = read.facets(Choice(scenes=("bedroom",)))
    assert counted(found.scenes) == {"bedroom": 2, "street": 1}
    assert counted(found.sources) == {"disk": 2}
    assert counted(found.taken) == {"2024-03": 2}
    found = read.facets(Choice(sources=("phone",)))
    assert counted(found.sources) == {"disk": 4, "phone": 2}
    assert counted(found.scenes) == {"street": 1}
    assert [each.name for each in found.taken] == ["undated"]


def test_the_counts_of_all_facets_are_those_of_what_they_would_list(read: Case) -> None:
    everything = Choice(include_gone=True)
    found = read.facets(everything)
    for each in found.scenes:
        assert read.browse(replace(everything, scenes=(each.name,))).total == each.count
    for each in found.sources:
        assert read.browse(replace(everything, sources=(each.name,))).total == each.count
    for each in found.taken:
        assert read.browse(replace(everything, taken=(each.name,))).total == each.count
    assert sum(each.count for each in found.taken) == found.total == 6
    assert [each.name for each in found.taken] == ["2023-12", "2024-03", "undated"]


@pytest.mark.parametrize("told", ["2024-13-05", "2024-00-00", "2024-02-31", "0000-01-01"])
def test_a_date_that_there_is_not_is_offered_by_no_facet(case: Case, told: str) -> None:
    exif = json.dumps({"date_time_original": f"{told}T10:00:00"})
    run(case, "UPDATE image SET exif = ? WHERE sha256 = ?", exif, sha256("p1"))
    for each in case.facets().taken:
        assert case.browse(Choice(taken=(each.name,))).total == each.count
    assert sha256("p1") in {each.sha256 for each in case.browse(Choice(taken=("undated",))).items}


def test_many_months_are_counted_by_years(case: Case) -> None:
    rows = [Row(f"q{number}", at_angle(number)) for number in range(30)]
    write_case(case.path, rows)
    for number, row in enumerate(rows):
        told = json.dumps({"date_time_original": f"{2000 + number % 3}-{1 + number % 12:02d}-05"})
        run(case, "UPDATE image SET exif = ? WHERE sha256 = ?", told, row.sha256)
    for number in range(24):
        told = json.dumps({"date_time_original": f"20{10 + number}-01-01T00:00:00"})
        row = rows[number]
        run(case, "UPDATE image SET exif = ? WHERE sha256 = ?", told, row.sha256)
    with Case.open(case.path, read_only=True) as other:
        taken = counted(other.facets().taken)
    assert all(len(name) == 4 or name == "undated" for name in taken)
    assert taken["2024"] == 3


def test_what_is_not_known_is_refused_but_for_tags(read: Case) -> None:
    with pytest.raises(UnknownSource):
        read.browse(Choice(sources=("dsik",)))
    with pytest.raises(UnknownScene):
        read.facets(Choice(scenes=("bedrom",)))
    with pytest.raises(InvalidSetting):
        read.browse(Choice(taken_from="2024-13"))
    with pytest.raises(InvalidSetting):
        read.browse(Choice(taken=("yesterday",)))
    assert read.browse(Choice(tags=("none",))).total == 0


@pytest.mark.parametrize(
    "after", ["", "nothing", "added-1", "path-1", "path-9-999", "path-9--1", "path-9-1 "]
)
def test_a_cursor_that_no_page_gave_is_refused(read: Case, after: str) -> None:
    with pytest.raises(InvalidSetting):
        read.browse(after=after)


def test_an_empty_case_has_nothing_to_list(location: Location) -> None:
    with Case.open(location) as case:
        assert case.browse() == Listing((), None, 0)
        assert case.facets(Choice(known="hide", taken=("undated",))).total == 0


HOSTILE = [
    "UPDATE image SET exif = 'no JSON' WHERE id = 1",
    "UPDATE image SET exif = x'ff00' WHERE id = 1",
    "UPDATE image SET exif = '[1]' WHERE id = 1",
    "UPDATE image SET exif = '{\"date_time_original\": [1, 2]}' WHERE id = 1",
    'UPDATE image SET exif = \'{"date_time_original": "2024-19-39T99:99:99"}\' WHERE id = 1',
    "UPDATE image SET exif = CAST(x'7b22646174655f74696d655f6f726967696e616c223a22323032342d30332d3031fffe227d'"
    " AS TEXT) WHERE id = 1",
    "UPDATE image SET sha1 = 7, md5 = x'00', width = 'wide', partial = 'yes' WHERE id = 1",
    "UPDATE source SET name = x'fffe' WHERE id = 2",
    "UPDATE source SET name = 5 WHERE id = 2",
    "UPDATE scene SET name = x'ff' WHERE id = 1",
    "UPDATE scene SET name = 3 WHERE id = 1",
    "UPDATE image_scene SET probability = 'often' WHERE image_id = 1",
    "UPDATE image_scene SET scene_id = 'none' WHERE image_id = 1 AND rank = 1",
    "UPDATE image_scene SET scene_id = 99 WHERE image_id = 1 AND rank = 1",
    "UPDATE file SET image_id = 'none' WHERE id = 1",
    "UPDATE file SET image_id = 99 WHERE id = 1",
    "UPDATE file SET path = x'ff' WHERE id = 1",
    "UPDATE mark SET value = x'ff' WHERE id = 1",
    "UPDATE mark SET image_id = 'none' WHERE id = 1",
    "UPDATE hash_entry SET list_id = 'none'",
    "UPDATE run SET account = x'ff', status = 'running'",
]


@pytest.mark.parametrize("statement", HOSTILE)
def test_a_row_of_the_wrong_kind_stops_no_list_and_no_count(
    made_in_file: Path, tmp_path: Path, statement: str
) -> None:
    path = copy_of(made_in_file, tmp_path)
    with Case.open(path) as case:
        case.decide(sha256("p1"), "tag", "seen")
        hashes = tmp_path / "known.txt"
        hashes.write_text(f"{sha256('p1')}\n")
        case.import_hash_list(hashes, name="list")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(statement)
    with Case.open(path, read_only=True) as damaged:
        for order in ("path", "taken", "added"):
            found = damaged.browse(Choice(include_gone=True), order=order)
            assert found.total == len(found.items) >= 5
        assert damaged.facets(Choice(include_gone=True)).total == found.total
