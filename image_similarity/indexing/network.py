"""The networks of a run in a thread of their own, so that reading, encoding and storing overlap."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor

from image_similarity.indexing import batches
from image_similarity.indexing.taskset import TaskSet

LARGEST_DEFAULT_BATCH = 64


class NetworkThread:
    """Encodes one batch while the caller collects the next and stores the one before.

    `close` waits for the batch that is under way. What a thread cannot tell its caller itself,
    errors and notices, waits until the caller asks: `result` raises, `notices` holds texts.
    """

    def __init__(self, tasks: TaskSet, batch_size: int | None) -> None:
        self.notices: list[str] = []
        self._tasks = tasks
        self._chosen = batch_size
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._size: Future[batches.BatchSize] | None = None
        self._flying: Future[batches.Results] | None = None

    def close(self) -> None:
        """Wait for the batch that is under way, and end the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def batch_size(self) -> int:
        """How many pictures to collect; the largest that may be, until the networks are loaded."""
        if self._size is not None and self._size.done() and self._size.exception() is None:
            return self._size.result().size
        return self._chosen or LARGEST_DEFAULT_BATCH

    def load(self) -> None:
        """Begin to load the networks, if that was not begun before."""
        if self._size is None:
            self._size = self._pool.submit(self._load)

    def submit(self, waiting: Collection[batches.Waiting]) -> None:
        """Begin to encode; the result of the batch before must have been taken. Nothing is loaded for no pictures."""
        if waiting:
            self.load()
            self._flying = self._pool.submit(self._encode, list(waiting))

    def is_done(self) -> bool:
        """Whether `result` would not wait."""
        return self._flying is None or self._flying.done()

    def result(self) -> batches.Results:
        """Wait for what was submitted last, and give what the networks said.

        Raises:
            ModelError, DeviceUnavailable: if the networks could not be loaded.
        """
        flying, self._flying = self._flying, None
        return batches.Results() if flying is None else flying.result()

    def _load(self) -> batches.BatchSize:
        largest = self._chosen or min(LARGEST_DEFAULT_BATCH, self._tasks.largest_batch())
        return batches.BatchSize(largest, self._tell)

    def _encode(self, waiting: list[batches.Waiting]) -> batches.Results:
        assert self._size is not None  # noqa: S101 - `submit` began to load, and one thread does one after the other
        return batches.encode(waiting, self._tasks, self._size.result())

    def _tell(self, size: int) -> None:
        self.notices.append(f"out of memory: going on with batches of {size}")
