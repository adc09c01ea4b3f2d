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
    if rehash:
        return "read"
    path, _, size, mtime_ns = entry
    failure = known.failed.get(path)
    if failure is not None:
        stands = failure.size == size and failure.mtime_ns == mtime_ns
        return "failed" if stands and not retry_failed else "read"
    skipped = known.skipped.get(path)
    if skipped is not None:
        # A rule that no longer holds (an exclusion that was taken back) must not be counted for ever.
        stands = skipped.size == size and skipped.mtime_ns == mtime_ns
        return "skipped" if stands else "read"
    file = known.files.get(path)
    if file is None:
        return "read"
    _, _, image_id, recorded_size, recorded_mtime_ns, settled = file
    if not settled or recorded_size != size or recorded_mtime_ns != mtime_ns:
        return "read"
    # A loop and not `known.lacking`: for an unchanged file this is half of what is decided.
    for images in known.present.values():
        if image_id not in images:
            return "read"
    return "unchanged"
