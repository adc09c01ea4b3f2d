"""What hash lists and decisions take out of a search: out of every way to search, and it is said how much."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_similarity.case import Case, search_cases
from image_similarity.errors import InvalidSetting
from image_similarity.indexing import packing
from image_similarity.search import Searcher, SearchRequest, sight
from image_similarity.store import hash_lists, packs
from image_similarity.store.catalog import Catalog
from image_similarity.values import Digests, Excluded, Hit, KnownHash, SearchResult
from tests.search.synthetic import Row, at_angle, model_info, write_case
from tests.search.test_packed import DIM, rows_of

BEDROOM, STREET = [("bedroom", 0.9)], [("street", 0.9)]


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    return write_case(
        tmp_path / "rooms.db",
        [
            Row("query", at_angle(0), BEDROOM, ["query.png", "copy.png"]),
            Row("near-street", at_angle(5), STREET),
            Row("bedroom", at_angle(10), BEDROOM),
            Row("kitchen", at_angle(20), [("kitchen", 0.9)]),
            Row("attic", at_angle(30), BEDROOM),
            Row("far-street", at_angle(90), STREET),
        ],
    )


def sha(name: str) -> str:
    return Row(name, ()).sha256


def names(result: SearchResult) -> list[str]:
    return [hit.place.path.removesuffix(".png") for hit in result.hits]


def ask(path: Path, name: str = "query", **request: Any) -> SearchResult:
    with Case.open(path, read_only=True) as case:
        return search_cases([case], SearchRequest(sha256=sha(name), **{"k": 10, **request}))


def know(path: Path, *known: str, name: str = "NSRL") -> None:
    listed = path.with_name(f"{name}.txt")
    listed.write_text("\n".join(map(sha, known)))
    with Case.open(path) as case:
        case.import_hash_list(listed)


def judge(path: Path, *hits: str, query: str = "query", verdict: Any = "irrelevant") -> None:
    with Case.open(path) as case:
        for hit in hits:
            case.judge(sha(query), sha(hit), verdict)


def test_known_pictures_are_marked_with_their_lists(rooms: Path) -> None:
    assert ask(rooms).excluded == Excluded()
    know(rooms, "attic", "kitchen")
    result = ask(rooms, scene=("off",))
    assert {name: hit.known for name, hit in zip(names(result), result.hits, strict=True)} == {
        **dict.fromkeys(["query", "copy", "near-street", "bedroom", "far-street"], ()),
        "kitchen": (KnownHash("NSRL", "sha256"),),
        "attic": (KnownHash("NSRL", "sha256"),),
    }
    assert result.excluded == Excluded(lists=("NSRL",))


def test_hidden_known_pictures_leave_their_places_to_others(rooms: Path) -> None:
    know(rooms, "bedroom", "far-street")
    result = ask(rooms, scene=("off",), known="hide", k=4)
    assert names(result) == ["copy", "query", "near-street", "kitchen"]
    assert result.excluded == Excluded("hide", ("NSRL",), hidden_known=2)
    assert result.filter.searched == 4


def test_only_known_pictures_are_searched_if_asked(rooms: Path) -> None:
    know(rooms, "attic", "kitchen")
    result = ask(rooms, known="only", scene=("off",))
    assert names(result) == ["kitchen", "attic"]
    assert (result.filter.searched, result.excluded.hidden_known) == (2, 0)


def test_only_known_pictures_of_no_list_is_refused(rooms: Path) -> None:
    with pytest.raises(InvalidSetting, match="there is no hash list"):
        ask(rooms, known="only")
    assert len(ask(rooms, known="hide", scene=("off",)).hits) == 7
    with pytest.raises(InvalidSetting, match="treated as 'off'"):
        ask(rooms, known="off")


def test_a_known_picture_that_is_the_query_is_hidden_too_and_that_is_said(rooms: Path) -> None:
    know(rooms, "query")
    result = ask(rooms, known="hide", scene=("off",))
    assert not {"query", "copy"} & set(names(result))
    assert result.excluded.hidden_known == 1
    assert result.excluded.query_known == (KnownHash("NSRL", "sha256"),)


def test_an_irrelevant_hit_does_not_come_back_for_its_query(rooms: Path) -> None:
    judge(rooms, "bedroom", "kitchen")
    result = ask(rooms, scene=("off",), k=4)
    assert names(result) == ["copy", "query", "near-street", "attic"]
    assert result.excluded == Excluded(hidden_irrelevant=2)
    assert "bedroom" in names(ask(rooms, "attic", scene=("off",))), "another query finds it"


def test_an_irrelevant_hit_comes_back_when_asked_for_or_withdrawn(rooms: Path) -> None:
    judge(rooms, "bedroom")
    judge(rooms, "attic", verdict="relevant")
    result = ask(rooms, include_irrelevant=True)
    said = {name: hit.verdict for name, hit in zip(names(result), result.hits, strict=True)}
    assert said == {"query": "", "copy": "", "bedroom": "irrelevant", "attic": "relevant"}
    assert result.excluded == Excluded()
    judge(rooms, "bedroom", verdict="relevant")
    assert "bedroom" in names(ask(rooms))
    with Case.open(rooms) as case:
        case.judge(sha("query"), sha("bedroom"), "irrelevant")
        case.withdraw(*(each.name for each in case.decisions()))
    assert [hit.verdict for hit in ask(rooms).hits] == [""] * 4


def test_what_was_taken_out_is_neither_searched_nor_hidden_by_the_scene_filter(rooms: Path) -> None:
    before = ask(rooms, k=3).filter
    assert (before.searched, before.hidden, before.hidden_nearer) == (3, 3, 1)
    judge(rooms, "near-street")
    after = ask(rooms, k=3)
    assert (after.filter.searched, after.filter.hidden, after.filter.hidden_nearer) == (3, 2, 0)
    know(rooms, "bedroom", "far-street")
    after = ask(rooms, k=3, known="hide")
    assert (after.filter.searched, after.filter.hidden) == (2, 1)
    assert (after.excluded.hidden_known, after.excluded.hidden_irrelevant) == (2, 1)


def test_a_picture_that_is_known_and_irrelevant_is_counted_once(rooms: Path) -> None:
    know(rooms, "bedroom")
    judge(rooms, "bedroom", "attic")
    found = ask(rooms, known="hide").excluded
    assert (found.hidden_known, found.hidden_irrelevant) == (1, 1)


def test_only_pictures_that_other_filters_leave_are_counted(rooms: Path) -> None:
    write_case(rooms, [Row("phone", at_angle(7), BEDROOM)], source="phone")
    know(rooms, "bedroom", "phone")
    judge(rooms, "attic", "phone")
    found = ask(rooms, sources=("phone",), known="hide").excluded
    assert (found.hidden_known, found.hidden_irrelevant) == (1, 0)
    assert ask(rooms, sources=("phone",)).excluded.hidden_irrelevant == 1


def test_only_pictures_with_one_of_the_tags_are_searched(rooms: Path) -> None:
    with Case.open(rooms) as case:
        case.decide(sha("attic"), "tag", "room 3")
        case.decide(sha("attic"), "tag", "seen")
        case.decide(sha("kitchen"), "tag", "room 3")
    assert names(ask(rooms, scene=("off",), tags=("room 3",))) == ["kitchen", "attic"]
    result = ask(rooms, scene=("off",), tags=("seen", "nothing"))
    assert names(result) == ["attic"]
    assert (result.hits[0].tags, result.excluded.tags) == (("room 3", "seen"), ("seen", "nothing"))
    assert names(ask(rooms, tags=("nothing",))) == []


def test_a_verdict_holds_for_the_content_in_every_database(rooms: Path, tmp_path: Path) -> None:
    other = write_case(tmp_path / "other.db", [Row("bedroom", at_angle(10), BEDROOM)])
    judge(rooms, "bedroom")
    with Case.open(rooms, read_only=True) as one, Case.open(other, read_only=True) as two:
        result = search_cases([two, one], SearchRequest(sha256=sha("query"), k=10))
    assert "bedroom" not in names(result)
    assert result.excluded.hidden_irrelevant == 2


def test_lists_and_decisions_of_another_process_are_seen_by_an_open_case(rooms: Path) -> None:
    with Case.open(rooms, read_only=True) as case:

        def found() -> list[str]:
            request = SearchRequest(sha256=sha("query"), k=9, scene=("off",), known="hide")
            return names(search_cases([case], request))

        assert {"bedroom", "attic", "kitchen"} <= set(found())
        know(rooms, "bedroom")
        assert "bedroom" not in found()
        know(rooms, "attic", name="more")
        assert "attic" not in found()
        judge(rooms, "kitchen")
        assert "kitchen" not in found()
        with Case.open(rooms) as writer:
            writer.remove_hash_list("NSRL")
        assert "bedroom" in found()
        # The same name, another list.
        know(rooms, "near-street")
        assert "near-street" not in found()


def test_contents_of_a_later_run_are_known_from_lists_imported_before(rooms: Path) -> None:
    know(rooms, "later")
    with Case.open(rooms, read_only=True) as case:
        request = SearchRequest(sha256=sha("query"), k=9, scene=("off",), known="hide")
        assert search_cases([case], request).excluded.hidden_known == 0
        write_case(rooms, [Row("later", at_angle(1), BEDROOM)], source="later")
        assert search_cases([case], request).excluded.hidden_known == 1


def test_a_search_without_lists_looks_up_no_hash(
    rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> Any:
        raise AssertionError("looked up")

    monkeypatch.setattr(hash_lists, "_entries", never)
    monkeypatch.setattr(hash_lists, "known_ids", never)
    assert ask(rooms, known="hide").hits


# -- every way to search -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """A case, partly packed, where every third content is known and each query has irrelevant ones."""
    rows = rows_of(230, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs, "LARGEST_RANGE", 64)
        path = write_case(tmp_path_factory.mktemp("many") / "c.db", rows, info=model_info(dim=DIM))
        catalog = Catalog.open(path, read_only=False)
        packing.pack(catalog)
        catalog.close()
    know(path, *(row.name for row in rows[::3]))
    for number in (1, 2, 4):
        irrelevant = [row.name for row in rows if taken_out(row, rows[number], rows)]
        judge(path, *irrelevant, query=rows[number].name)
    return path, rows


def taken_out(row: Row, query: Row, rows: list[Row]) -> bool:
    """Whether a content is judged irrelevant: the query's likest ones, every second of these."""
    vectors = np.asarray([each.vector for each in rows])
    order = np.argsort(-vectors @ np.asarray(query.vector))
    return row in [rows[at] for at in order[1:12:2]]


