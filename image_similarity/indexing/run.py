"""One run: what is known, what waits for the network, what was counted; stored batch by batch.

Three things happen at once: the loader's threads read and decode, the network's thread encodes a batch, and this thread
collects the next one and stores the one before. Batches are stored in order, each with what it adds to the account.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from image_similarity.errors import DatabaseError
from image_similarity.events import Failed, Listener, Notice, Progress
from image_similarity.indexing import batches, loader, packing, sources, taskset
from image_similarity.indexing.network import LARGEST_DEFAULT_BATCH, NetworkThread
from image_similarity.indexing.plan import decide
from image_similarity.pictures.names import to_text
from image_similarity.pictures.walk import Entry, FileEntry
from image_similarity.settings import IndexOptions
from image_similarity.store import audit, runs, sealing
from image_similarity.store import batch as store
from image_similarity.store.catalog import Catalog
from image_similarity.values import Failure, Preprocess, RunStatus, Skipped

if TYPE_CHECKING:
    from sqlalchemy import Connection

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

    def add(self, other: Account) -> None:
        """Add what one batch counted."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class Batch:
    """What is stored together: rows, the contents among them that wait for the network, and what they count.

    `again` holds contents that the network has in the batch before: should it refuse them, they are tried once more.
    """

    rows: store.BatchRows = field(default_factory=store.BatchRows)
    waiting: dict[str, batches.Waiting] = field(default_factory=dict)
    again: dict[str, loader.Loaded] = field(default_factory=dict)
    account: Account = field(default_factory=Account)

    def __len__(self) -> int:
        """The number of entries that were read or left out."""
        return len(self.rows.files) + len(self.rows.failures) + len(self.rows.skipped)


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
                self._skip(entry)
            else:
                self._fail(entry, self.batch)
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
            self._skip(outcome)
        elif isinstance(outcome, Failure):
            self._fail(outcome, self.batch)
        elif isinstance(outcome, loader.Refused):
            self._refuse(outcome.failure, outcome.sha256, self.batch)
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

    def _skip(self, skipped: Skipped) -> None:
        self.batch.account.skipped[skipped.kind] += 1
        self.batch.rows.skipped.append(skipped)

    def _fail(self, failure: Failure, batch: Batch) -> None:
        batch.account.failed += 1
        batch.rows.failures.append(failure)
        self.on_event(Failed(replace(failure, source=self.source, run_id=self.run_id)))

    def _refuse(self, failure: Failure, sha256: str, batch: Batch) -> None:
        """Record a failure of a file whose bytes were read: where they are others than before, those are history."""
        self._fail(failure, batch)
        before = self.known.file(failure.path)
        if before is not None and self.known.images.get(sha256) != before.image_id:
            batch.rows.overwritten.append(failure.path)

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
        rows = self._finished_rows(batch, results)
        batch.account.embedded += len({sha256 for _, sha256, _ in results.vectors})
        self.account.add(batch.account)
        if len(batch):
            account = self._account()
            contents = len(self.known.images)
            with self.catalog.writing() as connection:
                before = sealing.marks(connection)
                store.write_batch(connection, self.run_id, self.source_id, rows, self.known)
                self._seal(connection, before, rows)
                packing.pack_completed(connection, contents, len(self.known.images))
                runs.save_account(connection, self.run_id, account)
            self._saved = account
            self.hashed += len(rows.hashes)
        self.on_event(
            Progress(self.account.seen, self.total, self.account.embedded, self.account.failed)
        )

    def _seal(
        self, connection: Connection, before: Mapping[str, int], rows: store.BatchRows
    ) -> None:
        """Append what was written to the audit chain; a batch of files left out or unchanged writes none of it."""
        ids = self.known.images
        labels: dict[int, list[int]] = {}
        for model, sha256, _ in rows.scenes:
            labels.setdefault(model, []).append(ids[sha256])
        hashed = [ids[sha256] for sha256, *_ in rows.hashes]
        sealed = sealing.seal_since(connection, before, labels=labels, pdq=hashed)
        if sealed:
            audit.append(connection, "batch", {"run": self.run_id, "rows": sealed})

    def _finished_rows(self, batch: Batch, results: batches.Results) -> store.BatchRows:
        """The rows of the batch with the vectors in, without the contents that could not be encoded; counts them."""
        rows = batch.rows
        rows.vectors, rows.scenes = results.vectors, results.scenes
        rows.hashes = [
            (each.sha256, each.pdq.quality, each.pdq.hash)
            for each in batch.waiting.values()
            if each.pdq is not None and each.sha256 not in results.refused
        ]
        rows.thumbnails = {
            each.sha256: each.thumbnail
            for each in batch.waiting.values()
            if each.thumbnail is not None and each.sha256 not in results.refused
        }
        rows.contents = [c for c in rows.contents if c.digests.sha256 not in results.refused]
        batch.account.partial += sum(content.facts.partial for content in rows.contents)
        files, rows.files = rows.files, []
        counted: set[str] = set()
        for file in files:
            if file.sha256 in results.refused:
                error, message = results.refused[file.sha256]
                stamp = file.mtime_ns if file.settled else None
                failure = Failure(
                    file.path,
                    "embed",
                    error,
                    message,
                    size=file.size,
                    mtime_ns=stamp,
                    sha256=file.sha256,
                )
                self._refuse(failure, file.sha256, batch)
                continue
            rows.files.append(file)
            waiting = batch.waiting.get(file.sha256)
            # A content that lacked its PDQ hash or thumbnail alone is none that a model had not seen.
            beside = {store.PDQ, store.THUMBNAIL}
            encoded = waiting is not None and not waiting.lacking <= beside
            encoded = encoded and file.sha256 not in counted
            self._count(file, batch.account, encoded=encoded)
            counted.add(file.sha256)
        return rows

    def _count(self, file: store.SeenFile, account: Account, *, encoded: bool) -> None:
        before = self.known.file(file.path)
        image_id = self.known.images.get(file.sha256)
        if encoded:
            account.new += 1
        elif before is not None and before.image_id == image_id:
            account.unchanged += 1
        else:
            account.duplicate += 1
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
                places = [file for path in vanished if (file := self.known.file(path)) is not None]
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
        others = [entry for entry in entries if type(entry) is not FileEntry]
        closed = [e.path for e in others if isinstance(e, Failure)]
        closed += [e.path for e in others if isinstance(e, Skipped) and e.rule == "excluded"]
        if "" in closed:
            return []
        seen = {entry.path for entry in entries}
        only = None if place.only is None else to_text(place.only.name)
        prefixes = tuple(path + "/" for path in closed)
        recorded = (self.known.files, self.known.failed, self.known.skipped)
        missing = {path for paths in recorded for path in paths if path not in seen}
        return sorted(
            path for path in missing if only in (None, path) and not path.startswith(prefixes)
        )

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
