"""The flow of a run: walk, decide, read, encode, store; interrupted at any point, the next run completes it."""

from __future__ import annotations

import math
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from image_similarity.encoding import registry
from image_similarity.errors import (
    DatabaseError,
    ImageSimilarityError,
    InvalidSetting,
    ModelError,
    NothingToIndex,
    UnknownSource,
    UsageError,
    WeightsChanged,
)
from image_similarity.events import Failed, Finished, Listener, Notice, Progress, Started
from image_similarity.indexing import batches, loader, sources, taskset
from image_similarity.indexing.plan import decide
from image_similarity.pictures.names import from_text, to_text
from image_similarity.pictures.walk import Entry, FileEntry, walk
from image_similarity.settings import IndexOptions
from image_similarity.store import batch as store
from image_similarity.store import runs
from image_similarity.store.catalog import Catalog
from image_similarity.values import Failure, ModelInfo, Preprocess, RunReport, RunStatus, Skipped

# Read ahead: this many batches of prepared pictures may wait for the network.
BATCHES_AHEAD = 3
# What was done is stored at least this often, even when a slow disk fills no batch.
SECONDS_PER_BATCH = 10.0
# Rows without a vector (duplicates, failures, skipped files) that make a batch of their own.
ROWS_PER_BATCH = 1024
LARGEST_DEFAULT_BATCH = 64
# Entries of a walk between two questions whether to stop: a fraction of a second.
ENTRIES_PER_QUESTION = 1024
MOST_WORKERS = 8

Stop = Callable[[], bool]


def check_folder(folder: Path, database: Path) -> None:
    """Refuse a folder that cannot be indexed into this database, before the database is created.

    Raises:
        FolderMissing, DatabaseInsideEvidence.
    """
    sources.locate(folder, database)


def index_folder(
    catalog: Catalog,
    folder: Path,
    options: IndexOptions,
    *,
    source: str | None,
    on_event: Listener,
    stop: Stop,
) -> RunReport:
    """Take what is new or changed below a folder into the database; see `Case.index`."""
    place = sources.locate(folder, catalog.path)
    return _run(catalog, place, options, "index", source, on_event, stop)


def refresh_sources(
    catalog: Catalog, names: Sequence[str], options: IndexOptions, *, on_event: Listener, stop: Stop
) -> list[RunReport]:
    """Index known sources again with what their last runs were told; see `Case.refresh`.

    A source that cannot be reached, or whose model is not there, does not keep the others from being refreshed; its
    error is raised at the end.
    """
    known = {source.name: source.root for source in catalog.sources()}
    for name in names:
        if name not in known:
            raise UnknownSource(
                f"{catalog.path} has no source {name!r}",
                hint=f"it has: {', '.join(known) or 'none'}",
            )
    reports: list[RunReport] = []
    first_error: ImageSimilarityError | None = None
    for name in names or known:
        if stop():
            break
        for target, recorded in _recorded_runs(catalog, name, known[name]):
            try:
                again = _merge(options, recorded)
                place = sources.locate(target, catalog.path)
                reports.append(_run(catalog, place, again, "refresh", name, on_event, stop))
            except (UsageError, NothingToIndex, ModelError) as error:
                # Of this source alone; trouble with the database would be that of all others, too.
                on_event(Notice(f"source {name}: {error.message}"))
                first_error = first_error or error
    if first_error is not None:
        raise first_error
    return reports


