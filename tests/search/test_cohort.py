"""How strong hits are: scaled to all pictures that were searched, cut off where asked, the order unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from image_similarity.calibration.reference import measure_distances
from image_similarity.case import Case
from image_similarity.errors import CalibrationRefused, InvalidSetting
from image_similarity.search import SearchRequest
from image_similarity.search import meaning as search_meaning
from image_similarity.values import DistanceTable, SearchResult
from tests.search.synthetic import Row, model_info, write_case

DIM = 16
SCENES = ("bedroom", "kitchen", "street", "forest")


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (N, 16) of four scenes, and their labels (N,)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    vectors = 0.8 * np.eye(4, DIM)[labels] + random.standard_normal((count, DIM))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


@pytest.fixture(scope="module")
def table() -> DistanceTable:
    vectors, labels = pictures(1300, seed=1)
    fingerprint = model_info(dim=DIM).fingerprint
    return measure_distances(vectors, labels, fingerprint=fingerprint, made_on="made up")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vectors, labels = pictures(600, seed=2)
    rows = [
        Row(f"picture-{number}", vector.tolist(), [(SCENES[label], 0.9)])
        for number, (vector, label) in enumerate(zip(vectors, labels, strict=True))
    ]
    return write_case(
        tmp_path_factory.mktemp("strength") / "case.db", rows, info=model_info(dim=DIM)
    )


@pytest.fixture
def with_table(monkeypatch: pytest.MonkeyPatch, table: DistanceTable) -> None:
    monkeypatch.setattr(search_meaning, "find_table", lambda model: table)


def ask(path: Path, name: str = "picture-0", **request: object) -> SearchResult:
    with Case.open(path, read_only=True) as case:
        return case.search(sha256=Row(name, ()).sha256, **request)  # type: ignore[arg-type]


@pytest.mark.usefixtures("with_table")
def test_hits_say_how_many_unrelated_pictures_are_expected_as_close(case: Path) -> None:
    result = ask(case, scene="off", k=50, strength=True)
    expected = [hit.expected_false for hit in result.hits]
    assert None not in expected
    assert expected == sorted(expected), "what is further is never expected more rarely"
    assert expected[0] == 0.0, "the query itself"
    assert result.strength is not None
    assert (result.strength.searched, result.strength.cohort) == (600, 599)


@pytest.mark.usefixtures("with_table")
def test_without_being_asked_nothing_is_said_and_the_order_is_the_same(case: Path) -> None:
    plain, strong = ask(case, k=50), ask(case, k=50, strength=True)
    assert plain.strength is None
    assert [hit.expected_false for hit in plain.hits] == [None] * 50
    assert [hit.place for hit in plain.hits] == [hit.place for hit in strong.hits]


@pytest.mark.usefixtures("with_table")
def test_behind_a_scene_filter_the_numbers_are_those_of_all_pictures(case: Path) -> None:
    everywhere, filtered = (ask(case, scene=each, k=600, strength=True) for each in ("off", "auto"))
    assert filtered.filter.hidden > 0
    assert filtered.strength == everywhere.strength
    said = {hit.image.sha256: hit.expected_false for hit in everywhere.hits}
    assert all(said[hit.image.sha256] == hit.expected_false for hit in filtered.hits)


@pytest.mark.usefixtures("with_table")
def test_a_limit_keeps_the_hits_up_to_it_and_counts_the_others(case: Path) -> None:
    everything = ask(case, scene="off", k=50, strength=True)
    result = ask(case, scene="off", k=50, max_expected_false=1.0)
    kept = [hit for hit in everything.hits if (hit.expected_false or 0.0) <= 1.0]
    assert 0 < len(kept) < 50
    assert result.hits == tuple(kept)
    assert result.strength is not None
    assert (result.strength.max_expected_false, result.strength.left_out) == (1.0, 50 - len(kept))


@pytest.mark.usefixtures("with_table")
def test_a_small_case_gets_upper_bounds(tmp_path: Path, table: DistanceTable) -> None:
    vectors, _ = pictures(20, seed=3)
    rows = [Row(f"picture-{number}", vector.tolist()) for number, vector in enumerate(vectors)]
    small = write_case(tmp_path / "small.db", rows, info=model_info(dim=DIM))
    result = ask(small, scene="off", strength=True)
    assert result.strength is not None and result.strength.cohort == 0
    assert result.hits[0].expected_false == pytest.approx(20 * 3 / table.unrelated[-1])


def test_without_a_reference_table_it_is_refused(case: Path) -> None:
    with pytest.raises(CalibrationRefused, match="has no reference table"):
        ask(case, strength=True)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(InvalidSetting, match="false hits expected"):
        SearchRequest(strength=True, max_expected_false=limit).check()
