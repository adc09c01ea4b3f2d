"""The stages put together in Ray Data, and watched over."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from image_similarity.cluster import stages
from image_similarity.cluster.connection import Machines
from image_similarity.cluster.work import Job, Portion, Written
from image_similarity.errors import (
    ClusterError,
    ClusterStalled,
    ImageSimilarityError,
    InvalidSetting,
)
from image_similarity.settings import ClusterOptions

T = TypeVar("T")

# Blocks that Ray Data keeps track of, at most so many at a time. Each is one portion: what a block gives comes when all
# of it is done.
MOST_BLOCKS = 10_000
# More would only wait for each other, and give up where that takes long.
WRITERS = 4
# Writers wait for each other most of the time, and take little of a processor.
WRITER_CPUS = 0.1
SECONDS_BETWEEN_LOOKS = 0.2
# What is finished at that moment may still come.
SECONDS_TO_END = 5.0


def actors(options: ClusterOptions, machines: Machines) -> tuple[int, float]:
    """How many actors hold the networks, and how much of a GPU each has.

    One processor is left for all else: where actors take them all, Ray waits for ever for one to read with.

    Raises:
        InvalidSetting: The cluster does not have as much.
    """
    gpus = options.gpus_per_actor
    if gpus is None:
        gpus = 1.0 if machines.gpus else 0.0
    if gpus < 0 or (options.actors is not None and options.actors < 1):
        raise InvalidSetting(
            f"{options.actors} actors with {gpus:g} GPUs each",
            hint="--actors takes 1 or more, --gpus-per-actor 0 or more",
        )
    most = int(machines.cpus) - 1
    by_gpu = int(machines.gpus / gpus) if gpus else most
    wanted = options.actors or min(most, by_gpu)
    if wanted > most or most < 1:
        raise InvalidSetting(
            f"{max(1, wanted)} actors leave no processor to read with: the cluster has {machines.cpus:g}",
            hint=f"--actors {most}" if most > 0 else "use a cluster of two processors or more",
        )
    if wanted > by_gpu or wanted < 1:
        raise InvalidSetting(
            f"{max(1, wanted)} actors with {gpus:g} GPUs each: the cluster has {machines.gpus:g}",
            hint="--gpus-per-actor takes also a part, such as 0.5; 0 computes on processors",
        )
    return wanted, gpus


def results(
    job: Job, portions: Sequence[Portion], options: ClusterOptions, machines: Machines
) -> Iterator[Written]:
    """Read, embed and write all portions; gives where the run is after each of them, in any order.

    Raises:
        ClusterError: Ray gave up: a worker or a machine was lost too often.
        ImageSimilarityError: What a worker refused: a model that is missing there, a database that it cannot write.
    """
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A block that is lost ends the run: its files would count as gone.
    context.max_errored_blocks = 0
    for some in _cut(portions, MOST_BLOCKS):
        yield from _wave(job, some, *actors(options, machines))


def _wave(job: Job, portions: Sequence[Portion], count: int, gpus: float) -> Iterator[Written]:
    import pyarrow
    import ray

    kind = pyarrow.large_binary()
    blocks = [
        pyarrow.table({"portion": pyarrow.array([stages.pack(portion)], kind)})
        for portion in portions
    ]
    given = ray.data.from_arrow(blocks)
    # With the same resources Ray does both in one actor, and no pixels travel.
    read: Any = stages.read
    embed: Any = stages.Embed
    write: Any = stages.write
    found = given.map(read, fn_args=(job,), num_cpus=1)
    embedded = found.map(
        embed,
        fn_constructor_args=(job,),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=count),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    written = embedded.map(write, fn_args=(job,), num_cpus=WRITER_CPUS, concurrency=WRITERS)
    try:
        for batch in written.iter_batches(batch_size=None, prefetch_batches=0):
            yield from map(stages.unpack, batch["written"])
    except Exception as error:
        raise named(error) from error


def named(error: BaseException) -> ImageSimilarityError:
    """What one of us raised on a worker, or else an error of the cluster."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, ImageSimilarityError):
            return chain
        cause = getattr(chain, "cause", None)
        chain = cause if isinstance(cause, BaseException) else chain.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return ClusterError(
        f"the cluster gave up: {type(error).__name__}: {lines[-1].strip() if lines else ''}",
        hint="what was written stays; run the command again to go on",
    )


def _cut(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


class Watched(Iterable[T]):
    """Items of an iterator that may stand still for ever; iterating ends when it does, when it is told, or raises.

    Attributes:
        stopped: Whether it was told to stop before the end.

    Raises:
        ClusterStalled: No item came for so many seconds. What makes them is left alone, in a thread of its own.
    """

    def __init__(self, items: Iterable[T], *, stop: Callable[[], bool], seconds: float) -> None:
        self._items, self._stop, self._seconds = items, stop, seconds
        self._came: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        self._over = threading.Event()
        self.stopped = False

    def __iter__(self) -> Iterator[T]:
        thread = threading.Thread(target=self._draw, name="cluster", daemon=True)
        thread.start()
        last, patience = time.monotonic(), SECONDS_TO_END
        try:
            while True:
                if self._stop():
                    self.stopped = True
                    return
                try:
                    item, error = self._came.get(timeout=SECONDS_BETWEEN_LOOKS)
                except queue.Empty:
                    if time.monotonic() - last > self._seconds:
                        patience = 0.0
                        raise ClusterStalled(
                            f"no batch was finished for {self._seconds:g} seconds",
                            hint="what was written stays. Fewer --actors leave processors to read with, and "
                            "--stall-seconds gives slow evidence more time; run the command again to go on",
                        ) from None
                    continue
                if isinstance(error, StopIteration):
                    return
                if error is not None:
                    raise error
                last = time.monotonic()
                yield item  # type: ignore[misc]  # without an error there is an item
        finally:
            self._over.set()
            # An end in order, if one comes soon: at the next item. The connection is closed after it.
            thread.join(patience)

    def _draw(self) -> None:
        try:
            for item in self._items:
                self._came.put((item, None))
                if self._over.is_set():
                    break
            if isinstance(self._items, Generator):
                self._items.close()
            self._came.put((None, StopIteration()))
        except BaseException as error:
            self._came.put((None, error))


def environment(machines: Machines, options: ClusterOptions) -> dict[str, Any]:
    """What is recorded of a cluster."""
    count, gpus = actors(options, machines)
    return {
        "ray": machines.ray,
        "cluster": f"{machines.nodes} nodes, {machines.cpus:g} CPUs, {machines.gpus:g} GPUs; "
        f"{count} actors with {gpus:g} GPUs each",
    }
