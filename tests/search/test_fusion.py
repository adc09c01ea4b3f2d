"""Several queries as one list: by the published formula, in one order always, and without what was ruled out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.case import Case, search_cases_fused
from image_similarity.errors import ImageUnreadable, InvalidSetting
from image_similarity.pictures.region import Box, Region
from image_similarity.search import SearchRequest
from image_similarity.search.fusion import CONSTANT, _fuse, _result
from image_similarity.settings import IndexOptions
from image_similarity.values import Failure, Hit, ImageRecord, MeasuredRecall, Place, SearchResult
from tests.conftest import draw_picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """24 pictures and a copy of the first, indexed in case.db beside the folder."""
    base = tmp_path_factory.mktemp("fusion")
    folder = base / "evidence"
    folder.mkdir()
    for number in range(24):
        draw_picture(number, (48, 48)).save(folder / f"{number:02d}.png")
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())
    with Case.open(base / "case.db") as case:
        case.index(folder, options=IndexOptions(models=(str(tiny_model),), scenes=str(tiny_model)))
    return folder


def fuse(
    folder: Path, *names: str, against: tuple[str, ...] = (), **request: object
) -> SearchResult:
    asked = SearchRequest(**{"scene": ("off",), "k": 40, **request})  # type: ignore[arg-type]
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        result, failures = search_cases_fused(
            [case],
            [folder / name for name in names],
            asked,
            against=[folder / name for name in against],
        )
    assert not failures
    return result


def ask(folder: Path, name: str) -> list[str]:
    """The contents near one query, nearest first, without its own place; each once."""
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        hits = case.search(folder / name, scene="off", k=40).hits
    return list(dict.fromkeys(hit.image.sha256 for hit in hits))


def names(result: SearchResult) -> list[str]:
    return [hit.place.path for hit in result.hits]


def test_the_score_is_the_sum_over_the_queries_of_one_by_sixty_plus_the_rank(folder: Path) -> None:
    result = fuse(folder, "01.png", "02.png")
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        own = {case.images_at(folder / name)[0].sha256 for name in ("01.png", "02.png")}
    lists = [
        [each for each in ask(folder, name) if each not in own] for name in ("01.png", "02.png")
    ]
    for hit in result.hits:
        ranks = [contents.index(hit.image.sha256) + 1 for contents in lists]
        assert hit.fused is not None
        assert hit.fused.score == pytest.approx(sum(1 / (CONSTANT + rank) for rank in ranks))
        assert hit.fused.best_rank == min(ranks)
        assert hit.fused.query == ranks.index(min(ranks)) + 1
    scores = [hit.fused.score for hit in result.hits if hit.fused]
    assert scores == sorted(scores, reverse=True)
    assert [hit.rank for hit in result.hits] == list(range(1, 24))


def test_no_query_is_a_hit_of_another_but_a_copy_of_one_is(folder: Path) -> None:
    result = fuse(folder, "00.png", "01.png")
    assert not {"00.png", "01.png"} & set(names(result))
    copy = next(hit for hit in result.hits if hit.place.path == "copy.png")
    assert copy.identical and copy.distance == 0.0


def test_one_query_keeps_its_order(folder: Path) -> None:
    result = fuse(folder, "03.png")
    assert list(dict.fromkeys(hit.image.sha256 for hit in result.hits)) == ask(folder, "03.png")


def test_a_query_given_twice_counts_once(folder: Path) -> None:
    assert fuse(folder, "03.png", "03.png", "04.png").hits == fuse(folder, "03.png", "04.png").hits


def test_the_distance_is_that_to_the_nearest_query(folder: Path) -> None:
    result = fuse(folder, "05.png", "06.png")
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        far = [
            {hit.place.path: hit.distance for hit in case.search(folder / name, scene="off", k=40).hits}
            for name in ("05.png", "06.png")
        ]  # fmt: skip
    for hit in result.hits:
        assert hit.distance == min(each[hit.place.path] for each in far)
        assert hit.similarity == 1 - hit.distance**2 / 2


def test_a_folder_is_as_many_queries_as_it_holds_pictures(folder: Path, tmp_path: Path) -> None:
    for number in (30, 31):
        draw_picture(number, (48, 48)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    request = SearchRequest(scene=("off",))
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        result, failures = search_cases_fused([case], [tmp_path], request)
        with pytest.raises(ImageUnreadable, match="cannot read"):
            search_cases_fused([case], [tmp_path / "broken.jpg"], request)
    assert [isinstance(each, Failure) and each.path for each in failures] == ["broken.jpg"]
    assert result.fusion is not None
    assert [Path(label).name for label, _ in result.fusion.queries] == ["30.png", "31.png"]
    assert not result.stored


def test_what_is_nearer_to_a_ruled_out_picture_than_to_every_query_is_left_out(
    folder: Path,
) -> None:
    plain = fuse(folder, "07.png", "08.png")
    result = fuse(folder, "07.png", "08.png", against=("09.png",))
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        ruled_out = {
            hit.place.path: hit.distance
            for hit in case.search(folder / "09.png", scene="off", k=40).hits
        }
    kept = [hit for hit in plain.hits if ruled_out.get(hit.place.path, 0.0) >= hit.distance]
    assert names(result) == [hit.place.path for hit in kept]
    assert result.fusion is not None
    gone = {hit.image.sha256 for hit in plain.hits} - {hit.image.sha256 for hit in kept}
    assert result.fusion.left_out == len(gone) > 0
    assert [Path(label).name for label, _ in result.fusion.against] == ["09.png"]


def test_all_queries_search_the_scenes_of_each(folder: Path) -> None:
    result = fuse(folder, "10.png", "11.png", "12.png", scene=("auto",))
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        scenes = {
            name
            for number in (10, 11, 12)
            for name in case.search(folder / f"{number}.png").filter.scenes
        }
    assert set(result.filter.scenes) == scenes
    assert result.filter.mode == "auto"
    assert result.filter.searched + result.filter.hidden == 24


def test_a_region_is_of_every_query_and_not_of_what_is_ruled_out(folder: Path) -> None:
    region = Region(Box(0, 0, 24, 24))
    result = fuse(folder, "13.png", "14.png", region=region, against=("15.png",))
    assert result.query_made == "crop 0,0,24,24"
    assert not {"13.png", "14.png"} & set(names(result))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"scene": ("hard",)}, "one query's scene"),
        ({"strength": True}, "a strength is of one query"),
        ({"with_basis": True}, "a manifest is of one query"),
    ],
)
def test_what_is_of_one_query_is_refused(
    folder: Path, request_: dict[str, object], reason: str
) -> None:
    with pytest.raises(InvalidSetting, match=reason):
        fuse(folder, "01.png", "02.png", **request_)


def test_a_folder_without_a_picture_rules_nothing_out_and_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ImageUnreadable, match="rule out"):
        fuse(folder, "01.png", against=(str(tmp_path),))


def test_without_a_readable_query_there_is_no_answer(folder: Path, tmp_path: Path) -> None:
    with (
        Case.open(folder.parent / "case.db", read_only=True) as case,
        pytest.raises(ImageUnreadable, match="no query picture"),
    ):
        search_cases_fused([case], [tmp_path], SearchRequest())


def made_up(name: str, distance: float) -> Hit:
    record = ImageRecord(name, "1" * 40, "5" * 32, 1, 1, 1, "PNG", "image/png", False, {})
    place = Place("disk", "/evidence", name, "2026-01-01")
    return Hit(0, distance, 1 - distance**2 / 2, False, place, record, "case.db")


@given(st.lists(st.permutations([f"{number:02d}" for number in range(8)]), min_size=1, max_size=5))
def test_the_fused_order_depends_on_ranks_alone(orders: list[list[str]]) -> None:
    def lists(spread: float) -> list[dict[str, list[Hit]]]:
        return [
            {name: [made_up(name, spread * at)] for at, name in enumerate(order)}
            for order in orders
        ]

    fused = [each.hits[0].image.sha256 for each in _fuse(lists(0.01))]
    assert fused == [each.hits[0].image.sha256 for each in _fuse(lists(0.2))]
    scores = {
        name: math.fsum(1 / (CONSTANT + order.index(name) + 1) for order in orders)
        for name in orders[0]
    }
    assert np.all(np.diff([scores[name] for name in fused]) <= 1e-12)


def test_what_was_judged_irrelevant_for_one_of_the_queries_does_not_come_back(
    folder: Path, tmp_path: Path
) -> None:
    database = tmp_path / "case.db"
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        case.backup(database)
    with Case.open(database) as case:
        case.judge(folder / "01.png", folder / "07.png", "irrelevant")
        request = SearchRequest(scene=("off",), k=40)
        result, _ = search_cases_fused([case], [folder / "01.png", folder / "02.png"], request)
    assert "07.png" not in names(result)
    assert result.excluded.hidden_irrelevant == 1


def test_a_list_is_as_exact_as_the_least_exact_of_the_answers_that_it_is_made_of(
    folder: Path,
) -> None:
    result = fuse(folder, "01.png")
    assert result.fusion is not None
    recall = MeasuredRecall(99, 100, 10, 10)
    exact, by_bounds, by_index = (
        replace(result, search="exhaustive", recall=None),
        replace(result, search="bounded", recall=None),
        replace(result, search="approximate", recall=recall),
    )
    for answers, expected in (
        ((exact, by_bounds), ("bounded", None)),
        ((exact, by_bounds, by_index), ("approximate", recall)),
        ((by_index, exact), ("approximate", recall)),
    ):
        fused = _result(answers, (), SearchRequest(), result.hits, result.fusion)
        assert (fused.search, fused.recall) == expected
