"""What becomes of each file: the rows of a batch and its part of the account, whoever reads and whoever writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from image_similarity.indexing import batches, loader
from image_similarity.pictures.walk import Entry, FileEntry
from image_similarity.store import batch as store
from image_similarity.values import Failure, Skipped


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

    def as_json(self) -> dict[str, Any]:
        """What is recorded of it."""
        return {**asdict(self), "skipped": dict(self.skipped), "seen": self.seen}

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> Account:
        """Take up what was recorded."""
        counts = {name: recorded[name] for name in cls.__slots__ if name in recorded}
        return cls(**{**counts, "skipped": Counter(recorded.get("skipped", {}))})


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

    def skip(self, skipped: Skipped) -> None:
        """Take a file that a rule leaves out."""
        self.account.skipped[skipped.kind] += 1
        self.rows.skipped.append(skipped)

    def fail(self, failure: Failure) -> None:
        """Take a file that could not be taken."""
        self.account.failed += 1
        self.rows.failures.append(failure)

    def refuse(self, failure: Failure, sha256: str, known: store.Knowledge) -> None:
        """Take a failure of a file whose bytes were read: where they are others than before, those are history."""
        self.fail(failure)
        before = known.file(failure.path)
        if before is not None and known.images.get(sha256) != before.image_id:
            self.rows.overwritten.append(failure.path)

    def finish(self, results: batches.Results, known: store.Knowledge) -> list[Failure]:
        """Put the vectors in and take the contents out that could not be encoded; gives the failures of these."""
        rows, refused = self.rows, results.refused
        rows.vectors, rows.scenes = results.vectors, results.scenes
        rows.hashes = [
            (each.sha256, each.pdq.quality, each.pdq.hash)
            for each in self.waiting.values()
            if each.pdq is not None and each.sha256 not in refused
        ]
        rows.thumbnails = {
            each.sha256: each.thumbnail
            for each in self.waiting.values()
            if each.thumbnail is not None and each.sha256 not in refused
        }
        rows.contents = [c for c in rows.contents if c.digests.sha256 not in refused]
        files, rows.files = rows.files, []
        failures = []
        for file in files:
            if file.sha256 not in refused:
                rows.files.append(file)
                continue
            error, message = refused[file.sha256]
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
            self.refuse(failure, file.sha256, known)
            failures.append(failure)
        return failures

    def count(self, known: store.Knowledge) -> Counter[int]:
        """Count what is about to be stored; gives the contents that arrived at places where they were not."""
        rows, account = self.rows, self.account
        account.embedded += len({sha256 for _, sha256, _ in rows.vectors})
        account.partial += sum(content.facts.partial for content in rows.contents)
        # A content that lacked its PDQ hash or thumbnail alone is none that a model had not seen.
        encoded = {sha256 for _, sha256, _ in (*rows.vectors, *rows.scenes)}
        arrived: Counter[int] = Counter()
        for file in rows.files:
            before = known.file(file.path)
            image_id = known.images.get(file.sha256)
            if file.sha256 in encoded:
                account.new += 1
                encoded.discard(file.sha256)
            elif before is not None and before.image_id == image_id:
                account.unchanged += 1
            else:
                account.duplicate += 1
            if image_id is not None and (before is None or before.image_id != image_id):
                arrived[image_id] += 1
        return arrived


def vanished(entries: Sequence[Entry], only: str | None, known: store.Knowledge) -> list[str]:
    """The recorded paths that a walk did not meet, but for those below a folder that could not be listed.

    `only` is the path of a single picture that was walked.
    """
    others = [entry for entry in entries if type(entry) is not FileEntry]
    closed = [e.path for e in others if isinstance(e, Failure)]
    closed += [e.path for e in others if isinstance(e, Skipped) and e.rule == "excluded"]
    if "" in closed:
        return []
    seen = {entry.path for entry in entries}
    prefixes = tuple(path + "/" for path in closed)
    recorded = (known.files, known.failed, known.skipped)
    missing = {path for paths in recorded for path in paths if path not in seen}
    return sorted(
        path for path in missing if only in (None, path) and not path.startswith(prefixes)
    )