def _recorded_runs(
    catalog: Catalog, name: str, root: str
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """What to walk again: the whole folder if it ever was walked, else each single picture that was given."""
    with catalog.reading() as connection:
        recorded = runs.latest_options(connection, name)
    folder = Path(from_text(root))
    whole = [options for options in recorded if options.get("only") is None]
    if whole:
        yield folder, whole[0]
        return
    singles = {options["only"]: options for options in reversed(recorded)}
    for only, options in sorted(singles.items()):
        yield folder / from_text(only), options


def _merge(options: IndexOptions, recorded: Mapping[str, Any]) -> IndexOptions:
    return replace(
        options,
        models=tuple(_from_recorded(name) for name in recorded["models"]),
        scenes=None if recorded["scenes"] is None else _from_recorded(recorded["scenes"]),
        weights=None if recorded["weights"] is None else Path(from_text(recorded["weights"])),
        exclude=tuple(recorded["exclude"]),
        max_megapixels=recorded["max_megapixels"],
    )


def _settings(options: IndexOptions) -> dict[str, Any]:
    """The settings as recorded: JSON values, files by their absolute path, so that any later process can repeat it."""
    return {
        **asdict(options),
        "models": [_absolute(name) for name in options.models],
        "scenes": None if options.scenes is None else _absolute(options.scenes),
        "weights": None if options.weights is None else _absolute(str(options.weights)),
        "exclude": list(options.exclude),
    }


def _absolute(name: str) -> str:
    """A model's registered name as it is, a weights file by its absolute path in text form."""
    # In the order of the registry: a file that happens to be called like a model was not the one used.
    is_file = name not in registry.model_names() and Path(name).is_file()
    return to_text(str(Path(name).absolute())) if is_file else name


def _from_recorded(name: str) -> str:
    path = from_text(name)
    return path if Path(path).is_absolute() else name


def _environment() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("torch", "torchvision", "numpy", "pillow", "pi-heif", "sqlalchemy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _check(options: IndexOptions) -> None:
    if options.batch_size is not None and options.batch_size < 1:
        raise InvalidSetting(
            f"a batch of {options.batch_size} pictures", hint="--batch-size takes 1 or more"
        )
    if options.workers is not None and options.workers < 1:
        raise InvalidSetting(f"{options.workers} workers", hint="--workers takes 1 or more")
    if not 0 < options.max_megapixels < math.inf:
        raise InvalidSetting(
            f"a limit of {options.max_megapixels} megapixels",
            hint="--max-megapixels takes a number above 0",
        )


def _run(
    catalog: Catalog,
    place: sources.Place,
    options: IndexOptions,
    kind: str,
    source: str | None,
    on_event: Listener,
    stop: Stop,
) -> RunReport:
    _check(options)
    resolved = taskset.resolve(options)
    if kind == "refresh":
        _refuse_other_models(catalog, [info for _, info, _, _ in resolved])

    def look() -> Iterator[Entry]:
        return walk(place.target, exclude=options.exclude, avoid=[catalog.path])

    # Before anything is recorded: a folder that is not mounted must not become a source.
    _first_of(look(), place)
    with catalog.writing() as connection:
        source_id, name = sources.enter(connection, place, source)
        settings = sources.as_options(place, _settings(options))
        run_id = runs.begin(connection, runs.RunStart(kind, source_id, settings, _environment()))
        tasks = taskset.register(connection, resolved, options.device)
        known = store.load_knowledge(connection, source_id, tasks.vector_models, tasks.scene_models)
    job = _Job(catalog, run_id, source_id, options, tasks, known, on_event)
    try:
        # Only now that no other run can add what this walk does not see, and would then call gone.
        entries, stopped = _list(look(), stop)
        if not stopped:
            _first_of(iter(entries), place)
        job.total = len(entries)
        on_event(Started(name, to_text(str(place.root)), len(entries)))
        stopped = stopped or job.take_all(entries, stop)
        status: RunStatus = "partial" if job.account.failed else "done"
        job.finish(entries, place, "interrupted" if stopped else status, complete=not stopped)
    except BaseException as error:
        job.give_up("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    report = catalog.run(run_id)
    on_event(Finished(report))
    return report


def _refuse_other_models(catalog: Catalog, wanted: Sequence[ModelInfo]) -> None:
    """Refuse what stands where a recorded model was: a refresh must not begin a second set of vectors by itself.

    Raises:
        WeightsChanged.
    """
    recorded = {info.fingerprint for info in catalog.models()}
    for info in wanted:
        if info.fingerprint not in recorded:
            raise WeightsChanged(
                f"the model {info.name} is not the one that this source was indexed with",
                hint="restore its weights; or index the source again with -m to add vectors of the new model",
            )


def _first_of(entries: Iterator[Entry], place: sources.Place) -> None:
    """Refuse a folder without any entry.

    Raises:
        NothingToIndex.
    """
    if next(entries, None) is None:
        raise NothingToIndex(
            f"{place.root} holds no file; nothing was marked as gone",
            hint="is the evidence mounted?",
        )


def _list(found: Iterator[Entry], stop: Stop) -> tuple[list[Entry], bool]:
    """All entries of a walk, and whether it was stopped before its end."""
    entries: list[Entry] = []
    for entry in found:
        entries.append(entry)
        if len(entries) % ENTRIES_PER_QUESTION == 0 and stop():
            return entries, True
    return entries, False


@dataclass(slots=True)
class _Account:
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
        return self.new + self.duplicate + self.unchanged + self.failed + sum(self.skipped.values())


class _Job:
    """The state of one run: what is known, what waits for the network, what was counted."""

    def __init__(
        self,
        catalog: Catalog,
        run_id: int,
        source_id: int,
        options: IndexOptions,
        tasks: taskset.TaskSet,
        known: store.Knowledge,
        on_event: Listener,
    ) -> None:
        self.catalog, self.run_id, self.source_id = catalog, run_id, source_id
        self.options, self.tasks, self.known, self.on_event = options, tasks, known, on_event
        self.total = 0
        self.account = _Account()
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
        self.on_event(Failed(failure))

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
                self.account.gone = store.close_vanished(
                    connection, self.run_id, self.source_id, vanished, self.known
                )
            runs.save_account(connection, self.run_id, self._account(), status)

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
