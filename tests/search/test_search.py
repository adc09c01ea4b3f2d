"""A query's answer: who is searched, in which order, and what is said of those left out."""

from __future__ import annotations

import math
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from image_similarity.case import Case, search_cases, search_cases_folder
from image_similarity.errors import (
    AmbiguousModel,
    ImageUnreadable,
    InvalidSetting,
    UnknownImage,
    UnknownModel,
    UnknownScene,
    UnknownSource,
)
from image_similarity.search import Searcher, SearchRequest
from image_similarity.settings import IndexOptions
from image_similarity.store.catalog import Catalog
from image_similarity.values import Failure, Location, SearchResult
from tests.search.synthetic import Row, at_angle, model_info, write_case

BEDROOM = [("bedroom", 0.7), ("kitchen", 0.2)]
STREET = [("street", 0.9), ("forest", 0.05)]


# A query at 0 degrees that is most likely a bedroom, and pictures ever further away.
ROOMS = [
    Row("query", at_angle(0), BEDROOM),
    Row("near-street", at_angle(5), STREET),
    Row("bedroom", at_angle(10), BEDROOM),
    Row("kitchen", at_angle(20), [("kitchen", 0.9), ("street", 0.05)]),
    Row("attic-like", at_angle(30), [("forest", 0.5), ("bedroom", 0.4)]),
    Row("unlabelled", at_angle(40)),
    Row("far-street", at_angle(90), STREET),
]


@pytest.fixture(scope="module")
def rooms(shared_location: Location) -> Location:
    return write_case(shared_location, ROOMS)


def names(result: SearchResult) -> list[str]:
    return [hit.place.path.removesuffix(".png") for hit in result.hits]


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def ask(path: Location, name: str = "query", **request: object) -> SearchResult:
    with Case.open(path, read_only=True) as case:
        return case.search(sha256=Row(name, ()).sha256, **request)  # type: ignore[arg-type]


def test_hits_are_ranked_by_euclidean_distance_of_the_vectors(rooms: Location) -> None:
    result = ask(rooms, scene="off", k=10)
    assert names(result) == [
        "query",
        "near-street",
        "bedroom",
        "kitchen",
        "attic-like",
        "unlabelled",
        "far-street",
    ]
    assert [hit.rank for hit in result.hits] == [1, 2, 3, 4, 5, 6, 7]
    for hit, degrees in zip(result.hits, (0, 5, 10, 20, 30, 40, 90), strict=True):
        assert hit.distance == pytest.approx(2 * math.sin(math.radians(degrees / 2)), abs=2e-3)
        assert hit.similarity == pytest.approx(math.cos(math.radians(degrees)), abs=2e-3)


def test_auto_searches_the_fewest_scenes_that_reach_the_models_mass(rooms: Location) -> None:
    result = ask(rooms, k=10)
    assert result.filter.mode == "auto"
    assert result.filter.scenes == ("bedroom", "kitchen")
    assert names(result) == ["query", "bedroom", "kitchen", "attic-like", "unlabelled"]


def test_what_the_filter_hides_is_counted_and_so_is_what_it_cost(rooms: Location) -> None:
    result = ask(rooms, k=3)
    assert names(result) == ["query", "bedroom", "kitchen"]
    assert (result.filter.searched, result.filter.hidden) == (5, 2)
    assert result.filter.hidden_nearer == 1, "near-street is nearer than the last hit"


def test_with_free_places_every_hidden_picture_in_reach_counts(rooms: Location) -> None:
    assert ask(rooms, k=10).filter.hidden_nearer == 2
    assert ask(rooms, k=10, max_distance=0.5).filter.hidden_nearer == 1


def test_hard_is_top_scene_against_top_scene(rooms: Location) -> None:
    result = ask(rooms, scene="hard", k=10)
    assert names(result) == ["query", "bedroom", "unlabelled"]


def test_a_picture_without_labels_is_never_hidden(rooms: Location) -> None:
    for scene in ("auto", "hard", "forest"):
        assert "unlabelled" in names(ask(rooms, scene=scene, k=10))


def test_named_scenes_are_searched_and_may_be_added_to_auto(rooms: Location) -> None:
    assert names(ask(rooms, scene="street", k=10)) == [
        "query",
        "near-street",
        "kitchen",
        "unlabelled",
        "far-street",
    ], "identical content always passes"
    assert ask(rooms, scene=("auto", "street"), k=10).filter.scenes == (
        "bedroom",
        "kitchen",
        "street",
    )


