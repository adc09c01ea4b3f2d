"""What is recorded of a case, and what was found when it was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from image_similarity.values.models import ModelInfo
    from image_similarity.values.pictures import Failure, Mount, Source

RunStatus = Literal["running", "done", "partial", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit chain: `number` counts from 1, `detail` is JSON text, digests are SHA-256 in hex."""

    number: int
    at: str
    actor: str
    action: str
    detail: str
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class KeptHead:
    """The head of an audit chain as it was kept elsewhere: the number, digest and time of the last entry then."""

    number: int
    digest: str
    at: str = ""
    database: str = ""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One difference that a check of the audit chain found.

    `kind` is "chain" (an entry was changed, removed or moved), "head" (the chain is not the one whose head was kept),
    "changed" or "missing" (a row that `entry` sealed), "unsealed" (a row that no entry tells of) or "record" (what
    stands beside the chain does not agree with it). `name` is by what a person knows the row: a SHA-256, a path.
    """

    kind: Literal["chain", "head", "changed", "missing", "unsealed", "record"]
    message: str
    entry: int | None = None
    table: str = ""
    row: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The account of a check of the audit chain: without findings it is internally consistent, no more.

    `rows` counts the sealed rows that were compared; `kept` is the head from elsewhere that the chain was held against,
    `open_runs` are runs whose end stands in no entry yet.
    """

    database: str
    entries: int
    rows: int
    head: AuditEntry | None
    kept: KeptHead | None
    open_runs: tuple[int, ...]
    findings: tuple[AuditFinding, ...]

    @property
    def consistent(self) -> bool:
        """Whether chain and rows agree, and with the kept head, if one was given."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What was said once of a case and stands on every report; empty where nothing was said."""

    number: str = ""
    examiner: str = ""
    exhibit: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class RunReport:
    """The account of one run over one source.

    Every entry reached is in exactly one class:
    `seen == new + duplicate + unchanged + failed + sum(skipped.values())`. `new` are contents embedded in this run,
    `duplicate` are places of a content already known, `moved` counts those of `new`/`duplicate` places whose content
    vanished from another place of the source in the same run. `gone` are places that are no longer there (not seen).
    """

    run_id: int
    kind: str
    status: RunStatus
    source: str
    root: str
    models: tuple[str, ...]
    started_at: str
    finished_at: str | None
    seen: int = 0
    new: int = 0
    duplicate: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    moved: int = 0
    gone: int = 0
    partial: int = 0
    embedded: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    failures: tuple[Failure, ...] = ()
    mount: Mount | None = None

    @property
    def accounted(self) -> bool:
        """Whether every entry seen is in exactly one class."""
        return self.seen == self.new + self.duplicate + self.unchanged + self.failed + sum(
            self.skipped.values()
        )


@dataclass(frozen=True, slots=True)
class HashList:
    """A list of known files: its name and form, the SHA-256 of the file that it was read from, how many hashes."""

    name: str
    form: str
    file_sha256: str
    imported_at: str
    entries: int


@dataclass(frozen=True, slots=True)
class KnownPlace:
    """A place of the evidence whose content a hash list holds; see `KnownHash`.

    `place` is "source:path", `root` the folder of the source. `gone_since` is None while it is there. A file that could
    not be taken has a `failure`, the reason; its SHA-256 is of what was read.
    """

    list: str
    algorithm: str
    category: str
    sha256: str
    place: str
    root: str
    gone_since: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """What a database is: schema revision, size in bytes, counts."""

    path: str
    revision: str
    head: str
    size: int
    images: int
    files: int
    gone: int
    failures: int
    skipped: Mapping[str, int]
    models: tuple[ModelInfo, ...]
    embeddings: Mapping[str, int]
    sources: tuple[Source, ...]
    last_run: RunReport | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference that a verification found.

    `kind` is "changed", "missing", "unreadable" or "record"; against the hashes of an acquisition "contradicted" (the
    record at this path has another hash), "gone" (recorded, and no longer there), "failed" or "unknown" (listed, but
    not taken as a picture, or never met), "unlisted" (recorded, but not on the list).
    """

    kind: Literal[
        "changed",
        "missing",
        "unreadable",
        "record",
        "contradicted",
        "gone",
        "failed",
        "unknown",
        "unlisted",
    ]
    path: str
    message: str
    source: str = ""
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The account of a verification; files are counted only when they were read again (`rehashed`).

    `since` are the times of the first and the last of the runs that first indexed a place among them; `not_checked` is
    the number of those that were not read, as they are in an object store.
    """

    rehashed: bool
    images: int
    embeddings: int
    files: int
    unchanged: int
    changed: int
    missing: int
    unreadable: int
    findings: tuple[Finding, ...]
    since: tuple[str, str] | None = None
    not_checked: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing differs from what the database recorded."""
        return not self.findings
