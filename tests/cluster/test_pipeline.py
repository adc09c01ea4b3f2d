"""How many actors there are, and what watches over the work; without Ray."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from image_similarity.cluster import pipeline, stages
from image_similarity.cluster.connection import Machines
from image_similarity.cluster.work import Portion, Written
from image_similarity.errors import ClusterError, ClusterStalled, InvalidSetting, WeightsMissing
from image_similarity.settings import ClusterOptions


def machines(cpus: float, gpus: float = 0) -> Machines:
    return Machines(nodes=2, cpus=cpus, gpus=gpus, ray="2.60.0")


@pytest.mark.parametrize(
    ("options", "cluster", "wanted"),
    [
        ({}, machines(4), (3, 0)),
        ({}, machines(2), (1, 0)),
        ({"actors": 2}, machines(4), (2, 0)),
        ({}, machines(16, 2), (2, 1)),
        ({"gpus_per_actor": 0.5}, machines(16, 2), (4, 0.5)),
        ({"gpus_per_actor": 0}, machines(16, 2), (15, 0)),
        ({}, machines(2, 8), (1, 1)),
    ],
)
def test_actors_leave_a_processor_to_read_with(
    options: dict[str, float], cluster: Machines, wanted: tuple[int, float]
) -> None:
    assert pipeline.actors(ClusterOptions(**options), cluster) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "cluster", "said"),
    [
        ({"actors": 4}, machines(4), "leave no processor to read with"),
        ({}, machines(1), "leave no processor to read with"),
        ({"actors": 3}, machines(16, 2), "the cluster has 2"),
        ({"gpus_per_actor": 1}, machines(16), "the cluster has 0"),
        ({"actors": 0}, machines(4), "0 actors"),
        ({"gpus_per_actor": -1}, machines(4), "-1 GPUs"),
    ],
)
def test_more_than_the_cluster_has_is_refused(
    options: dict[str, float], cluster: Machines, said: str
) -> None:
    with pytest.raises(InvalidSetting, match=said):
        pipeline.actors(ClusterOptions(**options), cluster)  # type: ignore[arg-type]


def test_items_are_passed_on_and_an_end_is_an_end() -> None:
    watched = pipeline.Watched(iter(range(5)), stop=lambda: False, seconds=60)
    assert list(watched) == [0, 1, 2, 3, 4]
    assert not watched.stopped


def test_where_nothing_comes_any_more_the_run_is_ended_with_one_line() -> None:
    forever = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        forever.wait(60)
        yield 2

    watched = pipeline.Watched(items(), stop=lambda: False, seconds=0.3)
    seen = []
    with pytest.raises(ClusterStalled, match=r"no batch was finished for 0\.3 seconds") as raised:
        seen.extend(watched)
    forever.set()
    assert raised.value.exit_code == 16 and "--stall-seconds" in raised.value.hint


def test_slow_work_that_goes_on_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def items() -> Iterator[int]:
        for number in range(4):
            now[0] += 0.6
            yield number

    assert list(pipeline.Watched(items(), stop=lambda: False, seconds=0.7)) == [0, 1, 2, 3]


def test_a_stop_ends_it_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "SECONDS_TO_END", 0.05)
    asked = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        asked.wait(30)

    stopped = threading.Event()
    watched = pipeline.Watched(items(), stop=stopped.is_set, seconds=60)
    seen = []
    for item in watched:
        seen.append(item)
        stopped.set()
    asked.set()
    assert seen == [1] and watched.stopped


def test_what_a_worker_raised_is_raised_here() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise WeightsMissing("no weights on node-2")

    with pytest.raises(WeightsMissing, match="node-2"):
        list(pipeline.Watched(items(), stop=lambda: False, seconds=60))


def test_our_errors_are_found_in_those_of_ray() -> None:
    class TaskError(Exception):
        cause = WeightsMissing("no weights on node-2")

    outer = RuntimeError("lost")
    outer.__cause__ = TaskError()
    assert pipeline.named(outer) is TaskError.cause
    named = pipeline.named(ValueError("first line\n\n  the last of them \n"))
    assert isinstance(named, ClusterError) and "\n" not in named.message
    assert "ValueError: the last of them" in named.message


class _Dataset:
    """What `results` asks of a dataset of Ray; gives each portion's number as what was seen."""

    def __init__(self, blocks: list[Any], asked: list[dict[str, Any]]) -> None:
        self._blocks, self._asked = blocks, asked

    def map(self, work: Any, **asked: Any) -> _Dataset:
        self._asked.append({"work": work, **asked})
        return self

    def iter_batches(self, **given: Any) -> Iterator[dict[str, list[bytes]]]:
        for block in self._blocks:
            numbers = [stages.unpack(each).number for each in block["portion"].to_pylist()]
            yield {"written": [stages.pack(Written(number, 0, 0)) for number in numbers]}


def test_portions_go_to_ray_one_a_block_in_waves_and_a_lost_block_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pyarrow")
    context = SimpleNamespace(max_errored_blocks=-1)
    waves: list[list[int]] = []
    asked: list[dict[str, Any]] = []

    def from_arrow(blocks: list[Any]) -> _Dataset:
        waves.append([len(block) for block in blocks])
        return _Dataset(blocks, asked)

    data = SimpleNamespace(
        DataContext=SimpleNamespace(get_current=lambda: context),
        ActorPoolStrategy=lambda **given: given,
        from_arrow=from_arrow,
    )
    monkeypatch.setitem(__import__("sys").modules, "ray", SimpleNamespace(data=data))
    monkeypatch.setattr(pipeline, "MOST_BLOCKS", 3)
    portions = [Portion(number, ()) for number in range(8)]
    found = pipeline.results(None, portions, ClusterOptions(), machines(4))  # type: ignore[arg-type]
    assert [written.seen for written in found] == list(range(8))
    assert waves == [[1, 1, 1], [1, 1, 1], [1, 1]]
    assert context.max_errored_blocks == 0
    writers = [each["concurrency"] for each in asked if each["work"] is stages.write]
    assert writers == [pipeline.WRITERS] * 3
