"""The flow of a run: look, begin, walk, take every entry, close; the next run completes what an interruption left."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import InvalidSetting, NothingToIndex
from image_similarity.events import Finished, Listener, Notice, Started
from image_similarity.indexing import packing, sources, taskset
from image_similarity.indexing import recorded as records
from image_similarity.indexing.run import Run, Stop
from image_similarity.matching import pdq
from image_similarity.pictures import mount
from image_similarity.pictures.names import to_text
from image_similarity.pictures.walk import Entry, walk
from image_similarity.settings import IndexOptions
from image_similarity.store import batch as store
from image_similarity.store import runs
from image_similarity.store import sources as stored_sources
from image_similarity.store.catalog import Catalog
from image_similarity.values import Location, ModelInfo, RunReport, RunStatus

# Entries of a walk between two questions whether to stop: a fraction of a second.
ENTRIES_PER_QUESTION = 1024


def check_folder(folder: Path, database: Location) -> None:
    """Refuse a folder that cannot be indexed into this database, before the database is created.

    Raises:
        FolderMissing, DatabaseInsideEvidence.
    """
    sources.locate(folder, database)


def check_options(options: IndexOptions) -> None:
    """Refuse settings with which nothing can be indexed, before the database is created.

    Raises:
        InvalidSetting, ExtraMissing, ModelError.
    """
    resolve(options)


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
    return index_place(
        catalog, place, options, kind="index", source=source, on_event=on_event, stop=stop
    )


def index_place(
    catalog: Catalog,
    place: sources.Place,
    options: IndexOptions,
    *,
    kind: str,
    source: str | None,
    on_event: Listener,
    stop: Stop,
) -> RunReport:
    """Do one run over one source, from the first look to the closed account."""
    resolved = resolve(options)
    avoid = [catalog.path] if isinstance(catalog.path, Path) else []

    def look() -> Iterator[Entry]:
        return walk(place.target, exclude=options.exclude, avoid=avoid)

    # Before anything is recorded: a folder that is not mounted must not become a source.
    refuse_empty(look(), place.root)
    environment = records.environment(
        [spec for spec, *_ in resolved], device=options.device, runtime=options.runtime
    )
    mounted = mount.state(place.root)
    recorded = {**environment, "mount": None if mounted is None else asdict(mounted)}
    with catalog.writing() as connection:
        source_id, name = stored_sources.enter(connection, to_text(str(place.root)), source)
        settings = sources.as_options(place, records.settings(options))
        # A picture may have ended the run before: this one decodes no picture in its own process.
        careful = runs.refuse_open(connection, source_id) > 0
        run_id = runs.begin(connection, runs.RunStart(kind, source_id, settings, recorded))
        tasks = taskset.register(connection, resolved, options)
        with _collector_paused():
            known = store.load_knowledge(
                connection,
                source_id,
                tasks.vector_models,
                tasks.scene_models,
                images=False,
                pdq=tasks.pdq,
                with_thumbnails=tasks.thumbnails,
            )
    run = Run(catalog, run_id, source_id, name, options, tasks, known, on_event, careful=careful)
    try:
        if careful:
            on_event(Notice("a run was killed: this one decodes each picture in another process"))
        # Only now that no other run can add what this walk does not see, and would then call gone.
        entries, stopped = listed(look(), stop)
        if not stopped:
            refuse_empty(iter(entries), place.root)
        run.total = len(entries)
        on_event(Started(name, to_text(str(place.root)), len(entries)))
        stopped = stopped or run.take_all(entries, stop)
        if not stopped:
            # What the batches could not: rows that came late into a range, a database from before there were packs.
            packing.pack(catalog)
        status: RunStatus = "partial" if run.account.failed else "done"
        run.finish(entries, place, "interrupted" if stopped else status, complete=not stopped)
    except BaseException as error:
        run.give_up("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    if run.hashed:
        # Beside the account: a picture that got nothing else counts as unchanged there.
        on_event(Notice(f"{name}: {run.hashed} pictures got a PDQ hash"))
    report = catalog.run(run_id)
    on_event(Finished(report))
    return report


def resolve(options: IndexOptions) -> list[tuple[ModelSpec, ModelInfo, bool, bool]]:
    """Check the settings and find the models; see `taskset.resolve`."""
    _check(options)
    if options.pdq:
        pdq.require()
    return taskset.resolve(options)


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


def refuse_empty(entries: Iterator[Entry], root: object) -> None:
    """Refuse a folder without any entry.

    Raises:
        NothingToIndex.
    """
    if next(entries, None) is None:
        raise NothingToIndex(
            f"{root} holds no file; nothing was marked as gone",
            hint="is the evidence mounted?",
        )


def listed(found: Iterator[Entry], stop: Stop) -> tuple[list[Entry], bool]:
    """All entries of a walk, and whether it was stopped before its end."""
    entries: list[Entry] = []
    with _collector_paused():
        while some := list(islice(found, ENTRIES_PER_QUESTION)):
            entries += some
            if len(some) == ENTRIES_PER_QUESTION and stop():
                return entries, True
    return entries, False


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Within it no cyclic garbage is looked for: among 100,000 new tuples that takes a quarter of a re-scan, in vain.

    Mercurial reads its lists of files in the same way (`util.nogc`).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
