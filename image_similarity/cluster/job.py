"""The flow of a run on many machines, on the one that began it: as `indexing.job`, with the work given away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from image_similarity import __version__
from image_similarity.cluster import connection as clusters
from image_similarity.cluster import pipeline, places, writing
from image_similarity.cluster.places import Place
from image_similarity.cluster.work import Job, Portion, Written, portions
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import ClusterError, DatabaseError, InvalidSetting
from image_similarity.events import Failed, Finished, Listener, Notice, Progress, Started
from image_similarity.indexing import batches, job, loader, packing, taking, taskset
from image_similarity.indexing import recorded as records
from image_similarity.indexing.network import LARGEST_DEFAULT_BATCH
from image_similarity.indexing.plan import decide
from image_similarity.indexing.run import ROWS_PER_BATCH, Stop, warning_of_vanished
from image_similarity.indexing.taking import Account
from image_similarity.pictures import mount
from image_similarity.pictures.walk import Entry, FileEntry
from image_similarity.settings import ClusterOptions, IndexOptions
from image_similarity.store import batch as store
from image_similarity.store import cluster_runs, runs
from image_similarity.store import sources as stored_sources
from image_similarity.store.catalog import Catalog
from image_similarity.values import Location, RunReport, RunStatus, ServerUrl


def check(given: str | Path, database: Location, options: IndexOptions) -> None:
    """Refuse what cannot be indexed on many machines, before anything is opened.

    Raises:
        InvalidSetting, FolderMissing, ExtraMissing, ModelError.
    """
    _server(database)
    places.locate(given, database)
    job.check_options(options)


def index_on_cluster(
    catalog: Catalog,
    given: str | Path,
    options: IndexOptions,
    cluster: ClusterOptions,
    *,
    source: str | None,
    on_event: Listener,
    stop: Stop,
) -> RunReport:
    """Take what is new or changed at a place into the database, on many machines; see `Case.index_on_cluster`."""
    server = _server(catalog.path)
    place = places.locate(given, server)
    # Weights by their whole path: a worker stands in another folder.
    options = records.repeat(options, records.settings(options))
    resolved = job.resolve(options)
    job.refuse_empty(place.walk(options.exclude), place.root)
    with clusters.opened(cluster) as machines:
        device = _device(options, cluster, machines)
        specs = [spec for spec, *_ in resolved]
        environment = {
            **_environment(specs, options.runtime, device),
            **pipeline.environment(machines, cluster),
            "mount": _mount(place),
        }
        with catalog.writing() as connection:
            source_id, name = stored_sources.enter(connection, place.root, source)
            careful = runs.refuse_open(connection, source_id) > 0
            settings = {**records.settings(options), "only": place.only}
            start = runs.RunStart("index", source_id, settings, environment)
            run_id = runs.begin(connection, start)
            tasks = taskset.register(connection, resolved, replace(options, device=device))
        told = Job(
            server,
            run_id,
            source_id,
            place,
            options,
            tasks,
            careful,
            time.time(),
            __version__,
            cluster.stall_seconds,
        )
        run = _Run(catalog, told, name, cluster, machines, on_event)
        try:
            if careful:
                on_event(
                    Notice("a run was killed: this one decodes each picture in another process")
                )
            stopped = run.take_all(stop)
            if not stopped:
                packing.pack(catalog)
            run.finish(complete=not stopped)
        except BaseException as error:
            stalled = isinstance(error, (KeyboardInterrupt, ClusterError))
            run.give_up("interrupted" if stalled else "failed")
            raise
    report = catalog.run(run_id)
    on_event(Finished(report))
    return report


@dataclass(slots=True)
class _Run:
    """The run as its beginner sees it: what is known, what was walked, and where the workers are."""

    catalog: Catalog
    job: Job
    source: str
    cluster: ClusterOptions
    machines: clusters.Machines
    on_event: Listener
    known: store.Knowledge = field(init=False)
    entries: Sequence[Entry] = ()
    seen: int = 0

    def take_all(self, stop: Stop) -> bool:
        """Give all that must be read to the workers; True if it was asked to stop before the end."""
        place, options = self.job.place, self.job.options
        self.known = self._knowledge()
        self.entries, stopped = job.listed(place.walk(options.exclude), stop)
        if not stopped:
            job.refuse_empty(iter(self.entries), place.root)
        self.on_event(Started(self.source, place.root, len(self.entries)))
        if stopped:
            return True
        to_read, first = self._without_reading()
        size = options.batch_size or LARGEST_DEFAULT_BATCH
        todo = list(portions(to_read, size, first))
        return self._spread(todo, stop) if todo else False

    def _knowledge(self) -> store.Knowledge:
        """What is known of the source. Nobody else writes it while the run is on, so no writer has to wait for this."""
        tasks = self.job.tasks
        with self.catalog.reading() as connection:
            return store.load_knowledge(
                connection,
                self.job.source_id,
                tasks.vector_models,
                tasks.scene_models,
                images=False,
                pdq=tasks.pdq,
                with_thumbnails=tasks.thumbnails,
            )

    def _without_reading(self) -> tuple[list[FileEntry], int]:
        """Store what is known of entries without reading them; gives those to read and the next portion's number."""
        options, known = self.job.options, self.known
        decided = Account()
        to_read: list[FileEntry] = []
        left: list[loader.Outcome] = []
        for entry in self.entries:
            if not isinstance(entry, FileEntry):
                left.append(entry)
                continue
            decision = decide(
                entry, known, rehash=options.rehash, retry_failed=options.retry_failed
            )
            if decision == "read":
                to_read.append(entry)
            elif decision == "unchanged":
                decided.unchanged += 1
            elif decision == "skipped":
                decided.skipped[known.skipped[entry.path].kind] += 1
            else:
                decided.failed += 1
        with self.catalog.writing() as connection:
            writing.account_of_running(connection, self.job.run_id)
            runs.save_account(connection, self.job.run_id, decided.as_json())
        number = 0
        rest = iter(left)
        while some := list(islice(rest, ROWS_PER_BATCH)):
            written = writing.write(self.catalog, self.job, number, some, batches.Results())
            self._tell(written)
            number += 1
        return to_read, number

    def _spread(self, todo: Sequence[Portion], stop: Stop) -> bool:
        found = pipeline.results(self.job, todo, self.cluster, self.machines)
        watched = pipeline.Watched(found, stop=stop, seconds=self.cluster.stall_seconds)
        for written in watched:
            self._tell(written)
        return watched.stopped

    def _tell(self, written: Written) -> None:
        for failure in written.failures:
            said = replace(failure, source=self.source, run_id=self.job.run_id)
            self.on_event(Failed(said))
        # Portions end in any order: where the run is, the latest of them says.
        if written.seen > self.seen:
            self.seen = written.seen
            self.on_event(
                Progress(written.seen, len(self.entries), written.embedded, written.failed)
            )

    def finish(self, *, complete: bool) -> None:
        """Close what a completed walk no longer found, and the run, with what its workers counted."""
        with self.catalog.writing() as connection:
            recorded = writing.account_of_running(connection, self.job.run_id)
            account = Account.of(recorded)
            if complete:
                if account.seen != len(self.entries):
                    raise ClusterError(
                        f"{account.seen} of {len(self.entries)} files were accounted for",
                        hint="what was written stays; run the command again to go on",
                    )
                known = self.known
                missing = taking.vanished(self.entries, self.job.place.only, known)
                at = [file for path in missing if (file := known.file(path)) is not None]
                left = Counter(file.image_id for file in at)
                arrived = cluster_runs.arrived(connection, self.job.run_id)
                account.moved = (left & arrived).total()
                if warning := warning_of_vanished(len(at), len(known.files), self.source):
                    self.on_event(Notice(warning))
                account.gone = store.close_vanished(
                    connection, self.job.run_id, self.job.source_id, missing, known
                )
            status: RunStatus = "partial" if account.failed else "done"
            runs.save_account(
                connection,
                self.job.run_id,
                self._as_recorded(account),
                status if complete else "interrupted",
            )
        if hashed := recorded.get(writing.HASHED):
            self.on_event(Notice(f"{self.source}: {hashed} pictures got a PDQ hash"))

    def give_up(self, status: RunStatus) -> None:
        """Close the run with the account of what was stored, if the database still takes that."""
        try:
            with self.catalog.writing() as connection:
                recorded = writing.account_of_running(connection, self.job.run_id)
                account = self._as_recorded(Account.of(recorded))
                runs.save_account(connection, self.job.run_id, account, status)
        except (DatabaseError, ClusterError):
            # The error that ended the run is the one to tell; the next run closes this one.
            return

    def _as_recorded(self, account: Account) -> dict[str, Any]:
        """The account as that of a local run: without what only the workers needed."""
        return {**account.as_json(), "seconds": round(time.time() - self.job.began, 3)}


