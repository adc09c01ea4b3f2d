"""Searches over packed codes answer as brute force does: warm and cold, filtered, in batches, after changes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from image_similarity.case import Case
from image_similarity.errors import DatabaseDamaged, UnknownImage
from image_similarity.indexing import packing
from image_similarity.ranking import exhaustive
from image_similarity.search import Searcher, SearchRequest, shelf, sight
from image_similarity.store import packs
from image_similarity.store.catalog import Catalog
from image_similarity.values import Location, SearchResult
from tests.search.synthetic import SCENES, Row, model_info, write_case

DIM = 16
COUNT = 230


def rows_of(count: int, seed: int, start: int = 0) -> list[Row]:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((8, DIM))
    rows = []
    for number in range(start, start + count):
        vector = centres[number % 8] + 0.3 * random.standard_normal(DIM)
        labels = [(SCENES[number % 8 % 4], 0.7), (SCENES[(number + 1) % 4], 0.2)]
        rows.append(
            Row(
                f"p{number:03d}",
                (vector / np.linalg.norm(vector)).tolist(),
                [] if number % 11 == 0 else labels,
                partial=number % 13 == 0,
            )
        )
    return rows


@pytest.fixture(scope="module")
def written(shared_location: Location) -> tuple[Location, list[Row]]:
    """A case whose first ranges are packed, 64 contents each, and whose last are loose."""
    before = packs.LARGEST_RANGE
    packs.LARGEST_RANGE = 64
    try:
        rows = rows_of(COUNT, 1)
        path = write_case(shared_location, rows, info=model_info(dim=DIM))
        catalog = Catalog.open(path, read_only=False)
        assert packing.pack(catalog) == 6, "three of vectors, three of labels"
        catalog.close()
    finally:
        packs.LARGEST_RANGE = before
    return path, rows


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "LARGEST_RANGE", 64)
    monkeypatch.setattr(sight, "FEWEST_FOR_BATCH", 10)
    monkeypatch.setattr(sight, "CANDIDATES", 40)


def passes(row: Row, query: Row, scene: str) -> bool:
    if scene == "off" or not row.labels or row is query:
        return True
    own = {"hard": query.labels[:1], "auto": query.labels}.get(scene, [(scene, 1.0)])
    labels = row.labels[:1] if scene == "hard" else row.labels
    return bool({name for name, _ in labels} & {name for name, _ in own})


def expected(rows: list[Row], query: Row, scene: str, k: int) -> tuple[list[str], int, int]:
    """The names of the nearest, how many are hidden, and how many of these are nearer than the last."""
    wanted = np.asarray(query.vector, dtype=np.float16)
    far = {
        row.name: exhaustive.exact_distance(np.asarray(row.vector, dtype=np.float16), wanted)
        for row in rows
    }
    open_ = [row for row in rows if passes(row, query, scene)]
    hidden = [row for row in rows if not passes(row, query, scene)]
    best = sorted(open_, key=lambda row: (far[row.name], row.sha256))[:k]
    border = far[best[-1].name] if len(best) == k else np.inf
    return [row.name for row in best], len(hidden), sum(far[row.name] < border for row in hidden)


def said(result: SearchResult) -> tuple[list[str], int, int]:
    names = [hit.place.path.removesuffix(".png") for hit in result.hits]
    return names, result.filter.hidden, result.filter.hidden_nearer


@pytest.mark.parametrize("scene", ["off", "auto", "hard", "street"])
@pytest.mark.parametrize("k", [1, 7, 300])
def test_cold_and_warm_answers_are_those_of_brute_force(
    written: tuple[Location, list[Row]], scene: str, k: int
) -> None:
    path, rows = written
    with Case.open(path, read_only=True) as case:
        for query in (rows[3], rows[5], rows[200], rows[1]):
            result = case.search(sha256=query.sha256, scene=scene, k=k)
            assert said(result) == expected(rows, query, scene, k)
            assert result.search == "bounded"


@pytest.mark.parametrize("scene", ["off", "auto", "hard", "street"])
def test_many_queries_at_once_get_the_answers_of_one_by_one(
    written: tuple[Location, list[Row]], scene: str
) -> None:
    path, rows = written
    catalog = Catalog.open(path, read_only=True)
    searcher = Searcher([catalog], SearchRequest(scene=(scene,), k=9))
    asked = [row for row in rows[:60] if row.labels]
    queries = [searcher.query_of_stored(row.sha256) for row in asked]
    together = searcher.answer_queries(queries)
    assert [said(each) for each in together] == [expected(rows, row, scene, 9) for row in asked]
    assert together == [searcher.answer_queries([query])[0] for query in queries]
    catalog.close()


def test_what_is_written_later_is_found_by_a_case_that_is_open(location: Location) -> None:
    rows = rows_of(100, 2)
    path = write_case(location, rows, info=model_info(dim=DIM))
    reader = Catalog.open(path, read_only=True)
    writer = Catalog.open(path, read_only=False)
    searcher = Searcher([reader], SearchRequest(scene=("off",), k=5))
    for _ in range(3):
        assert said(searcher.answer_stored(rows[3].sha256)) == expected(rows, rows[3], "off", 5)
    assert packing.pack(writer) == 2
    more = rows_of(80, 3, start=100)
    write_case(path, more, info=model_info(dim=DIM))
    packing.pack(writer)
    for _ in range(3):
        result = searcher.answer_stored(rows[3].sha256)
        assert said(result) == expected(rows + more, rows[3], "off", 5)
        assert result.search == "bounded"
    reader.close()
    writer.close()


def test_codes_too_large_to_keep_are_read_for_each_query(
    written: tuple[Location, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "KEPT_BYTES", 100)
    path, rows = written
    with Case.open(path, read_only=True) as case:
        for query in (rows[3], rows[200], rows[1]):
            result = case.search(sha256=query.sha256, k=7)
            assert said(result) == expected(rows, query, "auto", 7)


def test_partial_pictures_are_left_out_of_packs_too(written: tuple[Location, list[Row]]) -> None:
    path, rows = written
    whole = [row for row in rows if not row.partial]
    with Case.open(path, read_only=True) as case:
        for _ in range(2):
            result = case.search(sha256=rows[3].sha256, k=7, include_partial=False)
            assert said(result) == expected(whole, rows[3], "auto", 7)
            assert result.filter.searched + result.filter.hidden == len(whole)


def test_an_approximate_search_says_so_and_how_often_it_was_right(
    written: tuple[Location, list[Row]],
) -> None:
    path, rows = written
    with Case.open(path, read_only=True) as case:
        result = case.search(sha256=rows[3].sha256, scene="off", k=5, approximate=True)
        exact = case.search(sha256=rows[3].sha256, scene="off", k=5)
    assert result.search == "approximate"
    assert result.recall is not None
    assert (result.recall.queries, result.recall.at) == (50, 10)
    assert result.recall.total == 500
    assert 0.8 < result.recall.share <= 1
    assert exact.recall is None
    truth = {hit.place.path: hit.distance for hit in exact.hits}
    found = {hit.place.path: hit.distance for hit in result.hits}
    assert len(truth.keys() & found.keys()) >= 4
    assert all(truth[path] == found[path] for path in truth.keys() & found.keys())


def test_an_approximate_search_filters_first(written: tuple[Location, list[Row]]) -> None:
    path, rows = written
    with Case.open(path, read_only=True) as case:
        result = case.search(sha256=rows[3].sha256, scene="hard", k=300, approximate=True)
    names, hidden, _ = expected(rows, rows[3], "hard", 300)
    assert result.filter.hidden == hidden
    found = {hit.place.path.removesuffix(".png") for hit in result.hits}
    assert found <= set(names)
    assert len(found) >= min(len(names), sight.CANDIDATES)


def test_few_pictures_are_compared_exactly_whatever_was_asked(tmp_path: Path) -> None:
    rows = rows_of(20, 4)
    path = write_case(tmp_path / "c.db", rows, info=model_info(dim=DIM))
    with Case.open(path, read_only=True) as case:
        result = case.search(sha256=rows[3].sha256, scene="off", approximate=True)
    assert (result.search, result.recall) == ("exhaustive", None)


def test_labels_of_another_model_are_matched_by_content(location: Location) -> None:
    """The scene model may have labelled other contents than the embedding model has embedded."""
    first = rows_of(150, 5)
    path = write_case(location, first, info=model_info(dim=DIM))
    catalog = Catalog.open(path, read_only=False)
    packing.pack(catalog)
    with catalog.writing() as connection:
        connection.exec_driver_sql("DELETE FROM scene_pack WHERE number = 0")
        connection.exec_driver_sql("DELETE FROM image_scene WHERE image_id <= 30")
    catalog.close()
    unlabelled = [
        Row(row.name, row.vector, [], partial=row.partial) if number < 30 else row
        for number, row in enumerate(first)
    ]
    with Case.open(path, read_only=True) as case:
        for query in (unlabelled[40], unlabelled[80]):
            for scene in ("auto", "hard", "street"):
                result = case.search(sha256=query.sha256, k=7, scene=scene)
                assert said(result) == expected(unlabelled, query, scene, 7)


def test_rows_and_image_ids_lead_to_each_other(written: tuple[Location, list[Row]]) -> None:
    catalog = Catalog.open(written[0], read_only=True)
    own = shelf.Shelf(1, DIM, None)
    with catalog.reading() as connection:
        own.open(connection, None)
    rows = np.arange(len(own))
    assert 0 < own.packed < len(own) == COUNT
    assert own.rows_of(np.array(own.ids(rows))).tolist() == rows.tolist()
    catalog.close()


@pytest.mark.parametrize("at", [3, 98], ids=["packed", "loose"])
@pytest.mark.parametrize(
    "stored", [b"", bytes(2 * DIM - 2), "text"], ids=["empty", "short", "text"]
)
def test_a_damaged_vector_of_the_query_is_named(tmp_path: Path, at: int, stored: object) -> None:
    rows = rows_of(100, 2)
    path = write_case(tmp_path / "c.db", rows, info=model_info(dim=DIM))
    with Case.open(path) as case:
        case.pack()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE embedding SET vector = ? WHERE image_id = ?", (stored, at + 1))
    with (
        Case.open(path, read_only=True) as case,
        pytest.raises(DatabaseDamaged, match=f"of {rows[at].sha256} is not of 16 numbers"),
    ):
        case.search(sha256=rows[at].sha256)


def test_a_stored_query_without_labels_is_told_what_it_lacks(
    written: tuple[Location, list[Row]],
) -> None:
    path, rows = written
    with Case.open(path, read_only=True) as case:
        with pytest.raises(UnknownImage, match="no database holds a vector and scene labels of"):
            case.search(sha256=rows[0].sha256)
        assert len(case.search(sha256=rows[0].sha256, scene="off").hits) == 5


@pytest.mark.parametrize("furthest", [None, 0.4])
def test_a_scan_keeps_no_more_than_can_matter(
    written: tuple[Location, list[Row]], furthest: float | None
) -> None:
    path, rows = written
    catalog = Catalog.open(path, read_only=True)
    with catalog.reading() as connection:
        opened = shelf.Shelf(1, DIM, 1)
        query = np.asarray(rows[3].vector, dtype=np.float16)
        opened.open(connection, query)
        everything = np.ones(COUNT, dtype=np.bool_)
        seen = sight.scan(
            connection, opened, query, everything, everything, sight.Wanted(6, furthest)
        )
    catalog.close()
    assert seen.searched == COUNT
    assert seen.rows is not None
    assert len(seen.bounds) == len(seen.rows) < COUNT // 4
