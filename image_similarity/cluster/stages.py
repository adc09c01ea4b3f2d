"""What the workers do with a portion: read and decode, embed, write. A row of Ray Data is a portion.

What passes between the stages is pickled here and not left to Ray, which would look for tensors in it.
"""

from __future__ import annotations

import pickle
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from image_similarity import __version__
from image_similarity.cluster import writing
from image_similarity.cluster.work import Job, Portion
from image_similarity.errors import ClusterError, DatabaseLocked, WeightsChanged
from image_similarity.indexing import batches, loader, taskset
from image_similarity.indexing.network import LARGEST_DEFAULT_BATCH
from image_similarity.indexing.taskset import Task, TaskSet
from image_similarity.store.catalog import Catalog
from image_similarity.values import Failure

Row = dict[str, Any]

# Bytes of files that are in hand before the database is asked what of them is wanted, in one question.
BYTES_IN_HAND = 64 * 1024**2
SECONDS_BETWEEN_TRIES = 0.5

# Why a file is not taken that say nothing of the machine that read it.
OF_THE_FILE = frozenset({"TooLarge", "Changed", "NotAFile"})

_catalogs: dict[str, Catalog] = {}
_lock = threading.Lock()


def catalog_of(job: Job) -> Catalog:
    """The database, which each worker process opens once."""
    with _lock:
        found = _catalogs.get(job.database.url)
        if found is None:
            found = _catalogs[job.database.url] = Catalog.open(job.database, read_only=False)
        return found


def pack(value: Any) -> bytes:
    """A value on its way between two stages."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def unpack(data: Any) -> Any:
    """What `pack` made."""
    return pickle.loads(data)  # noqa: S301 - written by our own workers, a moment ago


# -- read and decode --------------------------------------------------------------------------------------------------


def read(row: Row, job: Job) -> Row:
    """Read the files of a portion, and decode what the database lacks of them."""
    _require_same_program(job)
    portion: Portion = unpack(row["portion"])
    taken = read_portion(job, portion, careful=job.careful or was_tried())
    return {"number": portion.number, "found": pack(taken)}


# The outcome of each file, and what each content that was decoded lacks, by SHA-256.
Taken = tuple[list[loader.Outcome], dict[str, frozenset[int]]]


def read_portion(job: Job, portion: Portion, *, careful: bool = False) -> Taken:
    """Read files and decode what is wanted of them.

    Raises:
        FolderMissing: This machine does not see the evidence.
    """
    outcomes: list[loader.Outcome] = []
    lacking: dict[str, frozenset[int]] = {}
    in_hand: list[loader.InHand | loader.Outcome] = []
    held = 0
    for path, size, mtime_ns in portion.files:
        taken = loader.take(job.place.entry(path, size, mtime_ns), job.place.read)
        if isinstance(taken, Failure) and taken.stage in ("stat", "read"):
            taken = _standing(taken, job)
        in_hand.append(taken)
        held += len(taken.contents.data) if isinstance(taken, loader.InHand) else 0
        if held > BYTES_IN_HAND:
            outcomes += _decoded(job, in_hand, lacking, careful=careful)
            in_hand, held = [], 0
    return outcomes + _decoded(job, in_hand, lacking, careful=careful), lacking


def _standing(failure: Failure, job: Job) -> Failure:
    """Give what may be recorded of a file that was not read: what fails on this machine alone must not be.

    Raises:
        FolderMissing: See `Place.require`.
    """
    if failure.error in OF_THE_FILE:
        return failure
    job.place.require()
    # A store refuses one request and not the next: a later run tries again.
    return failure if job.place.folder else replace(failure, mtime_ns=None)


def _decoded(
    job: Job,
    in_hand: Sequence[loader.InHand | loader.Outcome],
    lacking: dict[str, frozenset[int]],
    *,
    careful: bool,
) -> list[loader.Outcome]:
    """Decode what is new among some files that were read, or lacks something, which is noted."""
    hashes = [each.file.sha256 for each in in_hand if isinstance(each, loader.InHand)]
    with catalog_of(job).reading() as connection:
        known = writing.known_of(connection, job, (), hashes)
    max_pixels = int(job.options.max_megapixels * 1_000_000)
    outcomes: list[loader.Outcome] = []
    for each in in_hand:
        if not isinstance(each, loader.InHand):
            outcomes.append(each)
            continue
        sha256 = each.file.sha256
        image_id = known.images.get(sha256)
        keys = job.tasks.all_keys() if image_id is None else known.lacking(image_id)
        # A copy within the portion is decoded once.
        wanted = job.tasks.preprocessings(keys) if sha256 not in lacking else ()
        outcome = loader.decode(each, wanted, max_pixels=max_pixels, careful=careful)
        if isinstance(outcome, loader.Loaded):
            # One that was refused is refused again wherever it lies.
            lacking.setdefault(sha256, frozenset(keys))
        outcomes.append(outcome)
    return outcomes


def was_tried() -> bool:
    """Whether this task runs again: a picture may have ended the process that ran it before.

    Then each picture is decoded in a process of its own, and the one that ends that is recorded as a failure.
    """
    try:
        from ray._private.worker import global_worker

        worker: Any = global_worker
        return bool(worker.core_worker.get_current_task_attempt_number() > 0)
    except (ImportError, AttributeError):
        # Not within a worker, or of another version of Ray; to be careful costs time and nothing else.
        return True


def _require_same_program(job: Job) -> None:
    if __version__ != job.version:
        raise ClusterError(
            f"{platform.node()} has image-similarity {__version__}, the run was begun with {job.version}",
            hint="install the same version on every machine of the cluster",
        )


# -- embed ------------------------------------------------------------------------------------------------------------


class Embed:
    """An actor that holds the networks; they are loaded when the first picture has to go through them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tasks: TaskSet | None = None
        self._size = batches.BatchSize(LARGEST_DEFAULT_BATCH)

    def __call__(self, row: Row) -> Row:
        """Give the outcomes without their pixels, and what the networks said of these."""
        taken: Taken = unpack(row["found"])
        outcomes, waiting = taken[0], waiting_of(taken)
        results = batches.encode(waiting, self._networks(), self._size) if waiting else None
        bare = [replace(o, pixels={}) if isinstance(o, loader.Loaded) else o for o in outcomes]
        return {"number": row["number"], "found": pack((bare, results or batches.Results()))}

    def _networks(self) -> TaskSet:
        if self._tasks is None:
            self._tasks = tasks_here(self._job)
            largest = self._job.options.batch_size
            largest = largest or min(LARGEST_DEFAULT_BATCH, self._tasks.largest_batch())
            self._size = batches.BatchSize(largest)
        return self._tasks