def test_identical_content_always_passes(location: Location) -> None:
    path = write_case(location, [Row("query", at_angle(0), STREET, ["a.png", "b.png"])])
    result = ask(path, scene="bedroom")
    assert [(hit.place.path, hit.identical, hit.distance) for hit in result.hits] == [
        ("a.png", True, 0.0),
        ("b.png", True, 0.0),
    ]


def test_ties_are_broken_by_sha256_then_path(location: Location) -> None:
    twins = [Row(f"twin {n}", at_angle(30), paths=[f"{n}/z.png", f"{n}/a.png"]) for n in range(9)]
    path = write_case(location, [Row("query", at_angle(0)), *twins])
    result = ask(path, k=100)
    got = [(hit.image.sha256, hit.place.path) for hit in result.hits[1:]]
    assert got == sorted((t.sha256, p) for t in twins for p in t.paths)
    for k in range(1, 19):
        assert ask(path, k=k).hits == result.hits[:k]


def test_hits_beyond_the_maximum_distance_are_left_out(rooms: Location) -> None:
    limit = 2 * math.sin(math.radians(25) / 2)
    assert names(ask(rooms, scene="off", k=10, max_distance=limit)) == [
        "query",
        "near-street",
        "bedroom",
        "kitchen",
    ]


@pytest.mark.parametrize(
    "request_",
    [
        {"k": 0},
        {"k": -3},
        {"max_distance": -0.1},
        {"max_distance": math.nan},
        {"scene": ("off", "bedroom")},
        {"scene": ("hard", "auto")},
    ],
)
def test_a_request_without_an_answer_is_refused(
    rooms: Location, request_: dict[str, object]
) -> None:
    with pytest.raises(InvalidSetting):
        ask(rooms, **request_)


def test_an_unknown_scene_is_refused_with_near_names(rooms: Location) -> None:
    with pytest.raises(UnknownScene, match="bedrom") as error:
        ask(rooms, scene="bedrom")
    assert "bedroom" in error.value.hint


def test_an_unknown_source_is_refused(rooms: Location) -> None:
    with pytest.raises(UnknownSource, match="disk-9"):
        ask(rooms, sources=["disk-9"])


def test_an_unknown_content_is_refused(rooms: Location) -> None:
    with pytest.raises(UnknownImage):
        ask(rooms, "nobody")


def test_only_named_sources_and_folders_are_searched(location: Location) -> None:
    path = write_case(location, [Row("query", at_angle(0), paths=["in/q.png"])])
    write_case(
        path,
        [Row("a", at_angle(5), paths=["in/a.png", "inner/a.png"]), Row("b", at_angle(9))],
        source="phone",
    )
    assert names(ask(path, sources=["phone"])) == ["in/a", "inner/a", "b"]
    assert names(ask(path, under="in")) == ["in/q", "in/a"]
    assert names(ask(path, under="in/", sources=["phone"])) == ["in/a"]


def test_partial_pictures_can_be_left_out(location: Location) -> None:
    path = write_case(location, [Row("query", at_angle(0)), Row("torn", at_angle(5), partial=True)])
    assert names(ask(path)) == ["query", "torn"]
    assert names(ask(path, include_partial=False)) == ["query"]


def test_several_cases_are_searched_together_and_each_hit_names_its_own(tmp_path: Path) -> None:
    first = write_case(tmp_path / "1.db", [Row("query", at_angle(0)), Row("far", at_angle(50))])
    second = write_case(tmp_path / "2.db", [Row("near", at_angle(5)), Row("query", at_angle(0))])
    cases = [Case.open(path, read_only=True) for path in (first, second)]
    result = search_cases(cases, SearchRequest(sha256=Row("query", ()).sha256, k=3))
    assert [(hit.place.path, Path(hit.database).name) for hit in result.hits] == [
        ("query.png", "1.db"),
        ("query.png", "2.db"),
        ("near.png", "2.db"),
    ]
    for case in cases:
        case.close()


