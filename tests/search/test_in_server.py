"""A search on a server answers as one in a file does, to the last bit, and by its index nearly so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_similarity.case import Case, search_cases
from image_similarity.errors import IndexRefused, InvalidSetting, UsageError
from image_similarity.search import Searcher, SearchRequest, in_server, on_shelf, seen, server_index
from image_similarity.search.seen import Asked
from image_similarity.store import audit, marks, models, pgvector
from image_similarity.store.catalog import Catalog
from image_similarity.values import Location, Place, SearchResult, ServerUrl
from tests.postgres import fresh_database
from tests.search import clustered
from tests.search.synthetic import SCENES, Row, model_info, write_case

DIM = 16
# Of each 0.1 %, 1 % and 20 % of the pictures have the scene; without a filter all are searched.
SHARES = {"rare": 0.001, "some": 0.01, "common": 0.2}


@pytest.fixture(autouse=True)
def the_server_compares_also_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "READ_HERE", 0)


def pictures(count: int = 300) -> list[Row]:
    """Pictures of every sort: copies of vectors, some that differ in the last bit, with and without scenes, dates."""
    random = np.random.default_rng(4)
    made: list[Row] = []
    for number in range(count):
        vector = random.normal(size=DIM).astype(np.float16)
        if number % 7 == 0:
            # As near as the one before, but for the last bit of one number.
            vector = np.array(made[-1].vector if made else vector, dtype=np.float16)
            if number % 2:
                vector[0] = np.nextafter(vector[0], np.float16(9))
        elif 100 <= number < 140:
            vector = np.array(made[99].vector, dtype=np.float16)
        some = random.permutation(len(SCENES))[: 1 + number % 3]
        labels = [(SCENES[at], 0.5 / (rank + 1)) for rank, at in enumerate(some)]
        paths = [f"a/{number}.png", *([f"b/{number}.png"] if number % 5 == 0 else [])]
        taken = ("", "2023-05-06T07:08:09", "2024-03-01T18:05:59")[number % 3]
        made.append(
            Row(
                f"picture {number}",
                vector.tolist(),
                () if number % 11 == 5 else labels,
                paths,
                partial=number % 13 == 0,
                taken=taken,
            )
        )
    return made


def write(place: Location, rows: Sequence[Row]) -> Location:
    """Write a case: pictures of raw vectors, some of them gone since, tagged, on a hash list, or judged."""
    info = replace(model_info(dim=DIM, mass=0.3), normalisation="none")
    write_case(place, rows, info=info)
    catalog = Catalog.open(place, read_only=False)
    with catalog.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE file SET gone_run_id = first_run_id WHERE path LIKE 'b/%%0.png' OR path LIKE 'a/1_.png'".replace(
                "%%", "%" if connection.dialect.name == "sqlite" else "%%"
            )
        )
        for number in range(1, 300, 4):
            marks.mark(connection, number + 1, rows[number].sha256, "tag", "seen")
    catalog.close()
    return place


@pytest.fixture(scope="module")
def both(
    postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Case, Case]]:
    """The same case in a file and on a server."""
    folder = tmp_path_factory.mktemp("both")
    rows = pictures()
    listed = folder / "NSRL.txt"
    listed.write_text("\n".join(row.sha256 for row in rows[2::9]))
    places = [write(each, rows) for each in (folder / "case.db", fresh_database(postgres_server))]
    for place in places:
        with Case.open(place) as case:
            case.import_hash_list(listed)
            case.judge(rows[3].sha256, rows[4].sha256, "irrelevant")
            case.judge(rows[3].sha256, rows[105].sha256, "irrelevant")
            case.judge(rows[3].sha256, rows[8].sha256, "relevant")
    with Case.open(places[0]) as in_file, Case.open(places[1]) as on_server:
        yield in_file, on_server


def told(result: SearchResult) -> dict[str, Any]:
    """All that an answer says, but for where the case lies, when it was written, and how it was looked at."""
    return {
        "hits": [
            replace(
                hit,
                database="",
                place=timeless(hit.place),
                image=replace(
                    hit.image, decisions=(), places=tuple(map(timeless, hit.image.places))
                ),
            )
            for hit in result.hits
        ],
        "filter": result.filter,
        "excluded": result.excluded,
        "scenes": result.query_scenes,
        "counts": result.scene_counts,
        "left out": result.basis.excluded if result.basis else None,
        "recall": result.recall,
        "strength": result.strength,
    }


def timeless(place: Place) -> Place:
    return replace(place, first_seen="", gone_since=place.gone_since and "gone")


REQUESTS: list[dict[str, Any]] = [
    {},
    {"scene": ("off",)},
    {"scene": ("hard",)},
    {"scene": ("kitchen", "street")},
    {"scene": ("auto", "forest")},
    {"k": 1},
    {"k": 45},
    {"k": 1000},
    {"max_distance": 3.5},
    {"max_distance": 0.0},
    {"under": "b"},
    {"sources": ("disk",), "include_gone": True},
    {"include_gone": True},
    {"include_partial": False},
    {"tags": ("seen",)},
    {"taken_from": "2024"},
    {"taken_to": "2023-05", "scene": ("off",)},
    {"known": "hide"},
    {"known": "only"},
    {"include_irrelevant": True},
    {
        "known": "hide",
        "tags": ("seen",),
        "taken_from": "2023",
        "include_partial": False,
        "under": "a",
    },
    {"approximate": True},
    {"exact": True},
]


@pytest.mark.parametrize("asked", REQUESTS, ids=str)
def test_an_answer_is_the_one_that_a_file_gives(
    both: tuple[Case, Case], asked: dict[str, Any]
) -> None:
    answers = [
        [
            search_cases(
                [case],
                SearchRequest(
                    sha256=row.sha256,
                    with_basis=True,
                    with_scene_counts=True,
                    **{"k": 10, "scene": ("auto",), **asked},
                ),
            )
            for row in (pictures()[number] for number in (3, 8, 99, 120))
        ]
        for case in both
    ]
    for in_file, on_server in zip(*answers, strict=True):
        assert told(on_server) == told(in_file)
        assert on_server.search == "exhaustive"


def test_the_server_compares_and_no_vectors_are_read_but_those_near(
    both: tuple[Case, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    really = pgvector.read

    def watched(connection: Any, vectors: Any, ids: Any) -> Any:
        read.append(len(ids))
        return really(connection, vectors, ids)

    monkeypatch.setattr(pgvector, "read", watched)
    monkeypatch.setattr(on_shelf, "look", None)
    both[1].search(sha256=pictures()[3].sha256, k=5, scene="off")
    assert read == [6]


def test_several_queries_and_a_file_beside_the_server_are_answered_as_files_are(
    both: tuple[Case, Case],
) -> None:
    in_file, on_server = both
    rows = pictures()

    def ask(first: Case, second: Case) -> list[SearchResult]:
        searcher = Searcher([first._catalog, second._catalog], SearchRequest(k=12))
        return searcher.answer_queries(
            [searcher.query_of_stored(rows[number].sha256) for number in (3, 99, 200)]
        )

    for mixed, files in zip(ask(in_file, on_server), ask(in_file, in_file), strict=True):
        one, other = told(mixed), told(files)
        assert one["filter"] == other["filter"]
        assert [hit.distance for hit in one["hits"]] == [hit.distance for hit in other["hits"]]


def test_what_is_kept_of_counts_is_forgotten_when_pictures_come(postgres: ServerUrl) -> None:
    write_case(postgres, [Row(str(at), [1.0, at]) for at in range(3)])
    with Case.open(postgres) as case:
        assert case.search(sha256=Row("0", ()).sha256, scene="off").filter.searched == 3
        write_case(postgres, [Row("more", [1.0, 9.0])])
        assert case.search(sha256=Row("0", ()).sha256, scene="off").filter.searched == 4


def test_a_search_is_not_both_exact_and_approximate(both: tuple[Case, Case]) -> None:
    with pytest.raises(InvalidSetting, match="both exact and approximate"):
        both[1].search(sha256=pictures()[3].sha256, exact=True, approximate=True)


# -- by an index ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> clustered.Clustered:
    return clustered.make(20_000, 64, clusters=200, intrinsic=32)


@pytest.fixture(scope="module")
def many(postgres_server: str, made: clustered.Clustered) -> Iterator[Case]:
    """Twenty thousand pictures on a server that has an index of them."""
    server = fresh_database(postgres_server)
    clustered.write_on_server(server, made)
    with Case.open(server) as case:
        found = case.index_vectors()
        assert found.recall.share >= 0.99
        assert found.vectors == 20_000
        yield case


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """From ten pictures on the index is asked, from a thousand on about those that are hidden, too."""
    monkeypatch.setattr(in_server, "EXACT_ROWS", 10)
    monkeypatch.setattr(in_server, "COUNTED_ROWS", 1_000)


Answers = Callable[..., list[SearchResult]]


@pytest.fixture
def answers(many: Case) -> Answers:
    """Ask with a dozen pictures of all scenes."""
    numbers = np.random.default_rng(3).choice(20_000, 12, replace=False).tolist()

    def ask(scene: str = "off", **request: Any) -> list[SearchResult]:
        searcher = Searcher([many._catalog], SearchRequest(k=10, scene=(scene,), **request))
        sha256s = map(clustered.sha256_of, numbers)
        return [searcher.answer_queries([searcher.query_of_stored(each)])[0] for each in sha256s]

    return ask


def scene_of(made: clustered.Clustered, filter_: str) -> str:
    return "off" if filter_ == "none" else clustered.name(made.scene_of_share(SHARES[filter_]))


def recall_of(answers: Sequence[SearchResult], truth: Sequence[SearchResult]) -> float:
    found = sum(
        sum(hit.distance <= exact.hits[-1].distance for hit in answer.hits)
        for answer, exact in zip(answers, truth, strict=True)
    )
    return found / sum(len(exact.hits) for exact in truth)


@pytest.mark.usefixtures("few_are_many")
@pytest.mark.parametrize("filter_", ["rare", "some", "common", "none"])
def test_the_index_finds_what_is_there_to_be_found_whatever_the_filter(
    answers: Answers, made: clustered.Clustered, filter_: str
) -> None:
    scene = scene_of(made, filter_)
    by_index, truth = answers(scene), answers(scene, exact=True)
    assert recall_of(by_index, truth) >= 0.99
    for answer, exact in zip(by_index, truth, strict=True):
        assert (answer.search, exact.search) == ("approximate", "exhaustive")
        assert answer.recall is not None and answer.recall.share >= 0.99 and exact.recall is None
        assert answer.recall.vectors == 20_000
        assert answer.filter.searched == exact.filter.searched
        assert answer.filter.hidden == exact.filter.hidden
        assert answer.filter.hidden_nearer <= exact.filter.hidden_nearer


def test_left_to_itself_the_server_loses_answers_under_a_filter(
    many: Case, made: clustered.Clustered, answers: Answers
) -> None:
    """What the settings of `nearest_by_index` are for: the index gives its nearest, and few of these pass."""
    scene = made.scene_of_share(SHARES["some"])
    truth = answers(clustered.name(scene), exact=True)
    number_of = {clustered.sha256_of(number): number for number in range(20_000)}
    found = 0
    with many._catalog.reading() as connection:
        chosen = models.scene_ids(connection, 1)[clustered.name(scene)]
        connection.exec_driver_sql("SET LOCAL enable_sort = off")
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for exact in truth:
            query = number_of[exact.sha256]
            vector = str(made.vectors[query].astype(float).tolist())
            rows = connection.exec_driver_sql(
                "SELECT image_id FROM embedding WHERE model_id = 1 AND EXISTS (SELECT 1 FROM image_scene"
                f" WHERE image_scene.image_id = embedding.image_id AND scene_id = {chosen})"
                f" ORDER BY vector::halfvec(64) <-> '{vector}' LIMIT 10"
            ).scalars()
            wanted = {int(hit.place.path.partition(".")[0]) + 1 for hit in exact.hits}
            found += len(wanted.intersection(rows))
    assert found / sum(len(exact.hits) for exact in truth) < 0.5


def test_few_are_searched_exactly_though_there_is_an_index(
    answers: Answers, made: clustered.Clustered
) -> None:
    for answer in answers(scene_of(made, "some")):
        assert answer.search == "exhaustive" and answer.recall is None


def test_who_asks_for_an_approximate_search_gets_it_of_fewer(answers: Answers) -> None:
    assert {answer.search for answer in answers(approximate=True)} == {"approximate"}


@pytest.mark.usefixtures("few_are_many")
def test_where_the_index_walks_too_far_the_search_is_exact(
    answers: Answers, made: clustered.Clustered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgvector, "MOST_WALKED", 1)
    monkeypatch.setattr(in_server, "COUNTED_ROWS", 100_000)
    scene = scene_of(made, "some")
    found, truth = answers(scene), answers(scene, exact=True)
    exact = [at for at, answer in enumerate(found) if answer.search == "exhaustive"]
    # Round a picture of that very scene so many pass that it need not walk.
    assert len(exact) > len(found) / 2
    assert [told(found[at]) for at in exact] == [told(truth[at]) for at in exact]


@pytest.mark.usefixtures("few_are_many")
def test_an_index_that_nobody_measured_or_that_is_not_whole_is_not_used(
    many: Case, answers: Answers
) -> None:
    name = pgvector.index_name(1)

    def change(statement: str) -> None:
        with many._catalog.writing() as connection:
            connection.exec_driver_sql(statement)

    with many._catalog.reading() as connection:
        found = pgvector.index_of(connection, 1)
    assert found is not None and found.recall is not None
    kept = json.dumps(found.about)
    change(f"COMMENT ON INDEX {name} IS 'mine'")
    assert {answer.search for answer in answers()} == {"exhaustive"}
    change(f"COMMENT ON INDEX {name} IS '{kept}'")
    assert {answer.search for answer in answers()} == {"approximate"}
    valid = f"UPDATE pg_index SET indisvalid = {{}} WHERE indexrelid = '{name}'::regclass"
    change(valid.format("false"))
    assert {answer.search for answer in answers()} == {"exhaustive"}
    change(valid.format("true"))


# -- making one -------------------------------------------------------------------------------------------------------


def test_an_index_is_built_anew_where_a_build_was_killed_recorded_and_dropped(
    postgres: ServerUrl,
) -> None:
    random = np.random.default_rng(2)
    write_case(postgres, [Row(str(at), random.normal(size=2).tolist()) for at in range(30)])
    with Case.open(postgres) as case:
        heard: list[Any] = []
        case.index_vectors(on_event=heard.append)
        assert heard[0].total == 30 and heard[-1].done == 30
        with case._catalog.writing() as connection:
            connection.exec_driver_sql(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_embedding_vector_1'::regclass"
            )
        again = case.index_vectors(links=4, effort=20)
        assert (again.links, again.effort, again.recall.total) == (4, 20, 300)
        with case._catalog.reading() as connection:
            found = pgvector.index_of(connection, 1)
            assert found is not None and found.valid and found.recall == again.recall
            assert again.recall.vectors == 30
        with case._catalog.writing() as connection:
            connection.exec_driver_sql("REINDEX INDEX ix_embedding_vector_1")
            anew = pgvector.index_of(connection, 1)
            assert anew is not None and anew.about == found.about and anew.recall is None
        assert case.drop_vector_index() == "ix_embedding_vector_1"
        assert case.drop_vector_index() is None
        with case._catalog.reading() as connection:
            said = [each for each in audit.entries(connection) if each.action == "index"]
        assert [json.loads(each.detail)["did"] for each in said] == [
            "built",
            "built",
            "dropped",
        ]


def test_a_file_has_no_such_index_and_says_where_one_is_made(tmp_path: Path) -> None:
    write_case(tmp_path / "case.db", [Row("a", [1, 0])])
    with Case.open(tmp_path / "case.db") as case, pytest.raises(UsageError) as refused:
        case.index_vectors()
    assert "analyse ann" in refused.value.hint


def test_vectors_longer_than_an_index_takes_are_refused_and_searched_exactly(
    postgres: ServerUrl,
) -> None:
    random = np.random.default_rng(2)
    rows = [Row(str(at), random.normal(size=4_001).tolist()) for at in range(3)]
    write_case(postgres, rows, info=model_info(dim=4_001))
    with Case.open(postgres) as case:
        with pytest.raises(IndexRefused, match="4,001 numbers"):
            case.index_vectors()
        assert len(case.search(sha256=rows[0].sha256, scene="off").hits) == 3


@pytest.mark.parametrize(("links", "effort"), [(1, 64), (101, 300), (16, 31), (16, 1001)])
def test_links_and_efforts_that_pgvector_refuses_are_named(
    both: tuple[Case, Case], links: int, effort: int
) -> None:
    with pytest.raises(InvalidSetting):
        both[1].index_vectors(links=links, effort=effort)


def test_an_index_in_a_file_is_asked_here(both: tuple[Case, Case]) -> None:
    request = SearchRequest(index=Path("some.ann"), approximate=True)
    asked = Asked(request, None, None, None, None)  # type: ignore[arg-type]
    opened = Searcher([both[1]._catalog], SearchRequest())
    with opened._open() as databases:
        assert not asked.in_server(databases[0])
        assert replace(asked, request=SearchRequest()).in_server(databases[0])


def test_links_are_dropped_and_vectors_measured_with_one_seed(many: Case) -> None:
    with many._catalog.reading() as connection:
        vectors = pgvector.Vectors(1, 64)
        assert server_index.measure(connection, vectors) == server_index.measure(
            connection, vectors
        )
