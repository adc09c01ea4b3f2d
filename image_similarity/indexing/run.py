"""One run: what is known, what waits for the network, what was counted; stored batch by batch."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from image_similarity.errors import DatabaseError
from image_similarity.events import Failed, Listener, Notice, Progress
from image_similarity.indexing import batches, loader, sources, taskset
from image_similarity.indexing.plan import decide
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
LARGEST_DEFAULT_BATCH = 64
MOST_WORKERS = 8
# Fewer vanished files than this are no sign of another disk.
MANY_VANISHED = 10

Stop = Callable[[], bool]


@dataclass(slots=True)
class Account:
    """Where each entry went; see `RunReport` for the words."""

    new: int = 0
    duplicate: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    moved: int = 0
    gone: int = 0
    partial: int = 0
    embedded: int = 0
    bytes_read: int = 0

    @property
    def seen(self) -> int:
        """Every entry that was counted, in whichever class."""
        return self.new + self.duplicate + self.unchanged + self.failed + sum(self.skipped.values())


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
    ) -> None:
        self.catalog, self.run_id = catalog, run_id
        self.source_id, self.source = source_id, source
        self.options, self.tasks, self.known, self.on_event = options, tasks, known, on_event
        self.total = 0
        self.account = Account()
        self._saved: dict[str, Any] = {}
        self.waiting: dict[str, batches.Waiting] = {}
        self.rows = store.BatchRows()
        self.arrived: Counter[int] = Counter()
        self._size: batches.BatchSize | None = None
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
                if self._take_known(entry):
                    yield entry  # type: ignore[misc]  # only a FileEntry is left to be read

        workers = self.options.workers or min(MOST_WORKERS, os.cpu_count() or 1)
        depth = max(workers, BATCHES_AHEAD * (self.options.batch_size or LARGEST_DEFAULT_BATCH))
        max_pixels = int(self.options.max_megapixels * 1_000_000)

        def load_one(entry: FileEntry) -> loader.Outcome:
            return loader.load(entry, self._wanted, max_pixels=max_pixels)

        read_ahead = loader.read_ahead(to_read(), load_one, workers=workers, depth=depth)
        # Closed also when storing fails: no thread may go on reading evidence for a run that has ended.
        with closing(read_ahead) as outcomes:
            for outcome in outcomes:
                self._take(outcome)
                if self._batch_is_due():
                    self.flush()
        self.flush()
        return stopped

    def _take_known(self, entry: Entry) -> bool:
        """Count an entry whose outcome needs no reading; True if the file must be read."""
        if isinstance(entry, Skipped):
            self._skip(entry)
        elif isinstance(entry, Failure):
            self._fail(entry)
        else:
            decision = decide(
                entry,
                self.known,
                rehash=self.options.rehash,
                retry_failed=self.options.retry_failed,
            )
            if decision == "read":
                return True
            if decision == "unchanged":
                self.account.unchanged += 1
            elif decision == "skipped":
                self.account.skipped[self.known.skipped[entry.path].kind] += 1
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
            self._skip(outcome)
        elif isinstance(outcome, Failure):
            self._fail(outcome)
        elif isinstance(outcome, loader.Refused):
            self._refuse(outcome.failure, outcome.sha256)
        else:
            self._take_loaded(outcome)

    def _take_loaded(self, loaded: loader.Loaded) -> None:
        file = loaded.file
        self.account.bytes_read += file.size
        image_id = self.known.images.get(file.sha256)
        lacking = self.tasks.all_keys() if image_id is None else self.known.lacking(image_id)
        if lacking and file.sha256 not in self.waiting and loaded.content is not None:
            self.waiting[file.sha256] = batches.Waiting(
                file.sha256, frozenset(lacking), loaded.pixels
            )
            if image_id is None:
                self.rows.contents.append(loaded.content)
        self.rows.files.append(file)

    def _skip(self, skipped: Skipped) -> None:
        self.account.skipped[skipped.kind] += 1
        self.rows.skipped.append(skipped)

    def _fail(self, failure: Failure) -> None:
        self.account.failed += 1
        self.rows.failures.append(failure)
        self.on_event(Failed(replace(failure, source=self.source, run_id=self.run_id)))

    def _refuse(self, failure: Failure, sha256: str) -> None:
        """Record a failure of a file whose bytes were read: where they are others than before, those are history."""
        self._fail(failure)
        before = self.known.files.get(failure.path)
        if before is not None and self.known.images.get(sha256) != before.image_id:
            self.rows.overwritten.append(failure.path)

    # -- storing ------------------------------------------------------------------------------------------------

    def _batch_is_due(self) -> bool:
        rows = len(self.rows.files) + len(self.rows.failures) + len(self.rows.skipped)
        if rows == 0:
            return False
        waited = time.monotonic() - self._last_flush
        return (
            len(self.waiting) >= self._batch_size()
            or rows >= ROWS_PER_BATCH
            or waited > SECONDS_PER_BATCH
        )

    def _batch_size(self) -> int:
        if self._size is None:
            if not self.waiting:
                return 1
            largest = self.options.batch_size or min(
                LARGEST_DEFAULT_BATCH, self.tasks.largest_batch()
            )
            self._size = batches.BatchSize(largest, self._tell_batch_size)
        return self._size.size

    def _tell_batch_size(self, size: int) -> None:
        self.on_event(Notice(f"out of memory: going on with batches of {size}"))

    def flush(self) -> None:
        """Encode what waits and store one batch in one transaction."""
        results = batches.Results()
        if self.waiting:
            self._batch_size()
            assert self._size is not None  # noqa: S101 - set by the line above
            results = batches.encode(list(self.waiting.values()), self.tasks, self._size)
        rows = self._finished_rows(results)
        self.account.embedded += len({sha256 for _, sha256, _ in results.vectors})
        if rows.files or rows.failures or rows.skipped:
            account = self._account()
            with self.catalog.writing() as connection:
                store.write_batch(connection, self.run_id, self.source_id, rows, self.known)
                runs.save_account(connection, self.run_id, account)
            self._saved = account
        self.waiting, self.rows = {}, store.BatchRows()
        self._last_flush = time.monotonic()
        self.on_event(
            Progress(self.account.seen, self.total, self.account.embedded, self.account.failed)
        )

    def _finished_rows(self, results: batches.Results) -> store.BatchRows:
        """The rows of the batch with the vectors in, without the contents that could not be encoded; counts them."""
        rows = self.rows
        rows.vectors, rows.scenes = results.vectors, results.scenes
        rows.contents = [c for c in rows.contents if c.digests.sha256 not in results.refused]
        self.account.partial += sum(content.facts.partial for content in rows.contents)
        files, rows.files = rows.files, []
        counted: set[str] = set()
        for file in files:
            if file.sha256 in results.refused:
                error, message = results.refused[file.sha256]
                stamp = file.mtime_ns if file.settled else None
                failure = Failure(
                    file.path, "embed", error, message, size=file.size, mtime_ns=stamp
                )
                self._refuse(failure, file.sha256)
                continue
            rows.files.append(file)
            self._count(file, encoded=file.sha256 in self.waiting and file.sha256 not in counted)
            counted.add(file.sha256)
        return rows

    def _count(self, file: store.SeenFile, *, encoded: bool) -> None:
        before = self.known.files.get(file.path)
        image_id = self.known.images.get(file.sha256)
        if encoded:
            self.account.new += 1
        elif before is not None and before.image_id == image_id:
            self.account.unchanged += 1
        else:
            self.account.duplicate += 1
        if image_id is not None and (before is None or before.image_id != image_id):
            self.arrived[image_id] += 1

    # -- ending -------------------------------------------------------------------------------------------------

    def finish(
        self, entries: Sequence[Entry], place: sources.Place, status: RunStatus, *, complete: bool
    ) -> None:
        """Close what a completed walk no longer found, and the run."""
        with self.catalog.writing() as connection:
            if complete:
                vanished = self._vanished(entries, place)
                places = [self.known.files[path] for path in vanished if path in self.known.files]
                left = Counter(file.image_id for file in places)
                self.account.moved = (left & self.arrived).total()
                self._warn_of_vanished(len(places))
                self.account.gone = store.close_vanished(
                    connection, self.run_id, self.source_id, vanished, self.known
                )
            runs.save_account(connection, self.run_id, self._account(), status)

    def _warn_of_vanished(self, vanished: int) -> None:
        """Say when most of a source is gone: more often another disk at its place than a disk that was emptied."""
        if vanished >= MANY_VANISHED and 2 * vanished > len(self.known.files):
            self.on_event(
                Notice(
                    f"{vanished} of {len(self.known.files)} files of {self.source} are gone: "
                    "if another disk is mounted there, index it under its own --source NAME"
                )
            )

    def _vanished(self, entries: Sequence[Entry], place: sources.Place) -> list[str]:
        """The recorded paths that the walk did not meet, but for those below a folder that could not be listed."""
        recorded = self.known.files.keys() | self.known.failed.keys() | self.known.skipped.keys()
        if place.only is not None:
            recorded = recorded & {to_text(place.only.name)}
        seen = {entry.path for entry in entries}
        closed = [e.path for e in entries if isinstance(e, Failure)]
        closed += [e.path for e in entries if isinstance(e, Skipped) and e.rule == "excluded"]
        if "" in closed:
            return []
        prefixes = tuple(path + "/" for path in closed)
        return sorted(path for path in recorded - seen if not path.startswith(prefixes))

    def give_up(self, status: RunStatus) -> None:
        """Close the run with the account of what was stored, if the database still takes that."""
        try:
            with self.catalog.writing() as connection:
                runs.save_account(connection, self.run_id, self._saved, status)
        except DatabaseError:
            # The error that ended the run is the one to tell; the next run closes this one.
            return

    def _account(self) -> dict[str, Any]:
        account = {
            **asdict(self.account),
            "skipped": dict(self.account.skipped),
            "seen": self.account.seen,
        }
        return {**account, "seconds": round(time.monotonic() - self._began, 3)}
