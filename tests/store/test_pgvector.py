"""What a server computes of vectors is as right as we say, and what it cannot compute is said."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import Connection, TextClause, func, text

from image_similarity.case import Case
from image_similarity.errors import DatabaseDamaged, DatabaseError
from image_similarity.ranking.exhaustive import exact_distance
from image_similarity.search import seen
from image_similarity.store import pgvector, pgvector_index
from image_similarity.store.gallery import PlaceFilter
from image_similarity.store.pgvector import Vectors
from image_similarity.values import MeasuredRecall, ServerUrl
from tests.search.synthetic import Row, model_info, write_case


def write(server: ServerUrl, vectors: np.ndarray) -> None:
    rows = [Row(str(number), vector) for number, vector in enumerate(vectors)]
    write_case(server, rows, info=model_info(dim=vectors.shape[1]))


@pytest.mark.parametrize("dim", [3, 256, 1_000])
def test_a_distance_is_wrong_by_less_than_is_said(postgres: ServerUrl, dim: int) -> None:
    random = np.random.default_rng(dim)
    lengths = 10.0 ** random.uniform(-6, 4, size=(60, 1))
    vectors = (random.normal(size=(60, dim)) * lengths).astype(np.float16)
    # Near ones far from zero, where a product of theirs would be all rounding.
    vectors[:20] = np.nextafter(vectors[20:40], np.float16(np.inf))
    write(postgres, vectors)
    with Case.open(postgres) as case, case._catalog.reading() as connection:
        for query in vectors[::7]:
            told = pgvector.nearest(connection, Vectors(1, dim), query, None, None)
            assert len(told) == 60
            for image_id, far in told:
                exact = exact_distance(vectors[image_id - 1], query)
                assert abs(far - exact) <= pgvector.error_of(dim) * exact


def test_those_within_are_counted_and_those_in_doubt_named(postgres: ServerUrl) -> None:
    write(postgres, np.array([[0, 0], [3, 4], [6, 8], [9, 12]]))
    with Case.open(postgres) as case, case._catalog.reading() as connection:
        zero = np.zeros(2, np.float16)
        assert pgvector.count_within(connection, Vectors(1, 2), zero, 5, 10) == (1, [2, 3])
        assert pgvector.count_within(connection, Vectors(1, 2), zero, 0, 0) == (0, [1])
        few = Vectors(1, 2).that(pgvector.one_of([4]))
        assert pgvector.count_within(connection, few, zero, 5, 10) == (0, [])


def test_positions_are_in_the_order_of_image_ids(postgres: ServerUrl) -> None:
    write(postgres, np.ones((9, 2)))
    with Case.open(postgres) as case, case._catalog.reading() as connection:
        even = Vectors(1, 2).that(pgvector.one_of([2, 4, 6, 8]))
        assert pgvector.ids_at(connection, even, [0, 3]) == [2, 8]
        assert pgvector.ids_at(connection, even, []) == []
        assert pgvector.ids(connection, Vectors(1, 2).but(pgvector.one_of([2, 4]))) == [
            1, 3, 5, 6, 7, 8, 9,
        ]  # fmt: skip


def test_no_condition_has_the_server_list_all_that_meet_it_before_a_few_are_asked_about(
    postgres: ServerUrl,
) -> None:
    """A "SubPlan" in a plan is what is done for each row, or a list that is made first."""
    write(postgres, np.ones((9, 2)))
    every = [
        *pgvector.placed(PlaceFilter(("disk",), "a", include_partial=False)),
        *pgvector.placed(PlaceFilter()),
        pgvector.tagged(["seen"]),
        pgvector.taken("2024", None),
        pgvector.undated(),
        pgvector.known(),
        ~pgvector.known(),
        pgvector.in_scenes([1, 2], top_only=True),
        ~pgvector.in_scenes([1], top_only=False),
        pgvector.labelled(1),
        ~pgvector.labelled(1),
    ]
    with Case.open(postgres) as case, case._catalog.reading() as connection:
        for condition in every:
            few = Vectors(1, 2).that(pgvector.one_of([1]), condition).select(func.count())
            plan = connection.execute(explained(connection, few)).scalars()
            assert "SubPlan" not in "\n".join(plan)


def explained(connection: Connection, statement: Any) -> TextClause:
    literal = statement.compile(connection, compile_kwargs={"literal_binds": True})
    return text(f"EXPLAIN {literal}".replace(":", "\\:"))


def test_a_vector_of_another_length_is_damage(
    postgres: ServerUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "READ_HERE", 0)
    write(postgres, np.ones((3, 4)))
    with Case.open(postgres) as case:
        with case._catalog.writing() as connection:
            connection.exec_driver_sql("UPDATE embedding SET vector = '[1,2]' WHERE image_id = 2")
        with pytest.raises(DatabaseDamaged, match="dimensions"):
            case.search(sha256=Row("0", ()).sha256, scene="off")
        with case._catalog.reading() as connection, pytest.raises(DatabaseDamaged):
            pgvector.read(connection, Vectors(1, 4), np.array([1, 2]))


def test_what_is_set_to_walk_through_an_index_is_set_for_that_alone(postgres: ServerUrl) -> None:
    write(postgres, np.ones((3, 4)))
    with Case.open(postgres) as case, case._catalog.reading() as connection:
        pgvector.nearest_by_index(connection, Vectors(1, 4), np.ones(4, np.float16), 2)
        for name in ("enable_sort", "enable_seqscan", "jit"):
            assert connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "on"
        assert connection.exec_driver_sql("SHOW hnsw.iterative_scan").scalar_one() == "off"


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"graph": 7, "recall": None},
        {"graph": 7, "recall": {"found": 1}},
        {"graph": 7, "recall": {"share": 1.0}},
        {"graph": 8, "recall": {"found": 499, "total": 500, "queries": 50, "at": 10}},
        {"recall": {"found": 499, "total": 500, "queries": 50, "at": 10}},
    ],
)
def test_an_index_without_a_measured_recall_has_none(about: dict[str, Any]) -> None:
    assert pgvector.Index(True, 1, 7, about).recall is None


def test_the_recall_of_an_index_is_the_one_that_was_kept() -> None:
    recall = '{"found": 499, "total": 500, "queries": 50, "at": 10, "vectors": 60}'
    kept = json.loads(f'{{"graph": 7, "recall": {recall}}}')
    assert pgvector.Index(True, 1, 7, kept).recall == MeasuredRecall(499, 500, 50, 10, 60)


@pytest.mark.parametrize("password", ["pa/ss", "pa?ss", "pa:ss#"])
def test_a_connection_for_an_index_is_made_with_the_password_that_the_url_has(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def connect(**settings: Any) -> None:
        asked.append(settings)
        raise psycopg.OperationalError("no server here")

    monkeypatch.setattr(psycopg, "connect", connect)
    server = ServerUrl(f"postgresql+psycopg://me:{password}@db.unit:5433/case?sslmode=require")
    with pytest.raises(DatabaseError) as refused:
        pgvector_index.drop_index(server, 1)
    assert "ss" not in str(refused.value).replace("sslmode", "")
    said = {"host": "db.unit", "port": 5433, "user": "me", "password": password, "dbname": "case"}
    assert said.items() <= asked[0].items()
    assert asked[0]["sslmode"] == "require"
