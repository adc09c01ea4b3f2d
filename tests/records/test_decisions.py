"""Decisions: whose they are, that they stand for contents, wait for writers, and are in the chain as they are told."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.case import Case
from image_similarity.errors import (
    DatabaseLocked,
    ImageUnreadable,
    InvalidSetting,
    UnknownImage,
    UsageError,
)
from image_similarity.records.decisions import LONGEST, checked
from image_similarity.reports.text import visible
from image_similarity.store import catalog as stored
from image_similarity.store import engine, runs
from image_similarity.store.catalog import Catalog
from image_similarity.values import Decision
from tests.conftest import draw_picture
from tests.indexing.desk import Desk
from tests.search.synthetic import Row, at_angle, write_case


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write_case(
        tmp_path / "case.db",
        [
            Row("one", at_angle(0), paths=["a/one.png", "b/copy.png"]),
            Row("two", at_angle(20)),
            Row("colon", at_angle(40), paths=["disk:two.png"]),
        ],
    )


def sha(name: str) -> str:
    return Row(name, ()).sha256


def said(decisions: list[Decision] | tuple[Decision, ...]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.value, each.sha256) for each in decisions]


def entries(database: Path) -> list[dict[str, Any]]:
    with Case.open(database, read_only=True) as case:
        return [json.loads(entry.detail) for entry in case.audit() if entry.action == "mark"]


@pytest.mark.parametrize(
    "named",
    [
        "a/one.png",
        "b/copy.png",
        "disk:a/one.png",
        "/evidence/disk/a/one.png",
        sha("one"),
        sha("one").upper(),
        sha("one")[:8],
    ],
)
def test_a_picture_is_named_in_every_way_in_which_hits_print_it(database: Path, named: str) -> None:
    with Case.open(database) as case:
        made = case.decide(named, "tag", "sofa")
        assert made is not None
        assert (made.name, made.sha256) == ("m1", sha("one"))
        assert said(case.image(sha("one")).decisions) == [("tag", "sofa", sha("one"))]


def test_a_path_with_a_colon_goes_before_a_source(database: Path) -> None:
    with Case.open(database) as case:
        made = case.decide("disk:two.png", "tag", "sofa")
        assert made is not None
        assert made.sha256 == sha("colon")


def test_a_name_that_fits_several_pictures_is_refused(database: Path) -> None:
    write_case(database, [Row("other", at_angle(3), paths=["two.png"])], source="phone")
    with Case.open(database) as case:
        with pytest.raises(UnknownImage, match=r"several pictures at two\.png"):
            case.decide("two.png", "tag", "sofa")
        made = case.decide("phone:two.png", "tag", "sofa")
        assert made is not None
        assert made.sha256 == sha("other")
        for named in ("none.png", "phone:one.png", "nul\0.png", "0" * 64, "abcdef"):
            with pytest.raises(UnknownImage):
                case.decide(named, "tag", "sofa")


def test_a_content_has_many_tags_and_notes_and_one_category(database: Path) -> None:
    with Case.open(database) as case:
        for kind, value in (
            ("tag", "b"),
            ("tag", "a"),
            ("note", "seen in the hall"),
            ("category", "2"),
            ("category", "1"),
        ):
            assert case.decide(sha("one"), kind, value) is not None  # type: ignore[arg-type]
        image = case.image(sha("one"))
        assert (image.tags, image.category) == (("a", "b"), "1")
        assert len(image.decisions) == 4
        everything = case.decisions(withdrawn=True)
        assert [(each.value, each.withdrawn_at is None) for each in everything] == [
            ("b", True),
            ("a", True),
            ("seen in the hall", True),
            ("2", False),
            ("1", True),
        ]


def test_what_stands_is_not_said_twice(database: Path) -> None:
    with Case.open(database) as case:
        assert case.decide(sha("one"), "tag", "café") is not None
        assert case.decide(sha("one"), "tag", " cafe\u0301 ") is None, "the same letters"
        assert case.judge(sha("two"), sha("one"), "relevant") is not None
        assert case.judge(sha("two"), sha("one"), "relevant") is None
        assert len(case.audit()) == len(entries(database)) + len(
            [entry for entry in case.audit() if entry.action != "mark"]
        )
    assert len(entries(database)) == 2


def test_what_was_withdrawn_may_be_said_again(database: Path) -> None:
    with Case.open(database) as case:
        case.decide(sha("one"), "tag", "sofa")
        (gone,) = case.withdraw("M1")
        assert gone.name == "m1"
        assert gone.withdrawn_at == case.decisions(withdrawn=True)[0].withdrawn_at is not None
        assert case.image(sha("one")).tags == ()
        again = case.decide(sha("one"), "tag", "sofa")
        assert again is not None
        assert again.name == "m2"


def test_decisions_are_withdrawn_all_or_none(database: Path) -> None:
    with Case.open(database) as case:
        case.decide(sha("one"), "tag", "a")
        case.decide(sha("one"), "tag", "b")
        before = entries(database)
        for names in (["m1", "m9"], ["m1", ""], ["m2", "m"], ["m1", "x1"], ["m1", "m1.0"]):
            with pytest.raises(UsageError):
                case.withdraw(*names)
        assert case.image(sha("one")).tags == ("a", "b")
        assert entries(database) == before
        assert len(case.withdraw("m1", "m2", "m1")) == 2
        with pytest.raises(UsageError, match="'m1' was withdrawn at"):
            case.withdraw("m1")


def test_a_query_need_not_be_stored(database: Path, tmp_path: Path) -> None:
    query = tmp_path / "query.png"
    draw_picture(5, (40, 30)).save(query)
    with Case.open(database) as case:
        made = case.judge(query, "two.png", "irrelevant")
        assert made is not None
        assert len(made.query_sha256) == 64
        assert case.judge("ab" * 32, "two.png", "irrelevant") is not None
        (tmp_path / "letter.txt").write_text("Dear Sir")
        with pytest.raises(ImageUnreadable, match="no picture"):
            case.judge(tmp_path / "letter.txt", "two.png", "relevant")
        with pytest.raises(UnknownImage):
            case.judge(tmp_path / "none.png", "two.png", "relevant")


def test_wrong_kinds_and_verdicts_are_refused(database: Path) -> None:
    with Case.open(database) as case:
        with pytest.raises(InvalidSetting, match="'verdict' cannot be said"):
            case.decide(sha("one"), "verdict", "relevant")  # type: ignore[arg-type]
        with pytest.raises(InvalidSetting, match="no verdict is called 'maybe'"):
            case.judge(sha("one"), sha("two"), "maybe")  # type: ignore[arg-type]


@given(st.text(max_size=3000), st.sampled_from(sorted(LONGEST)))
def test_what_is_stored_is_one_line_that_cannot_deceive(text: str, kind: str) -> None:
    try:
        told = checked(text, f"a {kind}", LONGEST[kind])
    except InvalidSetting as error:
        assert visible(error.message) == error.message
        return
    assert told
    assert told == told.strip() == visible(told)
    assert len(told) <= LONGEST[kind]
    assert told.encode()


def test_each_decision_is_an_entry_of_the_chain_with_its_time_and_actor(database: Path) -> None:
    with Case.open(database) as case:
        tag = case.decide(sha("one"), "tag", "sofa")
        verdict = case.judge(sha("two"), sha("one"), "irrelevant")
        case.withdraw("p1")
        chain = [entry for entry in case.audit() if entry.action == "mark"]
    assert tag is not None
    assert verdict is not None
    assert [(e.at, e.actor) for e in chain[:2]] == [(d.at, d.actor) for d in (tag, verdict)]
    pair = {
        "kind": "verdict",
        "value": "irrelevant",
        "sha256": sha("one"),
        "query_sha256": sha("two"),
    }
    assert entries(database) == [
        {"did": "set", "kind": "tag", "value": "sofa", "sha256": sha("one")},
        {"did": "set", **pair},
        {"did": "withdrawn", **pair},
    ]


def test_a_decision_without_its_entry_is_not_stored(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no")

    with Case.open(database) as case:
        case.decide(sha("one"), "category", "1")
        monkeypatch.setattr("image_similarity.store.marks._insert", refuse)
        with pytest.raises(OSError, match="no"):
            case.decide(sha("one"), "category", "2")
        assert case.image(sha("one")).category == "1"
    assert len(entries(database)) == 1


def test_decisions_are_made_while_a_run_is_open(database: Path) -> None:
    catalog = Catalog.open(database, read_only=False)
    with catalog.writing() as connection:
        source = stored.find_source(connection, "disk")
        assert source is not None
        runs.begin(connection, runs.RunStart("index", source[0], {"models": []}, {}))
    with Case.open(database) as case:
        assert case.decide(sha("one"), "tag", "sofa") is not None
        assert case.judge(sha("two"), sha("one"), "irrelevant") is not None
    catalog.close()


def test_a_decision_waits_for_a_batch_that_is_being_written(database: Path) -> None:
    catalog, made = Catalog.open(database, read_only=False), list[Decision | None]()

    def decide() -> None:
        with Case.open(database) as case:
            made.append(case.decide(sha("one"), "tag", "sofa"))

    with catalog.writing():
        other = threading.Thread(target=decide)
        other.start()
        other.join(timeout=0.3)
        assert other.is_alive()
    other.join(timeout=30)
    catalog.close()
    assert len(made) == 1


def test_a_decision_that_waits_too_long_says_so(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 50)
    catalog = Catalog.open(database, read_only=False)
    with (
        catalog.writing(),
        Case.open(database) as case,
        pytest.raises(DatabaseLocked, match="locked by another process"),
    ):
        case.decide(sha("one"), "tag", "sofa")
    catalog.close()


# -- checked against the chain ------------------------------------------------------------------------------------


@pytest.fixture
def decided(database: Path, tmp_path: Path) -> Path:
    (tmp_path / "NSRL.csv").write_text(f"sha256,category\n{sha('one')},1\n{'ab' * 32},\n")
    (tmp_path / "other.csv").write_text(f"sha256\n{sha('two')}\n")
    with Case.open(database) as case:
        case.decide(sha("one"), "tag", "sofa")
        case.decide(sha("one"), "category", "1")
        case.decide(sha("one"), "category", "2")
        case.judge(sha("two"), sha("one"), "irrelevant")
        case.decide(sha("one"), "tag", "again")
        case.withdraw("m4")
        case.decide(sha("one"), "tag", "again")
        for name in ("NSRL", "other"):
            case.import_hash_list(tmp_path / f"{name}.csv")
        case.remove_hash_list("other")
    return database


def told(database: Path) -> list[str]:
    """What the check of the chain finds in these tables."""
    tables = ("mark", "pair_mark", "hash_list")
    with Case.open(database, read_only=True) as case:
        found = case.verify_audit().findings
    return [each.message for each in found if each.table in tables]


def test_decisions_and_lists_agree_with_the_chain(decided: Path) -> None:
    assert told(decided) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE mark SET value = 'bed' WHERE id = 1", ["the tag 'sofa' of", "the tag 'bed' of"]),
        ("DELETE FROM mark WHERE id = 1", ["the tag 'sofa' of"]),
        ("UPDATE mark SET withdrawn_at = at WHERE id = 1", ["the tag 'sofa' of"]),
        ("UPDATE pair_mark SET verdict = 'relevant'", ["verdict 'irrelevant'", "verdict 'relevant'"]),
        ("UPDATE hash_entry SET category = '2' WHERE category = '1'", ["hash list 'NSRL' is not"]),
        ("DELETE FROM hash_entry WHERE category = '1'", ["hash list 'NSRL' is not"]),
        ("DELETE FROM hash_entry; DELETE FROM hash_list", ["a hash list is not there"]),
    ],
)  # fmt: skip
def test_a_row_that_was_changed_behind_the_chain_is_named(
    decided: Path, change: str, said: list[str]
) -> None:
    with closing(sqlite3.connect(decided)) as connection:
        connection.executescript(change)
        connection.commit()
    found = told(decided)
    for words in said:
        assert any(words in message for message in found), found


def test_decisions_and_lists_of_a_merged_database_agree_with_its_chain(
    tmp_path: Path, tiny_model: Path
) -> None:
    ours, theirs = Desk(tmp_path / "ours", tiny_model), Desk(tmp_path / "theirs", tiny_model)
    ours.put_many(2)
    theirs.put_many(2, start=1)
    for desk, source in ((ours, "disk"), (theirs, "phone")):
        desk.index(source=source)
    both, new = "picture-001.png", "picture-002.png"
    with Case.open(theirs.database) as case:
        (tmp_path / "set.txt").write_text(case.images_at(new)[0].sha256)
        case.import_hash_list(tmp_path / "set.txt")
        for picture, kind, value in (
            (both, "tag", "sofa"),
            (both, "category", "3"),
            (new, "tag", "their own"),
        ):
            case.decide(picture, kind, value)  # type: ignore[arg-type]
        case.judge(new, both, "relevant")
        query = case.images_at(new)[0].sha256
    with Case.open(ours.database) as case:
        case.decide(both, "tag", "sofa")
        case.decide(both, "category", "2")
        case.judge(query, both, "irrelevant")
        case.merge(theirs.database)
        (image,) = case.images_at(both)
        assert (image.tags, image.category) == (("sofa",), "2"), "ours stays"
        assert case.images_at(new)[0].tags == ("their own",)
        assert [each.name for each in case.hash_lists()] == ["set"]
        assert case.verify_audit().findings == ()
    with closing(sqlite3.connect(ours.database)) as connection:
        connection.execute("UPDATE mark SET value = 'ours' WHERE value = 'their own'")
        connection.commit()
    (found,) = told(ours.database)
    assert "the tag 'ours' of" in found


def test_the_same_is_said_of_several_contents_at_once_or_of_none(database: Path) -> None:
    with Case.open(database) as case:
        case.decide(sha("two"), "tag", "sofa")
        before = entries(database)
        with pytest.raises(UnknownImage, match="does not hold 1 of the pictures, such as 0000"):
            case.decide_all([sha("one"), "0" * 64], "tag", "sofa")
        with pytest.raises(InvalidSetting):
            case.decide_all([sha("one")], "tag", "")
        assert entries(database) == before
        made = case.decide_all([sha("one"), sha("two"), sha("one")], "tag", " sofa ")
        assert said(made) == [("tag", "sofa", sha("one"))], "the other one had it"
        assert len(entries(database)) == len(before) + 1


def test_the_latest_decisions_come_in_pages_and_none_is_passed_over(database: Path) -> None:
    with Case.open(database) as case:
        for number in range(5):
            case.decide(sha("one"), "note", f"note {number}")
        case.judge(sha("two"), sha("one"), "relevant")
        case.judge(sha("two"), sha("colon"), "irrelevant")
        case.withdraw("m2")
        pages, before = [], ""
        while True:
            page, total = case.latest_decisions(withdrawn=True, limit=2, before=before)
            assert total == 7
            if not page:
                break
            pages += [each.name for each in page]
            before = page[-1].name
        assert sorted(pages) == ["m1", "m2", "m3", "m4", "m5", "p1", "p2"]
        times = {each.name: each.at for each in case.decisions(withdrawn=True)}
        assert [times[name] for name in pages] == sorted(times.values(), reverse=True)
        with pytest.raises(InvalidSetting):
            case.latest_decisions(before="m99")


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"sha256": sha("one")}, ["m1", "m2", "p1"]),
        ({"kind": "verdict"}, ["p1", "p2"]),
        ({"kind": "tag", "value": " sofa"}, ["m1", "m3"]),
        ({"query_sha256": sha("two")}, ["p1"]),
        ({"tag": "sofa"}, ["m1", "m2", "m3", "p1", "p2"]),
        ({"tag": "none"}, []),
        ({"withdrawn": True}, ["m1", "m2", "m3", "m4", "p1", "p2"]),
        ({}, ["m1", "m2", "m3", "p1", "p2"]),
    ],
)
def test_decisions_are_found_by_picture_kind_value_query_and_tag(
    database: Path, asked: dict[str, Any], names: list[str]
) -> None:
    with Case.open(database) as case:
        case.decide(sha("one"), "tag", "sofa")
        case.decide(sha("one"), "note", "in the hall")
        case.decide(sha("colon"), "tag", "sofa")
        case.decide(sha("two"), "tag", "door")
        case.judge(sha("two"), sha("one"), "relevant")
        case.judge("e" * 64, sha("colon"), "relevant")
        case.withdraw("m4")
        found, total = case.latest_decisions(**asked)
    assert sorted(each.name for each in found) == names
    assert total == len(names)
