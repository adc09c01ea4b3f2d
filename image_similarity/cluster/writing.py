"""A portion to rows: in one transaction, once, however often Ray asks for it.

Ray runs a task again when it does not know that it was done. So the run's own row remembers which portions are in the
database, in the transaction that put them there; and all that a batch would add twice is left out of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from image_similarity.cluster.work import Job, Written, holds, with_number
from image_similarity.errors import ClusterError
from image_similarity.indexing import batches, loader
from image_similarity.indexing.taking import Account, Batch
from image_similarity.store import batch as store
from image_similarity.store import cluster_runs, runs
from image_similarity.store.catalog import Catalog
from image_similarity.values import Failure, Skipped

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Beside the account of a run that goes on: which portions are in it, and how many PDQ hashes were added.
PORTIONS, HASHED = "portions", "hashed"


def write(
    catalog: Catalog,
    job: Job,
    number: int,
    outcomes: Sequence[loader.Outcome],
    results: batches.Results,
) -> Written:
    """Store what became of a portion, unless it is stored already.

    Raises:
        ClusterError: The run was closed meanwhile: whoever began it is gone.
    """
    with catalog.writing() as connection:
        recorded = account_of_running(connection, job.run_id)
        if holds(recorded.get(PORTIONS, []), number):
            return _written(recorded)
        known = _known(connection, job, outcomes)
        batch = _batch(outcomes, results, known, job)
        store.drop_stored(batch.rows, known)
        batch.count(known)
        store.write_sealed(connection, job.run_id, job.source_id, batch.rows, known)
        account = Account.of(recorded)
        account.add(batch.account)
        now = {
            **account.as_json(),
            "seconds": round(max(0.0, time.time() - job.began), 3),
            HASHED: recorded.get(HASHED, 0) + len(batch.rows.hashes),
            PORTIONS: with_number(recorded.get(PORTIONS, []), number),
        }
        runs.save_account(connection, job.run_id, now)
    return _written(now, batch.rows.failures)


def account_of_running(connection: Connection, run_id: int) -> dict[str, Any]:
    """What a run has counted so far.

    Raises:
        ClusterError: It does not run any more.
    """
    status, recorded = cluster_runs.state(connection, run_id)
    if status != "running":
        raise ClusterError(
            f"run {run_id} was closed while its workers were at it", hint="run the command again"
        )
    return recorded


def _written(account: dict[str, Any], failures: Sequence[Failure] = ()) -> Written:
    seen, embedded, failed = (account.get(name, 0) for name in ("seen", "embedded", "failed"))
    return Written(seen, embedded, failed, tuple(failures))


def known_of(
    connection: Connection, job: Job, paths: Sequence[str], sha256s: Sequence[str]
) -> store.Knowledge:
    """What the database holds at some places of the run's source, and of some contents."""
    return store.knowledge_of(
        connection,
        job.source_id,
        paths,
        sha256s,
        job.tasks.vector_models,
        job.tasks.scene_models,
        pdq=job.tasks.pdq,
        with_thumbnails=job.tasks.thumbnails,
    )


def _known(connection: Connection, job: Job, outcomes: Sequence[loader.Outcome]) -> store.Knowledge:
    paths, sha256s = [], []
    for outcome in outcomes:
        if isinstance(outcome, loader.Loaded):
            paths.append(outcome.file.path)
            sha256s.append(outcome.file.sha256)
        elif isinstance(outcome, loader.Refused):
            paths.append(outcome.failure.path)
            sha256s.append(outcome.sha256)
        else:
            paths.append(outcome.path)
    return known_of(connection, job, paths, sha256s)


def _batch(
    outcomes: Sequence[loader.Outcome],
    results: batches.Results,
    known: store.Knowledge,
    job: Job,
) -> Batch:
    """The batch that a local run would make of the same outcomes."""
    batch = Batch()
    for outcome in outcomes:
        if isinstance(outcome, Skipped):
            batch.skip(outcome)
        elif isinstance(outcome, Failure):
            batch.fail(outcome)
        elif isinstance(outcome, loader.Refused):
            batch.refuse(outcome.failure, outcome.sha256, known)
        else:
            batch.account.bytes_read += outcome.file.size
            batch.rows.files.append(outcome.file)
            _wait(batch, outcome, known, job)
    batch.finish(results, known)
    return batch


def _wait(batch: Batch, loaded: loader.Loaded, known: store.Knowledge, job: Job) -> None:
    """Enter a content of which something was decoded, and is still wanted."""
    sha256 = loaded.file.sha256
    if loaded.content is None or sha256 in batch.waiting:
        return
    image_id = known.images.get(sha256)
    if image_id is None:
        batch.rows.contents.append(loaded.content)
    lacking = job.tasks.all_keys() if image_id is None else known.lacking(image_id)
    batch.waiting[sha256] = batches.Waiting(
        sha256, frozenset(lacking), {}, loaded.pdq, loaded.thumbnail
    )