def _server(database: Location) -> ServerUrl:
    if isinstance(database, ServerUrl):
        if database.has_password:
            # Ray keeps the command that began a run, and shows it to whoever sees the cluster.
            raise InvalidSetting(
                "the URL of the database carries a password, which the whole cluster would see",
                hint="put it into ~/.pgpass on every machine of the cluster",
            )
        return database
    raise InvalidSetting(
        f"{database} is a file, which several machines cannot write",
        hint=f"take the case to a server first: image-similarity db copy {database} "
        "postgresql+psycopg://user@host/name",
    )


def _mount(place: Place) -> dict[str, Any] | None:
    found = None if place.folder is None else mount.state(place.folder)
    return None if found is None else asdict(found)


def _device(options: IndexOptions, cluster: ClusterOptions, machines: clusters.Machines) -> str:
    """Where the actors compute: without a GPU for them on processors, whatever this machine has."""
    _, gpus = pipeline.actors(cluster, machines)
    return options.device if gpus or options.device != "auto" else "cpu"


def _environment(specs: Sequence[ModelSpec], runtime: str, device: str) -> dict[str, str]:
    if device == "cpu":
        return records.environment(specs, device=device, runtime=runtime)
    # Of a GPU that the workers have, and this machine perhaps has not.
    named = records.environment(specs, device="cpu", runtime=runtime)
    return {**named, "runtime": ", ".join(f"{spec.name} in torch" for spec in specs)}
