"""Which contents count, found by what is left out where that is less; and when a database is another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection

from image_similarity.store import batch, pack_writing, packs, runs, standing
from image_similarity.store.catalog import Catalog
from image_similarity.store.gallery import PlaceFilter
from tests.search.synthetic import Row, at_angle, write_case


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Six contents, by id: 1 and 2 live, 3 gone, 4 gone at one of two places, 5 partial, 6 of another source."""
    path = tmp_path / "case.db"
    rows = [Row(f"p{number}", at_angle(number)) for number in range(1, 6)]
    rows[1] = Row("p2", at_angle(2), paths=["deep/p2.png"])
    rows[3] = Row("p4", at_angle(4), paths=["p4.png", "other.png"])
    rows[4] = Row("p5", at_angle(5), partial=True)
    write_case(path, rows)
    write_case(path, [Row("p6", at_angle(6), paths=["deep/p6.png"])], source="phone")
    catalog = Catalog.open(path, read_only=False)
    with catalog.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE file SET gone_run_id = 1 WHERE path IN ('p3.png', 'other.png')"
        )
    yield catalog
    catalog.close()


@pytest.mark.parametrize(
    ("filter_", "included", "expected"),
    [
        (PlaceFilter(), False, [1, 2, 4, 5, 6]),
        (PlaceFilter(include_gone=True), False, [1, 2, 3, 4, 5, 6]),
        (PlaceFilter(include_partial=False), False, [1, 2, 4, 6]),
        (PlaceFilter(include_gone=True, include_partial=False), False, [1, 2, 3, 4, 6]),
        (PlaceFilter(sources=("disk",)), True, [1, 2, 4, 5]),
        (PlaceFilter(sources=("disk",), include_gone=True), True, [1, 2, 3, 4, 5]),
        (PlaceFilter(sources=("disk", "phone"), include_partial=False), True, [1, 2, 4, 6]),
        (PlaceFilter(under="deep"), True, [2, 6]),
        (PlaceFilter(sources=("phone",), under="deep"), True, [6]),
        (PlaceFilter(under="nowhere"), True, []),
        (PlaceFilter(under="/"), False, [1, 2, 4, 5, 6]),
    ],
)
def test_those_count_that_have_a_place_that_counts(
    catalog: Catalog, filter_: PlaceFilter, included: bool, expected: list[int]
) -> None:
    with catalog.reading() as connection:
        found = standing.standing(connection, filter_)
    assert found.included == included
    ids = np.arange(1, 7)
    assert ids[found.mask(ids)].tolist() == expected
    assert found.mask(np.empty(0, np.int64)).tolist() == []


def test_the_few_that_are_left_out_are_found_by_their_own_indexes(catalog: Catalog) -> None:
    statements: list[str] = []
    with catalog.reading() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_trace_callback(statements.append)
        standing.standing(connection, PlaceFilter(include_partial=False))
        raw.set_trace_callback(None)
        plans = [plan(connection, text) for text in statements if text.startswith("SELECT")]
    assert len(plans) == 2
    assert all("SCAN" not in plan.replace("SCALAR", "") for plan in plans), plans


def plan(connection: Connection, statement: str) -> str:
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
    return "\n".join(row[3] for row in rows)


def test_the_state_changes_with_every_write_and_stays_without_one(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "LARGEST_RANGE", 2)

    def now() -> standing.State:
        with catalog.reading() as connection:
            return standing.state(connection, 1)

    states = [now()]
    assert now() == states[0]
    with catalog.writing() as connection:
        run = runs.begin(connection, runs.RunStart("index", 1, {}, {}))
    states.append(now())
    with catalog.writing() as connection:
        batch.mark_gone(connection, run, [1])
        runs.save_account(connection, run, {"gone": 1})
    states.append(now())
    with catalog.writing() as connection:
        runs.save_account(connection, run, {"gone": 1, "seen": 1}, "done")
    states.append(now())
    with catalog.writing() as connection:
        assert pack_writing.build_missing_scenes(connection, 1) == 0
    assert now() == states[-1]
    assert len(set(states)) == len(states)


def test_the_extent_is_of_one_models_vectors(catalog: Catalog) -> None:
    with catalog.reading() as connection:
        assert standing.extent(connection, 1) == standing.Extent(6, Row("p6", ()).sha256)
        assert standing.extent(connection, 2) == standing.Extent(0, "")


def test_the_state_of_an_empty_database_is_one_too(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "empty.db", read_only=False)
    with catalog.reading() as connection:
        assert standing.state(connection, 1) == standing.State(0, "", 0, 0)
    catalog.close()


def test_below_a_folder_is_no_more_and_no_less_than_that(tmp_path: Path) -> None:
    paths = [
        "a/b",
        "a/\u00e4/c",
        "a/\U0010ffff",
        "a0/b",
        "a",
        "a-/b",
        "a.b",
        "aa/b",
        "A/b",
        "b/a/c",
        "a/",
    ]
    path = tmp_path / "case.db"
    write_case(path, [Row(str(n), at_angle(n), paths=[at]) for n, at in enumerate(paths)])
    catalog = Catalog.open(path, read_only=True)
    for under in ("a", "a/", "/a"):
        with catalog.reading() as connection:
            found = standing.standing(connection, PlaceFilter(under=under))
        assert [paths[id_ - 1] for id_ in found.image_ids] == ["a/b", "a/ä/c", "a/\U0010ffff", "a/"]
    catalog.close()