def reduced(folder: Path, rows: list[Row], query: Row, known: str) -> Path:
    """A case without what would be taken out."""
    path = folder / f"{query.name}-{known}.db"
    if path.exists():
        return path
    left = [
        row
        for number, row in enumerate(rows)
        if not taken_out(row, query, rows)
        and (known == "mark" or (number % 3 == 0) == (known == "only"))
    ]
    return write_case(path, left, info=model_info(dim=DIM))


WAYS: dict[str, Callable[[Searcher, list[Row]], list[SearchResult]]] = {
    "one by one": lambda searcher, asked: [searcher.answer_stored(row.sha256) for row in asked],
    "together": lambda searcher, asked: searcher.answer_queries(
        [searcher.query_of_stored(row.sha256) for row in asked]
    ),
}


@pytest.mark.parametrize("known", ["mark", "hide", "only"])
@pytest.mark.parametrize("scene", ["off", "auto", "hard"])
@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize("approximate", [False, True])
def test_the_answer_is_that_of_a_database_without_those_pictures(
    many: tuple[Path, list[Row]],
    monkeypatch: pytest.MonkeyPatch,
    known: Any,
    scene: str,
    way: str,
    approximate: bool,
) -> None:
    monkeypatch.setattr(packs, "LARGEST_RANGE", 64)
    monkeypatch.setattr(sight, "FEWEST_FOR_BATCH", 10)
    # So many that an approximate search misses nothing.
    monkeypatch.setattr(sight, "CANDIDATES", 180 if approximate else 40)
    path, rows = many
    asked = [rows[1], rows[2], rows[4]]
    catalog = Catalog.open(path, read_only=True)
    request = SearchRequest(k=7, scene=(scene,), known=known, approximate=approximate)
    searcher = Searcher([catalog], request)
    results = WAYS[way](searcher, asked)
    vectors = [searcher.query_of_stored(row.sha256) for row in asked]
    catalog.close()
    for row, query, result in zip(asked, vectors, results, strict=True):
        small = Catalog.open(reduced(path.parent, rows, row, known), read_only=True)
        (expected,) = Searcher([small], replace(request, known="mark")).answer_queries([query])
        small.close()
        assert shown(result) == shown(expected)
        if not approximate:
            assert result.filter == expected.filter
        counted = {
            "mark": rows,
            "only": rows[::3],
            "hide": [one for number, one in enumerate(rows) if number % 3],
        }[known]
        assert result.excluded == Excluded(
            known=known,
            lists=("NSRL",),
            hidden_known=len(rows[::3]) if known == "hide" else 0,
            hidden_irrelevant=sum(taken_out(one, row, rows) for one in counted),
        )


