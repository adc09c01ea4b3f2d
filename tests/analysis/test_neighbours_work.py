"""Work in progress: blocks that are whole are taken up, and no other byte ever becomes an answer."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.analysis.neighbours_work import Work, path_of
from image_similarity.errors import UsageError

ROWS, K, BLOCK = 7, 2, 3
NUMBERS = np.arange(ROWS * K, dtype=np.int64).reshape(ROWS, K)
DISTANCES = NUMBERS / 7


def work(path: Path, **head: object) -> Work:
    return Work(path, {"state": "x", **head}, rows=ROWS, k=K, block=BLOCK)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = path_of(tmp_path_factory.mktemp("work") / "all.h5")
    with work(path) as made:
        for start in range(0, ROWS, BLOCK):
            made.append(NUMBERS[start : start + BLOCK], DISTANCES[start : start + BLOCK])
    return path


def test_rows_come_back_in_any_order(whole: Path) -> None:
    with work(whole) as again:
        assert (again.resumed, again.done) == (ROWS, ROWS)
        numbers, distances = again.rows(np.array([6, 0, 3]))
    assert numbers.tolist() == NUMBERS[[6, 0, 3]].tolist()
    assert distances.tolist() == DISTANCES[[6, 0, 3]].tolist()


@settings(deadline=None)
@given(st.data())
def test_of_a_damaged_file_only_what_was_written_is_taken(whole: Path, data: st.DataObject) -> None:
    written = bytearray(whole.read_bytes())
    at = data.draw(st.integers(0, len(written) - 1))
    if data.draw(st.booleans()):
        written = written[:at]
    else:
        written[at] ^= data.draw(st.integers(1, 255))
    damaged = whole.with_name("damaged.work")
    damaged.write_bytes(bytes(written))
    try:
        with work(damaged) as again:
            taken = np.arange(again.resumed)
            if len(taken):
                numbers, distances = again.rows(taken)
                assert (numbers == NUMBERS[taken]).all()
                assert (distances == DISTANCES[taken]).all()
    except UsageError:
        assert damaged.read_bytes() == bytes(written), "a file that is not ours is left alone"


def test_what_differs_is_named_and_all_is_begun_anew(whole: Path) -> None:
    other = whole.with_name("other.work")
    other.write_bytes(whole.read_bytes())
    with work(other, state="y") as again:
        assert (again.replaced, again.resumed) == (["state"], 0)


def test_a_disk_that_is_full_is_named_with_the_file_and_costs_no_block(
    tmp_path: Path, whole: Path
) -> None:
    path, limits = path_of(tmp_path / "all.h5"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole.stat().st_size - 1, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as refused, work(path) as made:
            for start in range(0, ROWS, BLOCK):
                made.append(NUMBERS[start : start + BLOCK], DISTANCES[start : start + BLOCK])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.value.filename == str(path)
    with work(path) as again:
        assert again.resumed == 2 * BLOCK
        again.append(NUMBERS[2 * BLOCK :], DISTANCES[2 * BLOCK :])
    assert path.read_bytes() == whole.read_bytes()


def test_it_is_known_from_outside_whether_all_is_there(tmp_path: Path, whole: Path) -> None:
    path = path_of(tmp_path / "all.h5")
    assert not work(path).is_complete()
    assert not path.exists()
    path.write_bytes(whole.read_bytes())
    assert work(path).is_complete()
    assert not work(path, state="y").is_complete()
    path.write_bytes(whole.read_bytes()[:-1])
    assert not work(path).is_complete()
