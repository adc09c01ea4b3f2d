"""Reading, encoding and storing happen at the same time, and it cannot be told from the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from image_similarity.encoding.encoder import OutOfMemory
from image_similarity.errors import DatabaseNotWritable
from image_similarity.events import Event, Notice
from image_similarity.indexing import run, taskset
from tests.indexing.desk import Desk, Misbehaving

# The same on both engines.
pytestmark = pytest.mark.usefixtures("location")

SECONDS = 60.0


def slow(batch: np.ndarray) -> None:
    """Give the other threads the time to come to the files behind."""
    time.sleep(0.2)


def test_a_batch_is_stored_while_the_network_has_the_next(
    desk: Desk, network: Callable[..., Misbehaving], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(8)
    begun = threading.Semaphore(0)
    network(lambda batch: begun.release())
    really_write = run.store.write_batch
    waited: list[bool] = []

    def write(*given: Any) -> None:
        # The first batch was encoded; only if the second is under way, the network is used meanwhile.
        if not waited:
            waited.append(begun.acquire(timeout=SECONDS) and begun.acquire(timeout=SECONDS))
        really_write(*given)

    monkeypatch.setattr(run.store, "write_batch", write)
    assert desk.index(batch_size=4).new == 8
    assert waited == [True]


def test_a_copy_of_what_the_network_has_is_not_encoded_twice(
    desk: Desk, network: Callable[..., Misbehaving]
) -> None:
    for number, seed in enumerate((1, 2, 1, 2, 3, 1, 4, 3)):
        desk.put(f"{number}.png", seed=seed)
    batches = network(slow).batches
    report = desk.index(batch_size=2)
    assert (report.new, report.duplicate, report.failed) == (4, 4, 0)
    assert sum(batches) == 4
    desk.check()


def test_a_copy_of_what_the_network_refuses_is_tried_again(
    desk: Desk, network: Callable[..., Misbehaving]
) -> None:
    for number, seed in enumerate((1, 2, 1, 3, 4)):
        desk.put(f"{number}.png", seed=seed)
    refused: list[bool] = []

    def refuse_once(batch: np.ndarray, encoded: Any) -> Any:
        if refused:
            return encoded
        refused.append(True)
        vectors = encoded.vectors.copy()
        vectors[0] = np.nan
        return replace(encoded, vectors=vectors, finite=np.arange(len(batch)) != 0)

    network(slow, refuse_once)
    report = desk.index(batch_size=2)
    assert (report.new, report.duplicate, report.failed) == (4, 0, 1)
    assert desk.failures() == {"0.png": ("embed", "NotFinite")}
    assert set(desk.live()) == {"1.png", "2.png", "3.png", "4.png"}
    desk.check()


def test_the_account_of_a_run_that_could_not_go_on_is_that_of_the_batches_stored(
    desk: Desk, network: Callable[..., Misbehaving], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(4)
    for number in range(8):
        desk.corrupt(f"picture-9{number}.jpg")
    network(slow)
    really_write = run.store.write_batch
    writes: list[bool] = []

    def write(*given: Any) -> None:
        writes.append(True)
        if len(writes) > 1:
            raise DatabaseNotWritable("no space left")
        really_write(*given)

    monkeypatch.setattr(run.store, "write_batch", write)
    with pytest.raises(DatabaseNotWritable):
        desk.index(batch_size=2)
    (last,) = desk.runs()
    assert (last.status, last.new, last.embedded) == ("failed", 2, 2)
    assert last.failed == len(desk.failures())
    assert [each.name for each in threading.enumerate() if each.name.startswith("network")] == []


def test_events_come_from_the_thread_that_asked_for_the_run(
    desk: Desk, network: Callable[..., Misbehaving]
) -> None:
    desk.put_many(6)

    def at_most_one(batch: np.ndarray) -> None:
        if len(batch) > 1:
            raise OutOfMemory("too large")

    network(at_most_one)
    threads: set[int] = set()
    notices: list[str] = []

    def listen(event: Event) -> None:
        threads.add(threading.get_ident())
        if isinstance(event, Notice):
            notices.append(event.text)

    assert desk.index(batch_size=4, on_event=listen).new == 6
    assert threads == {threading.get_ident()}
    assert notices == [f"out of memory: going on with batches of {size}" for size in (2, 1)]


def test_no_network_is_loaded_when_nothing_new_is_found(
    desk: Desk, network: Callable[..., Misbehaving], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put_many(3)
    desk.index()
    monkeypatch.setattr(taskset, "Encoder", None)
    desk.put("again.png", seed=1)
    desk.corrupt("broken.jpg")
    report = desk.index()
    assert (report.unchanged, report.duplicate, report.failed) == (3, 1, 1)