def waiting_of(taken: Taken) -> list[batches.Waiting]:
    """The contents of a portion that go through a network."""
    outcomes, lacking = taken
    return [
        batches.Waiting(each.file.sha256, lacking[each.file.sha256], each.pixels)
        for each in outcomes
        if isinstance(each, loader.Loaded) and each.pixels
    ]


def tasks_here(job: Job) -> TaskSet:
    """The networks of a run from the weights of this machine, which must be the same.

    Raises:
        ModelError: A model is unknown here, or its weights are missing or others.
    """
    here = {info.fingerprint: spec for spec, info, *_ in taskset.resolve(job.options)}
    tasks: list[Task] = []
    for task in job.tasks.tasks:
        spec = here.get(task.info.fingerprint)
        if spec is None:
            raise WeightsChanged(
                f"the model {task.info.name} of {platform.node()} is not the one that the run was begun with",
                hint="put the same weights file at the same path on every machine of the cluster",
            )
        tasks.append(replace(task, spec=spec))
    return TaskSet(tasks, pdq=job.tasks.pdq, thumbnails=job.tasks.thumbnails)


# -- write ------------------------------------------------------------------------------------------------------------


def write(row: Row, job: Job) -> Row:
    """Store a portion, and say where the run is."""
    outcomes, results = unpack(row["found"])
    last = time.monotonic() + job.patience
    while True:
        try:
            written = writing.write(catalog_of(job), job, int(row["number"]), outcomes, results)
            return {"written": pack(written)}
        except DatabaseLocked:
            # Others write. What is not in the database yet is written once, however often it is tried.
            if time.monotonic() > last:
                raise
            time.sleep(SECONDS_BETWEEN_TRIES)
