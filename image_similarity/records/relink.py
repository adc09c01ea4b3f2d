"""Moving a source to the folder where its evidence is mounted now, after proving that it is the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.errors import InvalidSetting, UnknownSource, UsageError
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.pictures.names import from_text, to_text
from image_similarity.pictures.recheck import recheck
from image_similarity.records.folder import evidence_folder
from image_similarity.store import audit, runs, sources
from image_similarity.store import catalog as stored
from image_similarity.store.catalog import Catalog, RecordedFile
from image_similarity.values import Finding, RelinkReport

if TYPE_CHECKING:
    from sqlalchemy import Connection

# One seed for all: whoever repeats a proof by sample reads the same files.
SEED = 1
# Files between two progress events.
REPORT_EVERY = 64


def relink(
    catalog: Catalog,
    source: str,
    new_root: Path,
    *,
    sample: int | None = None,
    allow_missing: bool = False,
    dry_run: bool = False,
    on_event: Listener = ignore,
) -> RelinkReport:
    """Compare the recorded files of a source with those below another folder, and move the source if all agree.

    A file that differs or cannot be read keeps the source where it is; so does one that is missing, unless
    `allow_missing`, and a proof by no file at all. Evidence is only read.

    Args:
        catalog: The database, opened for writing unless `dry_run`.
        source: The source's name.
        new_root: The folder in which its files lie now.
        sample: Read this many files, drawn by a fixed seed, instead of all.
        allow_missing: Move also if files are not there.
        dry_run: Compare, and write nothing.
        on_event: Gets `Started` and `Progress`.

    Raises:
        UnknownSource, FolderMissing, DatabaseInsideEvidence, DatabaseLocked: A run is writing.
        InvalidSetting: The sample is not positive.
        UsageError: The source is there already, another one has the folder, or nothing is recorded that could prove it.
    """
    if sample is not None and sample < 1:
        raise InvalidSetting(f"a sample of {sample} files proves nothing", hint="give 1 or more")
    folder = evidence_folder(new_root, catalog.path)
    root = to_text(str(folder))
    with catalog.reading() as connection:
        old_root = _check(connection, catalog, source, root)
        files = [file for file in stored.recorded_files(connection) if file.source == source]
    chosen = _sampled(files, sample)
    on_event(Started(source, root, len(chosen)))
    findings, counts = list[Finding](), Counter[str]()
    for done, file in enumerate(chosen, start=1):
        finding = _compare(file, folder)
        counts[finding.kind if finding else "same"] += 1
        findings += [finding] if finding else []
        if done % REPORT_EVERY == 0 or done == len(chosen):
            on_event(Progress(done, len(chosen), 0, len(findings)))
    missing_only = {finding.kind for finding in findings} <= {"missing"}
    proved = counts["same"] > 0 and (not findings or (allow_missing and missing_only))
    report = RelinkReport(
        source=source,
        old_root=old_root,
        new_root=root,
        files=len(files),
        read=len(chosen),
        same=counts["same"],
        changed=counts["changed"],
        missing=counts["missing"],
        unreadable=counts["unreadable"],
        findings=tuple(findings),
        proved=proved,
        dry_run=dry_run,
        moved=proved and not dry_run,
    )
    if report.moved:
        _move(catalog, report)
    return report


def _check(connection: Connection, catalog: Catalog, source: str, root: str) -> str:
    """Refuse what cannot be moved there; gives the folder that is recorded."""
    found = stored.find_source(connection, source)
    if found is None:
        raise UnknownSource(
            f"{catalog.path} has no source {source!r}", hint="see: image-similarity db status"
        )
    if found[1] == root:
        raise UsageError(f"the source {source!r} is at {root} already", hint="nothing was changed")
    other = stored.source_at(connection, root)
    if other is not None:
        raise UsageError(f"{root} is the source {other!r}", hint="name the folder of this one")
    return found[1]


def _sampled(files: Sequence[RecordedFile], sample: int | None) -> list[RecordedFile]:
    if not files:
        raise UsageError(
            "no file of this source is recorded, so nothing can prove that the folder is the same",
            hint="index the folder: generate_embeddings -m MODEL -ip DIR -dp DB",
        )
    if sample is None or sample >= len(files):
        return list(files)
    drawn = random.Random(SEED).sample(range(len(files)), sample)  # noqa: S311 - to be repeated, not kept secret
    return [files[place] for place in sorted(drawn)]


def _compare(file: RecordedFile, folder: Path) -> Finding | None:
    otherwise = recheck(str(folder / from_text(file.path)), file.sha256)
    if otherwise is None:
        return None
    message = otherwise.reason or "another content than recorded"
    return Finding(
        otherwise.kind, file.path, message, file.source, expected=file.sha256, found=otherwise.found
    )


def _move(catalog: Catalog, report: RelinkReport) -> None:
    """Write the new folder and the account of its proof, in one transaction."""
    with catalog.writing() as connection:
        runs.refuse_open(connection)
        # Again, now that nobody else can write.
        if _check(connection, catalog, report.source, report.new_root) != report.old_root:
            raise UsageError(
                "the source was moved meanwhile", hint="nothing was changed; try again"
            )
        sources.set_root(connection, report.source, report.new_root)
        audit.append(
            connection,
            "relink",
            {
                "source": report.source,
                "from": report.old_root,
                "to": report.new_root,
                "files": report.files,
                "read": report.read,
                "same": report.same,
                "missing": report.missing,
                "all_read": report.read == report.files,
            },
        )
