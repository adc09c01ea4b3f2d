"""What to do with a file, decided from its size and time alone: nothing is read for a file that did not change."""

from __future__ import annotations

from typing import Literal

from image_similarity.pictures.walk import FileEntry
from image_similarity.store.batch import Knowledge

Decision = Literal["read", "unchanged", "failed", "skipped"]


def decide(entry: FileEntry, known: Knowledge, *, rehash: bool, retry_failed: bool) -> Decision:
    """Say whether a file must be read, or which recorded outcome still stands.

    A file is unchanged if its size and time are as recorded, that time can be trusted (`settled`) and its content was
    given to every model asked for. A recorded failure or a file skipped by a rule stands while size and time do.
    """
    stamp = (entry.size, entry.mtime_ns)
    if rehash:
        return "read"
    failure = known.failed.get(entry.path)
    if failure is not None:
        stands = (failure.size, failure.mtime_ns) == stamp
        return "failed" if stands and not retry_failed else "read"
    skipped = known.skipped.get(entry.path)
    if skipped is not None:
        # A rule that no longer holds (an exclusion that was taken back) must not be counted for ever.
        return "skipped" if (skipped.size, skipped.mtime_ns) == stamp else "read"
    file = known.files.get(entry.path)
    if file is None or not file.settled or (file.size, file.mtime_ns) != stamp:
        return "read"
    return "read" if known.lacking(file.image_id) else "unchanged"