def test_a_case_without_the_model_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    first = write_case(tmp_path / "1.db", [Row("query", at_angle(0))])
    second = write_case(tmp_path / "2.db", [Row("x", at_angle(0))], info=model_info("other"))
    cases = [Case.open(path, read_only=True) for path in (first, second)]
    with pytest.raises(UnknownModel, match=r"2\.db"):
        search_cases(cases, SearchRequest(sha256=Row("query", ()).sha256, model="toy"))
    for case in cases:
        case.close()


def test_with_several_models_one_must_be_chosen_and_they_never_mix(location: Location) -> None:
    path = write_case(location, [Row("query", at_angle(0)), Row("a", at_angle(5))])
    write_case(path, [Row("b", at_angle(1))], info=model_info("other"), source="phone")
    with pytest.raises(AmbiguousModel) as error:
        ask(path)
    assert "toy@" in error.value.hint
    assert "other@" in error.value.hint
    assert names(ask(path, model="toy")) == ["query", "a"]
    by_fingerprint = model_info("toy").fingerprint[:10]
    assert names(ask(path, model=by_fingerprint)) == ["query", "a"]
    with pytest.raises(UnknownModel, match="vgg99"):
        ask(path, model="vgg99")


def test_an_empty_case_says_so(location: Location) -> None:
    path = location
    Case.open(path).close()
    with pytest.raises(UnknownModel, match="no vectors"):
        ask(path)


def test_between_two_answers_an_index_run_can_write(tmp_path: Path) -> None:
    """A folder of queries takes minutes; a run beside it must not be locked out."""
    rooms = write_case(tmp_path / "rooms.db", ROOMS)
    reader = Catalog.open(rooms, read_only=True)
    searcher = Searcher([reader], SearchRequest(k=2))
    first = searcher.answer_stored(Row("query", ()).sha256)
    with closing(sqlite3.connect(rooms, timeout=0)) as writer, writer:
        writer.execute("UPDATE source SET name = 'renamed'")
    assert searcher.answer_stored(Row("query", ()).sha256).filter == first.filter
    reader.close()


# -- with pictures and a network ---------------------------------------------------------------------------------


@pytest.fixture
def indexed(
    tmp_path: Path, make_folder: Callable[..., Path], tiny_model: Path
) -> tuple[Path, Path]:
    folder = make_folder(n=6, duplicates=1)
    path = tmp_path / "case.db"
    with Case.open(path) as case:
        case.index(folder, options=IndexOptions(models=(str(tiny_model),), scenes=str(tiny_model)))
    return path, folder


def test_only_the_querys_own_path_is_left_out(indexed: tuple[Path, Path]) -> None:
    path, folder = indexed
    with Case.open(path, read_only=True) as case:
        result = case.search(folder / "picture-000.jpg", scene="off", k=20)
    paths = [hit.place.path for hit in result.hits]
    assert "picture-000.jpg" not in paths
    assert paths[0] == "copies/copy-000.jpg"
    assert result.hits[0].identical
    assert result.hits[0].distance == 0.0
    assert len(paths) == 6


def test_the_own_path_is_recognised_through_a_link(
    indexed: tuple[Path, Path], tmp_path: Path
) -> None:
    path, folder = indexed
    link = tmp_path / "link.jpg"
    try:
        link.symlink_to(folder / "picture-000.jpg")
    except OSError:
        pytest.skip("links cannot be made here")
    with Case.open(path, read_only=True) as case:
        result = case.search(link, scene="off", k=20)
    assert "picture-000.jpg" not in [hit.place.path for hit in result.hits]


def test_a_copy_elsewhere_finds_all_places_of_its_content(
    indexed: tuple[Path, Path], tmp_path: Path
) -> None:
    path, folder = indexed
    copy = shutil.copy(folder / "picture-000.jpg", tmp_path / "mine.jpg")
    with Case.open(path, read_only=True) as case:
        result = case.search(copy, scene="off")
    assert result.stored
    assert [h.place.path for h in result.hits[:2]] == ["copies/copy-000.jpg", "picture-000.jpg"]


def test_of_disks_mounted_in_turn_at_one_folder_only_one_place_is_the_querys_own(
    tmp_path: Path, make_folder: Callable[..., Path], tiny_model: Path
) -> None:
    """The same path of another disk is a place of its own, and a hit."""
    folder, path = make_folder(n=2, duplicates=0), tmp_path / "case.db"
    options = IndexOptions(models=(str(tiny_model),), scenes=str(tiny_model))
    with Case.open(path) as case:
        case.index(folder, source="disk-1", options=options)
        case.index(folder, source="disk-2", options=options)
        result = case.search(folder / "picture-000.jpg", scene="off", k=20)
    assert len([hit for hit in result.hits if hit.identical]) == 1


