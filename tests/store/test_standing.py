"""Which contents count, found by what is left out where that is less; and when a database is another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, event

from image_similarity.store import batch, pack_writing, packs, runs, standing
from image_similarity.store.catalog import Catalog
from image_similarity.store.engine import is_sqlite
from image_similarity.store.gallery import PlaceFilter
from image_similarity.values import Location, ServerUrl
from tests.postgres import copy_of
from tests.search.synthetic import Row, at_angle, write_case


@pytest.fixture(scope="module")
def made(shared_location: Location) -> Location:
    """Six contents, by id: 1 and 2 live, 3 gone, 4 gone at one of two places, 5 partial, 6 of another source."""
    path = shared_location
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
    catalog.close()
    return path


@pytest.fixture
def catalog(made: Location, tmp_path: Path) -> Iterator[Catalog]:
    """The case above, in a copy."""
    catalog = Catalog.open(copy_of(made, tmp_path), read_only=False)
    yield catalog
    catalog.close()


@pytest.fixture(scope="module")
def read(made: Location, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """The case above, for reading only."""
    catalog = Catalog.open(copy_of(made, tmp_path_factory.mktemp("read")), read_only=True)
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
    read: Catalog, filter_: PlaceFilter, included: bool, expected: list[int]
) -> None:
    with read.reading() as connection:
        found = standing.standing(connection, filter_)
    assert found.included == included
    ids = np.arange(1, 7)
    assert ids[found.mask(ids)].tolist() == expected
    assert found.mask(np.empty(0, np.int64)).tolist() == []


def test_what_a_filter_asks_for_is_found_by_indexes(read: Catalog) -> None:
    asked: list[tuple[str, Any]] = []

    def ask(connection: Connection, cursor: Any, statement: str, values: Any, *more: Any) -> None:
        asked.append((statement, values))

    with read.reading() as connection:
        event.listen(connection, "before_cursor_execute", ask)
        standing.standing(connection, PlaceFilter(include_partial=False))
        standing.standing(connection, PlaceFilter(under="deep"))
        event.remove(connection, "before_cursor_execute", ask)
        if not is_sqlite(connection):
            # A table of six rows is read as a whole else, whatever indexes it has.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plans = [plan(connection, *each) for each in asked]
    assert len(plans) == 3
    for each in plans:
        assert "SCAN file" not in each.replace("SCAN source", ""), each
        assert "SCAN image" not in each, each
        assert "Seq Scan" not in each, each


def plan(connection: Connection, statement: str, values: Any) -> str:
    words = "EXPLAIN QUERY PLAN" if is_sqlite(connection) else "EXPLAIN"
    rows = connection.exec_driver_sql(f"{words} {statement}", values)
    return "\n".join(row[-1] for row in rows)


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


def test_the_state_changes_with_every_write_of_an_older_run_that_is_open_beside_the_newest(
    postgres: ServerUrl,
) -> None:
    write_case(postgres, [Row("a", at_angle(1))])
    write_case(postgres, [Row("b", at_angle(2))], source="phone")
    catalog = Catalog.open(postgres, read_only=False)
    with catalog.writing() as connection:
        older, newer = (
            runs.begin(connection, runs.RunStart("index", source, {}, {})) for source in (1, 2)
        )
    states = []
    # The same account as before, but done: a run that ends may have closed places with its last write.
    steps = [
        (newer, {}, None), (older, {"gone": 1}, None), (older, {"gone": 1}, "done"), (newer, {}, "done"),
    ]  # fmt: skip
    for run, account, status in steps:
        with catalog.writing() as connection:
            runs.save_account(connection, run, account, *filter(None, [status]))
        with catalog.reading() as connection:
            states.append(standing.state(connection, 1))
    catalog.close()
    assert len(set(states)) == len(states)


def test_the_extent_is_of_one_models_vectors(read: Catalog) -> None:
    with read.reading() as connection:
        assert standing.extent(connection, 1) == standing.Extent(6, Row("p6", ()).sha256)
        assert standing.extent(connection, 2) == standing.Extent(0, "")


def test_the_state_of_an_empty_database_is_one_too(location: Location) -> None:
    catalog = Catalog.open(location, read_only=False)
    with catalog.reading() as connection:
        assert standing.state(connection, 1) == standing.State(0, "", "", 0, 0)
    catalog.close()


def test_below_a_folder_is_no_more_and_no_less_than_that(location: Location) -> None:
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
    write_case(location, [Row(str(n), at_angle(n), paths=[at]) for n, at in enumerate(paths)])
    catalog = Catalog.open(location, read_only=True)
    for under in ("a", "a/", "/a"):
        with catalog.reading() as connection:
            found = standing.standing(connection, PlaceFilter(under=under))
        assert [paths[id_ - 1] for id_ in found.image_ids] == ["a/b", "a/ä/c", "a/\U0010ffff", "a/"]
    catalog.close()
