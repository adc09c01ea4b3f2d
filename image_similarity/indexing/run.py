"""One run: what is known, what waits for the network, what was counted; stored batch by batch.

Three things happen at once: the loader's threads read and decode, the network's thread encodes a batch, and this thread
collects the next one and stores the one before. Batches are stored in order, each with what it adds to the account.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from image_similarity.errors import DatabaseError
from image_similarity.events import Failed, Listener, Notice, Progress
from image_similarity.indexing import batches, loader, packing, sources, taking, taskset
from image_similarity.indexing.network import LARGEST_DEFAULT_BATCH, NetworkThread
from image_similarity.indexing.plan import decide
from image_similarity.indexing.taking import Account, Batch
from image_similarity.pictures.names import to_text
from image_similarity.pictures.walk import Entry, FileEntry
from image_similarity.settings import IndexOptions
from image_similarity.store import batch as store
from image_similarity.store import runs
from image_similarity.store.catalog import Catalog
from image_similarity.values import Failure, Preprocess, RunStatus, Skipped

# Read ahead: this many batches of prepared pictures may wait for the network.
BATCHES_AHEAD = 3
# What was done is stored at least this often, even when a slow disk fills no batch.
SECONDS_PER_BATCH = 10.0
# Rows without a vector (duplicates, failures, skipped files) that make a batch of their own.
ROWS_PER_BATCH = 1024
MOST_WORKERS = 8
# Fewer vanished files than this are no sign of another disk.
MANY_VANISHED = 10

Stop = Callable[[], bool]


class Run:
    """The state of one run: what is known, what waits for the network, what was counted."""

    def __init__(
        self,
        catalog: Catalog,
        run_id: int,
        source_id: int,
        source: str,
        options: IndexOptions,
        tasks: taskset.TaskSet,
        known: store.Knowledge,
        on_event: Listener,
        *,
        careful: bool = False,
    ) -> None:
        self.catalog, self.run_id = catalog, run_id
        self.source_id, self.source = source_id, source
        self.options, self.tasks, self.known, self.on_event = options, tasks, known, on_event
        self.total = self.hashed = 0
        self.careful = careful
        self.account = Account()
        self._knows_contents = False
        self._saved: dict[str, Any] = {}
        self.batch = Batch()
        self._flying: Batch | None = None
        self.network = NetworkThread(tasks, options.batch_size)
        self.arrived: Counter[int] = Counter()
        self._began = self._last_flush = time.monotonic()

    # -- reading ------------------------------------------------------------------------------------------------

    def take_all(self, entries: Sequence[Entry], stop: Stop) -> bool:
        """Take every entry; True if it was asked to stop before the end. What was read is stored either way."""
        stopped = False

        def to_read() -> Iterator[FileEntry]:
            nonlocal stopped
            for entry in entries:
                if stop():
                    stopped = True
                    return
                if self._must_be_read(entry):
                    self._know_contents()
                    yield entry  # type: ignore[misc]  # only a FileEntry is left to be read

        workers = self.options.workers or min(MOST_WORKERS, os.cpu_count() or 1)
        depth = max(workers, BATCHES_AHEAD * (self.options.batch_size or LARGEST_DEFAULT_BATCH))
        max_pixels = int(self.options.max_megapixels * 1_000_000)

        def load_one(entry: FileEntry) -> loader.Outcome:
            return loader.load(entry, self._wanted, max_pixels=max_pixels, careful=self.careful)

        read_ahead = loader.read_ahead(to_read(), load_one, workers=workers, depth=depth)
        # Closed also when storing fails: no thread may go on reading evidence for a run that has ended.
        with closing(self.network), closing(read_ahead) as outcomes:
            for outcome in outcomes:
                self._take(outcome)
                if self._batch_is_due():
                    self.flush()
                elif self._flying is not None and self.network.is_done():
                    self._store(self._landed())
            self.flush()
            self._store(self._landed())
        return stopped

    def _know_contents(self) -> None:
        """Load the ids of all contents, which a run that reads nothing does without."""
        if not self._knows_contents:
            with self.catalog.reading() as connection:
                self.known.images = store.load_images(connection)
            self._knows_contents = True

    def _must_be_read(self, entry: Entry) -> bool:
        """Whether a file must be read; an entry whose outcome is known without that is counted."""
        if not isinstance(entry, FileEntry):
            if isinstance(entry, Skipped):
                self.batch.skip(entry)
            else:
                self._fail(entry)
            return False
        options, known = self.options, self.known
        decision = decide(entry, known, rehash=options.rehash, retry_failed=options.retry_failed)
        if decision == "unchanged":
            self.account.unchanged += 1
        elif decision == "read":
            return True
        elif decision == "skipped":
            self.account.skipped[known.skipped[entry.path].kind] += 1
        else:
            self.account.failed += 1
        return False

    def _wanted(self, sha256: str) -> Collection[Preprocess]:
        """Which preprocessings a content still needs; asked from the loader's threads."""
        image_id = self.known.images.get(sha256)
        lacking = self.tasks.all_keys() if image_id is None else self.known.lacking(image_id)
        return self.tasks.preprocessings(lacking)

    def _take(self, outcome: loader.Outcome) -> None:
        if isinstance(outcome, Skipped):
            self.batch.skip(outcome)
        elif isinstance(outcome, Failure):
            self._fail(outcome)
        elif isinstance(outcome, loader.Refused):
            self.batch.refuse(outcome.failure, outcome.sha256, self.known)
            self._say_failed(outcome.failure)
        else:
            self._take_loaded(outcome)

    def _take_loaded(self, loaded: loader.Loaded) -> None:
        file = loaded.file
        self.batch.account.bytes_read += file.size
        if loaded.content is not None and file.sha256 not in self.batch.waiting:
            if self._flying is not None and file.sha256 in self._flying.waiting:
                self.batch.again.setdefault(file.sha256, loaded)
            else:
                self._wait(loaded, loaded.content)
        self.batch.rows.files.append(file)

    def _wait(self, loaded: loader.Loaded, content: store.NewContent) -> None:
        """Let a content wait for the network, if it still lacks anything."""
        sha256 = loaded.file.sha256
        image_id = self.known.images.get(sha256)
        lacking = self.tasks.all_keys() if image_id is None else self.known.lacking(image_id)
        if not lacking:
            return
        self.network.load()
        self.batch.waiting[sha256] = batches.Waiting(
            sha256, frozenset(lacking), loaded.pixels, loaded.pdq, loaded.thumbnail
        )
        if image_id is None:
            self.batch.rows.contents.append(content)

    def _fail(self, failure: Failure) -> None:
        self.batch.fail(failure)
        self._say_failed(failure)

    def _say_failed(self, failure: Failure) -> None:
        self.on_event(Failed(replace(failure, source=self.source, run_id=self.run_id)))

    # -- storing ------------------------------------------------------------------------------------------------

    def _batch_is_due(self) -> bool:
        rows = len(self.batch)
        if rows == 0:
            return False
        waited = time.monotonic() - self._last_flush
        return (
            len(self.batch.waiting) >= self.network.batch_size
            or rows >= ROWS_PER_BATCH
            or waited > SECONDS_PER_BATCH
        )

    def flush(self) -> None:
        """Hand the batch to the network, and store the one before while it works."""
        landed = self._landed()
        batch, self.batch = self.batch, Batch()
        self.network.submit(batch.waiting.values())
        self._flying = batch
        self._last_flush = time.monotonic()
        self._store(landed)

    def _landed(self) -> tuple[Batch, batches.Results] | None:
        """Wait for the batch that the network has; None if it has none."""
        if self._flying is None:
            return None
        results = self.network.result()
        flying, self._flying = self._flying, None
        while self.network.notices:
            self.on_event(Notice(self.network.notices.pop(0)))
        for sha256, loaded in self.batch.again.items():
            if sha256 in results.refused and loaded.content is not None:
                self._wait(loaded, loaded.content)
        self.batch.again = {}
        return flying, results

    def _store(self, landed: tuple[Batch, batches.Results] | None) -> None:
        """Store one batch and the account that it leads to, in one transaction."""
        if landed is None:
            return
        batch, results = landed
        for failure in batch.finish(results, self.known):
            self._say_failed(failure)
        rows = batch.rows
        if len(batch):
            with self.catalog.writing() as connection:
                store.follow(connection, rows, self.known)
                self.arrived += batch.count(self.known)
                self.account.add(batch.account)
                account = self._account()
                store.write_sealed(connection, self.run_id, self.source_id, rows, self.known)
                packing.pack_completed(
                    connection, [self.known.images[c.digests.sha256] for c in rows.contents]
                )
                runs.save_account(connection, self.run_id, account)
            self._saved = account
            self.hashed += len(rows.hashes)
        self.on_event(
            Progress(self.account.seen, self.total, self.account.embedded, self.account.failed)
        )

    # -- ending -------------------------------------------------------------------------------------------------

    def finish(
        self, entries: Sequence[Entry], place: sources.Place, status: RunStatus, *, complete: bool
    ) -> None:
        """Close what a completed walk no longer found, and the run."""
        with self.catalog.writing() as connection:
            if complete:
                only = None if place.only is None else to_text(place.only.name)
                vanished = taking.vanished(entries, only, self.known)
                places = [file for path in vanished if (file := self.known.file(path)) is not None]
                left = Counter(file.image_id for file in places)
                self.account.moved = (left & self.arrived).total()
                if warning := warning_of_vanished(len(places), len(self.known.files), self.source):
                    self.on_event(Notice(warning))
                self.account.gone = store.close_vanished(
                    connection, self.run_id, self.source_id, vanished, self.known
                )
            runs.save_account(connection, self.run_id, self._account(), status)

    def give_up(self, status: RunStatus) -> None:
        """Close the run with the account of what was stored, if the database still takes that."""
        try:
            with self.catalog.writing() as connection:
                runs.save_account(connection, self.run_id, self._saved, status)
        except DatabaseError:
            # The error that ended the run is the one to tell; the next run closes this one.
            return

    def _account(self) -> dict[str, Any]:
        return {**self.account.as_json(), "seconds": round(time.monotonic() - self._began, 3)}


def warning_of_vanished(vanished: int, known: int, source: str) -> str:
    """What to say when most of a source is gone: more often another disk at its place than a disk that was emptied."""
    if vanished < MANY_VANISHED or 2 * vanished <= known:
        return ""
    return (
        f"{vanished} of {known} files of {source} are gone: "
        "if another disk is mounted there, index it under its own --source NAME"
    )