def test_a_new_picture_is_encoded_as_it_would_be_stored(
    indexed: tuple[Path, Path],
    tmp_path: Path,
    picture_factory: Callable[..., Path],
    tiny_model: Path,
) -> None:
    path, _ = indexed
    new = picture_factory(tmp_path / "new" / "new.png", seed=77)
    with Case.open(path, read_only=True) as case:
        fresh = case.search(new, scene="off", k=20)
    assert not fresh.stored
    with Case.open(path) as case:
        case.index(
            new.parent, options=IndexOptions(models=(str(tiny_model),), scenes=str(tiny_model))
        )
        known = case.search(new, scene="off", k=20)
    assert known.stored
    assert known.query_scenes == pytest.approx(fresh.query_scenes) or [
        s.name for s in known.query_scenes
    ] == [s.name for s in fresh.query_scenes]
    for a, b in zip(fresh.hits, known.hits, strict=True):
        assert a.place.path == b.place.path
        assert a.distance == pytest.approx(b.distance, abs=2e-3)


def test_a_query_on_known_content_loads_no_network_library(indexed: tuple[Path, Path]) -> None:
    path, folder = indexed
    code = (
        "import sys\n"
        "from image_similarity.case import Case\n"
        f"with Case.open({str(path)!r}, read_only=True) as case:\n"
        f"    result = case.search({str(folder / 'picture-001.png')!r})\n"
        "assert result.stored and result.hits\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_folder_gives_one_list_a_picture_and_names_the_unreadable(
    indexed: tuple[Path, Path],
) -> None:
    path, folder = indexed
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (folder / "notes.txt").write_text("not a picture")
    with Case.open(path, read_only=True) as case:
        answers = list(search_cases_folder([case], folder, SearchRequest(k=2)))
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    results = [answer for answer in answers if isinstance(answer, SearchResult)]
    assert [failure.path for failure in failures] == ["broken.jpg"]
    assert len(results) == 7
    assert all(result.stored for result in results)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0 torn"])
def test_an_unreadable_query_is_refused(
    indexed: tuple[Path, Path], tmp_path: Path, content: bytes
) -> None:
    query = tmp_path / "query.jpg"
    query.write_bytes(content)
    with (
        Case.open(indexed[0], read_only=True) as case,
        pytest.raises(ImageUnreadable, match=r"query\.jpg"),
    ):
        case.search(query)


def test_a_missing_query_is_refused(indexed: tuple[Path, Path], tmp_path: Path) -> None:
    with Case.open(indexed[0], read_only=True) as case, pytest.raises(ImageUnreadable):
        case.search(tmp_path / "nowhere.jpg")


def test_a_search_writes_nothing(
    indexed: tuple[Path, Path], picture_factory: Callable[..., Path], tmp_path: Path
) -> None:
    path, folder = indexed
    before = path.read_bytes(), names_in(path.parent)
    new = picture_factory(folder.parent / "other" / "new.png", seed=5)
    with Case.open(path, read_only=True) as case:
        case.search(folder / "picture-000.jpg")
        case.search(new)
    assert (path.read_bytes(), names_in(path.parent) - {"other"}) == before


def test_gone_places_are_searched_only_when_asked(indexed: tuple[Path, Path]) -> None:
    path, folder = indexed
    (folder / "picture-003.jpg").unlink()
    with Case.open(path) as case:
        case.refresh()
        query = folder / "picture-000.jpg"
        now = {hit.place.path for hit in case.search(query, scene="off", k=50).hits}
        ever = {
            hit.place.path for hit in case.search(query, scene="off", k=50, include_gone=True).hits
        }
    assert ever - now == {"picture-003.jpg"}


def test_the_ranking_is_that_of_the_stored_vectors_in_float64(indexed: tuple[Path, Path]) -> None:
    path, folder = indexed
    with Case.open(path, read_only=True) as case:
        result = case.search(folder / "picture-004.png", scene="off", k=50)
        distances = [hit.distance for hit in result.hits]
    assert distances == sorted(distances)
    assert np.isfinite(distances).all()
