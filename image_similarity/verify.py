"""Verification: what the database holds is whole, and the files are still what they were when first indexed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from image_similarity.events import Listener, Progress, ignore
from image_similarity.pictures.names import from_text
from image_similarity.pictures.recheck import recheck
from image_similarity.ranking import codes
from image_similarity.store import catalog as stored
from image_similarity.store import models, packs, shape
from image_similarity.store.catalog import Catalog, RecordedFile
from image_similarity.values import Finding, ModelInfo, VerifyReport, is_uri

if TYPE_CHECKING:
    from sqlalchemy import Connection

# A unit vector rounded to float16 keeps its length to 2^-11 relative in each number; more is damage.
LENGTH_TOLERANCE = 2e-3
# Rehashed files between two progress events.
REPORT_EVERY = 64


def verify(catalog: Catalog, *, rehash: bool = False, on_event: Listener = ignore) -> VerifyReport:
    """Check every record, and with `rehash` every live file against the hash recorded when it was first indexed.

    A file is "changed" if its bytes have another SHA-256, "missing" if it is not there, "unreadable" if it cannot be
    read now; each since the run that first indexed that place, which is all that can be said without the hashes of an
    acquisition (see `records.against`). What is in an object store is counted as not checked. Files are opened
    read-only; nothing is written to the database either.
    """
    with catalog.reading() as connection:
        removed = [Finding("record", "", problem) for problem in shape.missing(connection)]
        if removed:
            return VerifyReport(False, 0, 0, 0, 0, 0, 0, 0, tuple(removed))
        findings = list(_check_records(connection))
        images, embeddings = (
            stored.count_images(connection),
            sum(models.embedding_counts(connection).values()),
        )
        recorded = stored.recorded_files(connection) if rehash else []
    # What is in an object store is no file of this machine's, and not missing on it.
    files = [file for file in recorded if not is_uri(file.root)]
    counts: Counter[str] = Counter()
    times = [file.first_seen for file in files]
    for done, file in enumerate(files, start=1):
        finding = _check_file(file)
        counts[finding.kind if finding else "unchanged"] += 1
        findings += [finding] if finding else []
        if done % REPORT_EVERY == 0 or done == len(files):
            on_event(Progress(done, len(files), 0, len(findings)))
    return VerifyReport(
        rehashed=rehash,
        images=images,
        embeddings=embeddings,
        files=len(files),
        unchanged=counts["unchanged"],
        changed=counts["changed"],
        missing=counts["missing"],
        unreadable=counts["unreadable"],
        findings=tuple(findings),
        since=(min(times), max(times)) if times else None,
        not_checked=len(recorded) - len(files),
    )


def _check_records(connection: Connection) -> Iterator[Finding]:
    for problem in (*stored.integrity_problems(connection), *shape.broken_objects(connection)):
        yield Finding("record", "", problem)
    for sha256 in stored.contents_without_vector(connection):
        yield Finding("record", sha256, "holds no vector of any model: no search can find it")
    for sha256 in stored.contents_without_place(connection):
        yield Finding("record", sha256, "was found nowhere: no search can show it")
    for model_id, info in models.stored(connection).items():
        for block in stored.vectors_in_blocks(connection, model_id):
            for sha256, vector in block:
                problem_found = _vector_problem(vector, info)
                if problem_found:
                    yield Finding("record", sha256, f"vector of {info.name}: {problem_found}")
        yield from _check_packs(connection, model_id, info)


def _check_packs(connection: Connection, model_id: int, info: ModelInfo) -> Iterator[Finding]:
    """Compare packs with their rows. One that is missing is no finding: its rows are read instead."""
    if info.dim is not None:
        wrong = packs.wrong_packs(connection, model_id, info.dim, codes.problem_of)
        for number, problem in wrong:
            yield Finding("record", "", f"pack {number} of the vectors of {info.name}: {problem}")
    if info.scenes:
        for number, problem in packs.wrong_scene_packs(connection, model_id):
            yield Finding("record", "", f"pack {number} of the scenes of {info.name}: {problem}")


def _vector_problem(blob: object, info: ModelInfo) -> str:
    # SQLite keeps any type in any column.
    if not isinstance(blob, bytes):
        return f"{type(blob).__name__} instead of bytes"
    if info.dim is None or len(blob) != 2 * info.dim:
        return f"{len(blob)} bytes instead of {2 * (info.dim or 0)}"
    vector = np.frombuffer(blob, dtype="<f2").astype(np.float64)
    if not np.isfinite(vector).all():
        return "holds NaN or infinity"
    length = float(np.sqrt(np.sum(vector * vector)))
    if info.normalisation == "l2" and abs(length - 1.0) > LENGTH_TOLERANCE:
        return f"length {length:.4f} instead of 1"
    return ""


def _check_file(file: RecordedFile) -> Finding | None:
    otherwise = recheck(str(Path(from_text(file.root)) / from_text(file.path)), file.sha256)
    if otherwise is None:
        return None
    message = f"{otherwise.kind} since first indexed at {file.first_seen}"
    if otherwise.reason:
        message += f": {otherwise.reason}"
    return Finding(
        otherwise.kind,
        file.path,
        message,
        source=file.source,
        expected=file.sha256,
        found=otherwise.found,
    )
