"""A replay gives the same answer to the last bit over the rows as of the search, or says where not."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.case import Case, manifest_writer, search_cases
from image_similarity.errors import DatabaseDamaged, InvalidSetting, ManifestRefused, UsageError
from image_similarity.indexing import packing
from image_similarity.records.manifest import Manifest, ManifestResult
from image_similarity.records.replay import replay
from image_similarity.search import SearchRequest, sight
from image_similarity.settings import IndexOptions
from image_similarity.store import packs
from image_similarity.store.catalog import Catalog
from image_similarity.values import Difference, ReplayReport
from tests.records.searches import DIM, ask, case, rows
from tests.search.synthetic import Row, model_info, write_case


def again(databases: Sequence[Path], manifest: Manifest, **more: Any) -> ReplayReport:
    catalogs = [Catalog.open(path, read_only=True) for path in databases]
    try:
        return replay(catalogs, manifest, **more)
    finally:
        for catalog in catalogs:
            catalog.close()


def kinds(report: ReplayReport) -> list[str]:
    found: list[Difference] = [*report.databases]
    for query in report.queries:
        found += query.differences
    return [each.kind for each in found]


def execute(database: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement, values)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case whose first ranges are packed, 32 contents each: it is searched by bounds, and replayed without them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs, "LARGEST_RANGE", 32)
        path = case(tmp_path_factory.mktemp("replay") / "case.db", 150)
        catalog = Catalog.open(path, read_only=False)
        assert packing.pack(catalog) == 8
        catalog.close()
    return path


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "LARGEST_RANGE", 32)


@pytest.fixture
def own(database: Path, tmp_path: Path) -> Path:
    """A copy for a test that writes."""
    return Path(shutil.copyfile(database, tmp_path / "case.db"))


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_the_answer_does_not_depend_on_the_block_size(database: Path, block: int) -> None:
    manifest = ask([database], "picture-001", "picture-002", k=20, scene=("off",))
    report = again([database], manifest, block=block)
    assert report.same and [query.confirmed for query in report.queries] == [20, 20]
    assert report == again([database], manifest)


asked = st.fixed_dictionaries(
    {
        "k": st.integers(1, 70),
        "scene": st.sampled_from(
            [("auto",), ("hard",), ("off",), ("street",), ("auto", "forest"), ("kitchen", "street")]
        ),
        "max_distance": st.none() | st.floats(0, 2),
        "under": st.none() | st.sampled_from(["copies", "nowhere", "/"]),
        "include_gone": st.booleans(),
        "include_partial": st.booleans(),
        "sources": st.sampled_from([(), ("disk",)]),
    }
)


# A content without labels can be no query of a search in its likely scenes.
labelled = [number for number, row in enumerate(rows(60)) if row.labels]


@settings(max_examples=30, deadline=None)
@given(request=asked, block=st.integers(1, 80), number=st.sampled_from(labelled))
def test_every_exact_search_is_replayed_to_the_last_bit(
    database: Path, request: dict[str, Any], block: int, number: int
) -> None:
    manifest = ask([database], f"picture-{number:03d}", **request)
    report = again([database], manifest, block=block)
    assert report.same, report


def test_what_came_or_went_after_the_search_does_not_count(own: Path) -> None:
    manifest = ask([own], "picture-001", k=10, scene=("off",))
    near = rows(60)[1].vector
    write_case(own, [Row("later", near)], info=model_info("toy", DIM), source="other")
    first = manifest.queries[0].results[0]
    execute(own, "UPDATE file SET gone_run_id = 2 WHERE path = ?", first.path)
    report = again([own], manifest)
    assert report.same and report.queries[0].confirmed == 10
    assert ask([own], "picture-001", k=10, scene=("off",)).queries != manifest.queries


def test_a_changed_vector_is_named_with_both_distances(own: Path) -> None:
    manifest = ask([own], "picture-001", k=10, scene=("off",))
    result = manifest.queries[0].results[4]
    vector = np.asarray(rows(60)[1].vector, dtype="<f2").tobytes()
    execute(
        own,
        "UPDATE embedding SET vector = ? WHERE image_id = (SELECT id FROM image WHERE sha256 = ?)",
        vector,
        result.sha256,
    )
    report = again([own], manifest)
    assert not report.same
    assert report.databases[0].kind == "rows"
    wrong = report.queries[0].differences[0]
    assert (wrong.kind, wrong.rank, wrong.expected) == ("distance", 5, repr(result.distance))
    assert float(wrong.found) == 0.0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE file SET path = 'elsewhere.png' WHERE id = 40",
        "UPDATE image_scene SET rank = 3 - rank WHERE image_id = (SELECT max(image_id) FROM image_scene"
        " WHERE rank = 2) AND rank < 3",
        "DELETE FROM file WHERE id = 40",
    ],
)
def test_a_changed_row_that_no_result_needs_is_still_seen(own: Path, statement: str) -> None:
    manifest = ask([own], "picture-001", k=1)
    execute(own, statement)
    report = again([own], manifest)
    assert kinds(report) == ["rows"] and not report.same


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE image SET sha256 = replace(sha256, substr(sha256, 1, 1), 'x') WHERE id = 3",
        "UPDATE embedding SET vector = 'text' WHERE id = 3",
        "UPDATE embedding SET vector = x'00' WHERE id = 3",
        "UPDATE image_scene SET rank = 'first' WHERE image_id = 4",
    ],
)
def test_a_row_of_another_type_is_named_as_damage_or_seen_as_a_change(
    own: Path, statement: str
) -> None:
    manifest = ask([own], "picture-001", k=3)
    execute(own, statement)
    try:
        assert not again([own], manifest).same
    except DatabaseDamaged:
        return


def altered(manifest: Manifest, results: Sequence[ManifestResult]) -> Manifest:
    return replace(manifest, queries=(replace(manifest.queries[0], results=tuple(results)),))


def test_a_manifest_that_was_changed_is_contradicted(database: Path) -> None:
    manifest = ask([database], "picture-001", k=6, scene=("off",))
    found = list(manifest.queries[0].results)
    nearer = replace(found[2], distance=np.nextafter(found[2].distance, 0.0).item())
    assert kinds(again([database], altered(manifest, [*found[:2], nearer, *found[3:]]))) == [
        "distance"
    ]
    short = again([database], altered(manifest, found[:3] + found[4:]))
    assert "added" in kinds(short) and not short.same
    swapped = [found[0], found[2], found[1], *found[3:]]
    assert set(kinds(again([database], altered(manifest, swapped)))) == {"rank"}
    invented = replace(found[5], sha256="0" * 64)
    report = again([database], altered(manifest, [*found[:5], invented]))
    assert kinds(report) == ["distance", "missing", "added"]
    assert report.queries[0].confirmed == 5


def test_a_stored_query_by_the_name_or_the_vector_of_another_is_contradicted(
    database: Path,
) -> None:
    manifest = ask([database], "picture-001", k=6, scene=("off",))
    query = manifest.queries[0]
    for other in (Row("picture-002", ()).sha256, "0" * 64):
        forged = replace(manifest, queries=(replace(query, sha256=other),))
        report = again([database], forged)
        assert kinds(report) == ["query"] and not report.same
    unknown = replace(manifest, queries=(replace(query, sha256="0" * 64, stored=False),))
    assert again([database], unknown).same


def test_a_picture_that_was_hidden_by_a_decision_stays_out(database: Path) -> None:
    manifest = ask([database], "picture-001", k=9, scene=("off",))
    hidden = manifest.queries[0].results[0].sha256
    left = [each for each in manifest.queries[0].results if each.sha256 != hidden]
    ranked = tuple(replace(each, rank=rank) for rank, each in enumerate(left, start=1))
    query = replace(manifest.queries[0], excluded=(0,), results=ranked)
    without = replace(manifest, k=len(ranked), exclusions=((hidden,),), queries=(query,))
    assert len(ranked) < 9 and again([database], without).same
    assert not again([database], replace(without, queries=(replace(query, excluded=(None,)),))).same


def test_another_database_is_searched_as_it_stands_and_that_is_said(
    database: Path, tmp_path: Path
) -> None:
    manifest = ask([database], "picture-001", k=5)
    other = case(tmp_path / "other.db", 150)
    execute(
        other,
        "INSERT INTO audit (id, at, actor, action, detail, previous, digest) VALUES (99, '', '', '', '{}', '', 'x')",
    )
    number = manifest.databases[0].moment.audit_number
    moment = replace(
        manifest.databases[0].moment, audit_number=max(1, number), audit_digest="1" * 64
    )
    asked_of = replace(manifest, databases=(replace(manifest.databases[0], moment=moment),))
    report = again([other], asked_of)
    assert kinds(report) == ["database"]
    assert report.queries[0].confirmed == 5 and not report.same


def test_a_run_that_was_writing_is_said_and_is_no_difference_by_itself(own: Path) -> None:
    execute(own, "UPDATE run SET status = 'running'")
    manifest = ask([own], "picture-001", k=3)
    assert manifest.databases[0].moment.run_open
    last = "UPDATE file SET gone_run_id = 1 WHERE id = (SELECT max(id) FROM file)"
    execute(own, last)
    report = again([own], manifest)
    assert [each.kind for each in report.databases] == ["open"]
    assert report.same


def test_a_run_that_was_writing_beside_a_later_one_is_said_too(own: Path) -> None:
    write_case(own, rows(1, 8, "later"), info=model_info("toy", DIM), source="other")
    execute(own, "UPDATE run SET status = 'running' WHERE id = 1")
    manifest = ask([own], "picture-001", k=3)
    assert manifest.databases[0].moment.run_id == 2
    assert manifest.databases[0].moment.run_open
    execute(own, "UPDATE file SET gone_run_id = 1 WHERE id = (SELECT max(id) FROM file)")
    (said,) = again([own], manifest).databases
    assert said.kind == "open" and "a run was writing" in said.message


def test_several_databases_are_replayed_together(database: Path, tmp_path: Path) -> None:
    other = write_case(
        tmp_path / "other.db",
        rows(40, 5, "other") + rows(10),
        info=model_info("toy", DIM),
        source="stick",
    )
    manifest = ask([database, other], "picture-001", "other-003", k=30, scene=("off",))
    assert len(manifest.databases) == 2
    assert again([database, other], manifest, block=9).same
    assert not again([other, database], manifest).same
    with pytest.raises(UsageError, match="in the manifest: 2, given: 1"):
        again([database], manifest)


def test_the_querys_own_place_stays_out_after_a_source_was_moved(tmp_path: Path, own: Path) -> None:
    manifest = ask([own], "picture-001", k=8, scene=("off",))
    query = replace(manifest.queries[0], own_path="/evidence/disk/picture-001.png")
    without = [each for each in query.results if each.path != "picture-001.png"]
    ranked = tuple(replace(each, rank=rank) for rank, each in enumerate(without, start=1))
    moved = replace(manifest, k=len(ranked), queries=(replace(query, results=ranked),))
    assert again([own], moved).same
    execute(own, "UPDATE source SET root_path = '/mnt/elsewhere'")
    assert again([own], moved).same


def test_searches_by_bounds_and_by_codes_alone_are_replayed(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sight, "CANDIDATES", 20)
    names = [f"picture-{number:03d}" for number in range(1, 120, 7)]
    kinds_of = {}
    for approximate in (False, True):
        manifest = ask([database], *names, k=15, scene=("off",), approximate=approximate)
        report = again([database], manifest)
        assert report.same
        kinds_of[approximate] = {query.search for query in manifest.queries}
        missed = sum(len(query.missed) for query in report.queries)
        assert missed > 0 if approximate else missed == 0
    assert kinds_of == {False: {"bounded"}, True: {"approximate"}}


def test_what_an_approximate_search_missed_is_listed_and_no_difference(database: Path) -> None:
    manifest = ask([database], "picture-001", k=6, scene=("off",))
    found = manifest.queries[0].results
    kept = tuple(replace(each, rank=rank) for rank, each in enumerate([*found[:2], *found[3:]], 1))
    query = replace(manifest.queries[0], search="approximate", results=kept)
    report = again([database], replace(manifest, queries=(query,)))
    assert report.same and report.queries[0].confirmed == 5
    assert [each.what for each in report.queries[0].missed] == [
        f"{found[2].source}:{found[2].path} ({found[2].sha256[:12]})"
    ]


def test_what_cannot_be_replayed_is_refused(database: Path, tmp_path: Path) -> None:
    manifest = ask([database], "picture-001")
    with pytest.raises(ManifestRefused, match="holds no vectors of the model"):
        again([write_case(tmp_path / "toy.db", [Row("a", [1, 0])])], manifest)
    with pytest.raises(InvalidSetting, match="block of 0"):
        again([database], manifest, block=0)


def test_what_a_limit_of_expected_pictures_cut_off_is_no_difference(database: Path) -> None:
    manifest = ask([database], "picture-001", k=9, scene=("off",))
    query = replace(manifest.queries[0], results=manifest.queries[0].results[:4], cut_off=5)
    assert again([database], replace(manifest, queries=(query,))).same
    assert not again([database], replace(manifest, queries=(replace(query, cut_off=4),))).same


def test_databases_of_other_batch_sizes_rank_alike_and_each_replays_to_the_last_bit(
    tmp_path: Path, make_folder: Callable[..., Path], tiny_model: Path
) -> None:
    folder = make_folder(n=15)
    made = []
    for size in (1, 7):
        database = tmp_path / f"batches-of-{size}.db"
        options = IndexOptions((str(tiny_model),), str(tiny_model), batch_size=size, device="cpu")
        with Case.open(database) as opened:
            assert opened.index(folder, options=options).new == 15
            picture = opened.images_at("picture-000.jpg")[0]
        with Case.open(database, read_only=True) as opened:
            writer = manifest_writer([opened])
            request = SearchRequest(sha256=picture.sha256, k=12, scene=("off",), with_basis=True)
            writer.add(search_cases([opened], request))
            made.append((database, writer.manifest()))
    (one, first), (other, second) = made
    assert again([one], first, block=1).same and again([other], second, block=7).same
    places = [[result.path for result in each.queries[0].results] for _, each in made]
    assert places[0] == places[1]
    for ours, theirs in zip(first.queries[0].results, second.queries[0].results, strict=True):
        # A number of a vector may differ by one step of float16, 2^-12 at most for what lies below 1/2.
        assert ours.distance == pytest.approx(theirs.distance, abs=1e-3)
    # On the other database the vectors are others, bit by bit perhaps, and that is said; the order is the same.
    crossed = again([other], first)
    assert crossed.databases[0].kind == "database"
    assert {each.kind for query in crossed.queries for each in query.differences} <= {"distance"}


def test_a_search_of_some_dates_is_replayed_without_the_others(tmp_path: Path) -> None:
    those = [
        replace(row, taken=f"2024-0{1 + at % 3}-01T10:00:00" if at % 4 else "")
        for at, row in enumerate(rows(60))
    ]
    path = write_case(tmp_path / "dated.db", those, info=model_info("toy", DIM))
    manifest = ask([path], "picture-001", k=20, scene=("off",), taken_from="2024-02")
    assert 0 < len(manifest.queries[0].results) <= 20
    assert len(manifest.exclusions[0]) == sum(row.taken < "2024-02" for row in those)
    assert again([path], manifest).same