def shown(result: SearchResult) -> list[tuple[float, str]]:
    def of(hit: Hit) -> tuple[float, str]:
        return hit.distance, hit.image.sha256

    return [of(hit) for hit in result.hits]


def test_an_index_leaves_them_out_too(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    rows = rows_of(1200, 3)
    path = write_case(tmp_path / "c.db", rows, info=model_info(dim=DIM))
    with Case.open(path) as case:
        case.build_ann(tmp_path / "c.ann")
        plain = case.search(sha256=rows[1].sha256, k=20, scene="off")
        for hit in plain.hits[1:8]:
            case.judge(rows[1].sha256, hit.image.sha256, "irrelevant")
        exact = case.search(sha256=rows[1].sha256, k=10, scene="off")
        indexed = case.search(sha256=rows[1].sha256, k=10, scene="off", index=tmp_path / "c.ann")
    assert (exact.search, indexed.search) == ("exhaustive", "approximate")
    assert shown(exact) == shown(plain)[:1] + shown(plain)[8:17]
    assert shown(indexed) == shown(exact)
    assert indexed.excluded.hidden_irrelevant == 7


def test_a_query_that_is_not_stored_is_known_by_its_md5(rooms: Path) -> None:
    listed = rooms.with_name("weak.txt")
    listed.write_text(hashlib.md5(b"query", usedforsecurity=False).hexdigest())
    with Case.open(rooms) as case:
        case.import_hash_list(listed)
    catalog = Catalog.open(rooms, read_only=True)
    searcher = Searcher([catalog], SearchRequest())
    query = searcher.query_of_stored(sha("attic"))
    md5 = hashlib.md5(b"query", usedforsecurity=False).hexdigest()
    other = replace(query, sha256="ab" * 32, digests=Digests("ab" * 32, "", md5))
    (result,) = searcher.answer_queries([other])
    catalog.close()
    assert result.excluded.query_known == (KnownHash("weak", "md5"),)


def test_of_queries_that_are_fused_what_is_irrelevant_for_one_is_for_all(rooms: Path) -> None:
    judge(rooms, "bedroom")
    judge(rooms, "near-street", query="attic")
    catalog = Catalog.open(rooms, read_only=True)
    searcher = Searcher([catalog], SearchRequest(k=10, scene=("off",)))
    queries = [searcher.query_of_stored(sha(name)) for name in ("query", "attic")]
    fused = searcher.answer_queries(queries, as_one=True)
    alone = searcher.answer_queries(queries)
    catalog.close()
    assert [{"bedroom", "near-street"} & set(names(each)) for each in fused] == [set(), set()]
    assert [each.excluded.hidden_irrelevant for each in fused] == [2, 2]
    assert [each.excluded.hidden_irrelevant for each in alone] == [1, 1]


@pytest.fixture
def dated(tmp_path: Path) -> Path:
    return write_case(
        tmp_path / "dated.db",
        [
            Row("query", at_angle(0), BEDROOM, taken="2024-03-01T10:00:00"),
            Row("april", at_angle(5), BEDROOM, taken="2024-04-30T10:00:00"),
            Row("last-year", at_angle(10), BEDROOM, taken="2023-04-01T10:00:00"),
            Row("undated", at_angle(20), BEDROOM),
            Row("undated-street", at_angle(25), STREET),
        ],
    )


def test_only_pictures_taken_then_are_searched_and_those_without_a_date_are_counted(
    dated: Path,
) -> None:
    result = ask(dated, scene=("off",), taken_from="2024", taken_to="2024-04")
    assert names(result) == ["query", "april"]
    assert result.excluded == Excluded(taken_from="2024", taken_to="2024-04", hidden_undated=2)
    assert result.filter.searched == 2


def test_either_end_of_the_dates_may_be_open(dated: Path) -> None:
    assert names(ask(dated, taken_to="2023-12-31")) == ["last-year"]
    assert names(ask(dated, taken_from="2024-04")) == ["april"]


def test_what_is_no_date_is_refused(dated: Path) -> None:
    with pytest.raises(InvalidSetting, match="the last date '2024-04-31' is no date"):
        ask(dated, taken_to="2024-04-31")


def test_another_range_of_dates_is_not_answered_from_the_one_before(dated: Path) -> None:
    with Case.open(dated, read_only=True) as case:
        asked = [
            search_cases([case], SearchRequest(sha256=sha("query"), taken_from=first))
            for first in ("2024-04", "2023", "2024-04")
        ]
    assert [names(each) for each in asked] == [
        ["april"],
        ["query", "april", "last-year"],
        ["april"],
    ]
