"""Positions by t-SNE."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from image_similarity.analysis import tsne
from image_similarity.errors import DatabaseDamaged, ExtraMissing, InvalidSetting
from image_similarity.events import Event, Progress, Started

Read = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float16]]


def groups(count: int, dim: int = 60, of: int = 3) -> npt.NDArray[np.float16]:
    """Vectors of some groups that lie far apart; that of row i is i modulo their number."""
    random = np.random.default_rng(0)
    middles = 5 * random.standard_normal((of, dim))
    vectors = middles[np.arange(count) % of] + 0.3 * random.standard_normal((count, dim))
    return vectors.astype(np.float16)


def reading(vectors: npt.NDArray[np.float16]) -> Read:
    return lambda rows: vectors[rows]


def nearest(xy: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    squared = np.square(xy[:, None] - xy[None]).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    return squared.argmin(axis=1)


def test_pictures_of_one_group_lie_together() -> None:
    found = tsne.positions(90, reading(groups(90)))
    assert (nearest(found.xy) % 3 == np.arange(90) % 3).all()
    assert found.xy.dtype == np.float32
    assert found.mapped.all()


def test_the_same_seed_gives_the_same_positions_and_another_seed_others() -> None:
    read = reading(groups(60))
    first, again = (tsne.positions(60, read, seed=3).xy for _ in range(2))
    assert (first == again).all()
    many = groups(600, dim=600)
    assert (
        tsne.positions(600, reading(many), seed=4).xy
        != tsne.positions(600, reading(many), seed=5).xy
    ).any()


def test_stdout_stays_clean_and_progress_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Event] = []
    tsne.positions(30, reading(groups(30)), on_event=events.append)
    assert capsys.readouterr() == ("", "")
    assert events[0] == Started("map", "", 1000, "iterations")
    done = [event.done for event in events if isinstance(event, Progress)]
    assert len(done) > 3
    assert done == sorted(done)
    assert done[-1] == 1000


def test_of_more_than_can_be_mapped_a_sample_is_and_the_others_lie_in_their_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tsne, "MOST_MAPPED", 60)
    found = tsne.positions(300, reading(groups(300)))
    assert found.mapped.sum() == 60
    assert (nearest(found.xy) % 3 == np.arange(300) % 3).mean() > 0.99
    assert (found.xy == tsne.positions(300, reading(groups(300))).xy).all()


@pytest.mark.parametrize(
    ("count", "fitted"), [(3, 1.0), (4, 1.0), (10, 3.0), (91, 30.0), (500, 30.0)]
)
def test_perplexity_is_made_to_fit_few_pictures(count: int, fitted: float) -> None:
    assert tsne.fitting_perplexity(30, count) == fitted


@pytest.mark.parametrize("dim", [1, 2, 50, 51, 300])
@pytest.mark.parametrize("count", [3, 4, 7])
def test_few_pictures_of_any_dimensions_have_positions(count: int, dim: int) -> None:
    found = tsne.positions(count, reading(groups(count, dim)))
    assert found.xy.shape == (count, 2)
    assert np.isfinite(found.xy).all()


@pytest.mark.parametrize("dim", [8, 200])
def test_pictures_that_are_all_alike_have_positions(dim: int) -> None:
    found = tsne.positions(12, reading(np.ones((12, dim), dtype=np.float16)))
    assert np.isfinite(found.xy).all()


def test_vectors_are_asked_for_in_blocks() -> None:
    vectors, asked = np.zeros((9_000, 4), dtype=np.float16), []

    def read(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        asked.append(len(rows))
        return vectors[rows]

    tsne.positions(9_000, read)
    assert max(asked) <= 4096


@pytest.mark.parametrize("perplexity", [0, 0.5, -3, float("nan"), float("inf")])
def test_a_perplexity_below_one_is_refused(perplexity: float) -> None:
    with pytest.raises(InvalidSetting, match="a perplexity of"):
        tsne.positions(10, reading(groups(10)), perplexity=perplexity)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_does_not_take_is_refused(seed: int) -> None:
    with pytest.raises(InvalidSetting, match="a seed of"):
        tsne.positions(10, reading(groups(10)), seed=seed)


def test_fewer_than_three_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="2 vectors"):
        tsne.positions(2, reading(groups(2)))


def test_vectors_that_are_no_numbers_are_refused() -> None:
    vectors = groups(10)
    vectors[7, 3] = np.nan
    with pytest.raises(DatabaseDamaged, match="not numbers"):
        tsne.positions(10, reading(vectors))


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ExtraMissing) as caught:
        tsne.positions(10, reading(groups(10)))
    assert caught.value.hint == 'pip install "image_similarity[analysis]"'
