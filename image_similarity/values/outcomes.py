"""What came of what was done with the records of a case: imports, comparisons, replays, reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from image_similarity.values.records import (
        AuditEntry,
        CaseFacts,
        DatabaseStatus,
        Finding,
        HashList,
        RunReport,
    )
    from image_similarity.values.searches import SearchKind


@dataclass(frozen=True, slots=True)
class Difference:
    """In what a replay differs from its manifest: `what` names a result, query or database, `rank` is the manifest's.

    "database": not the one of the manifest; "rows": other rows than were searched; "open": the same, where a run was
    writing at that time; "query": a stored query's vector is another; "distance", "missing", "added", "rank": of a
    result.
    """

    kind: Literal["database", "rows", "open", "query", "distance", "missing", "added", "rank"]
    rank: int | None
    what: str
    message: str
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One query of a manifest, ranked again: `confirmed` of its `results` stand where they stood, with equal distances.

    `missed` is what an approximate search did not find and an exhaustive one does; that is no difference.
    """

    query: str
    sha256: str
    search: SearchKind
    results: int
    confirmed: int
    differences: tuple[Difference, ...]
    missed: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A replay: its queries, and in what the databases differ from those of the manifest."""

    queries: tuple[Replayed, ...]
    databases: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Whether rows, order and distances are those of the manifest, to the last bit."""
        return not any(each.differences for each in self.queries) and all(
            each.kind == "open" for each in self.databases
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """A file that the program wrote of a case: what it is, where, when and by whom, as its audit entry says.

    `state` says what lies there now: "as written", "replaced" by a file of another entry, "changed" by something else,
    "gone", or "unreadable". `merge` is the entry by which the database was merged into this one whose entry it is; None
    for this one's own.
    """

    entry: int
    kind: str
    path: str
    sha256: str
    size: int
    at: str
    actor: str
    state: Literal["as written", "replaced", "changed", "gone", "unreadable"]
    merge: int | None = None


@dataclass(frozen=True, slots=True)
class TraceFolder:
    """A folder in which the analyst's page keeps thumbnails of a case, and how many lie there now, in bytes.

    `entry`, `at`, `actor` and `merge` are those of the audit entry that tells of it, as for `Trace`.
    """

    entry: int
    path: str
    at: str
    actor: str
    files: int
    bytes: int
    merge: int | None = None


@dataclass(frozen=True, slots=True)
class TraceReport:
    """What the program wrote of a case beside its rows: files elsewhere, and thumbnails in the database.

    `folders` are those in which the analyst's page keeps thumbnails.
    """

    files: tuple[Trace, ...]
    thumbnails: int
    thumbnail_bytes: int
    folders: tuple[TraceFolder, ...] = ()


@dataclass(frozen=True, slots=True)
class HashListReport:
    """The account of an import: the list, and what of the file was not taken.

    Of a row with several hashes the strongest is taken. `rows` are those that hold a hash, `empty` those of the empty
    file, `repeated` hashes that the list has already, `malformed` the rows without a hash; `first_malformed` names
    the first of these and why. `pictures` of the database and `unreadable` ones, open failures, are in the list.
    """

    list: HashList
    rows: int
    repeated: int
    empty: int
    malformed: int
    first_malformed: str = ""
    pictures: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which contents a report holds: those that meet every choice made; of several values of a choice one suffices.

    `scenes` are most probable scenes; `sha256s` may be prefixes. Without a choice it is the whole case.
    """

    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    under: str | None = None
    scenes: tuple[str, ...] = ()
    sha256s: tuple[str, ...] = ()
    include_gone: bool = False


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of the evidence a database covers, and what not; every report says it.

    `failed` counts open failures by stage, `partial` the pictures decoded only in part, `several_frames` the pictures
    by format that may hold more frames or pages than the one that was looked at. `head` is the end of the audit chain.
    """

    facts: CaseFacts
    status: DatabaseStatus
    runs: tuple[RunReport, ...]
    failed: Mapping[str, int]
    partial: int
    several_frames: Mapping[str, int]
    head: AuditEntry | None


@dataclass(frozen=True, slots=True)
class ReportWritten:
    """The account of a report: its files, how many `pictures` it holds of the `chosen`, and what else must be said."""

    paths: tuple[str, ...]
    pictures: int
    chosen: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgainstReport:
    """The account of a comparison with a list of hashes that was made when the evidence was acquired.

    Every entry is in exactly one class: `entries == confirmed + elsewhere + contradicted + gone + failed +
    sum(skipped) + unknown`. `confirmed` are recorded with that hash at that path (a list without paths: at any),
    `elsewhere` at another path only, `gone` at one where a later run no longer found it; `skipped` are files left out
    by a rule, by what they seemed to be. `unlisted` are recorded places of which neither the path nor the hash is on
    the list, `copies` those of which the hash is. `sources` are those whose paths could be told in the list's.
    """

    path: str
    sha256: str
    form: str
    hashes: tuple[str, ...]
    sources: tuple[str, ...]
    entries: int
    confirmed: int
    elsewhere: int
    contradicted: int
    gone: int
    failed: int
    skipped: Mapping[str, int]
    unknown: int
    unlisted: int
    copies: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether no entry contradicts what the database recorded."""
        return not self.contradicted


@dataclass(frozen=True, slots=True)
class RelinkReport:
    """The account of moving a source to another folder: of `files` recorded live, `read` were compared.

    `same + changed + missing + unreadable == read`. `proved` says whether they are the same; `moved` is false also
    where nothing was to be written (`dry_run`).
    """

    source: str
    old_root: str
    new_root: str
    files: int
    read: int
    same: int
    changed: int
    missing: int
    unreadable: int
    findings: tuple[Finding, ...]
    proved: bool
    dry_run: bool
    moved: bool


@dataclass(frozen=True, slots=True)
class MergeReport:
    """The account of a merge: what was taken from the other database, and what was not because both had it.

    `sources` pairs their names there with those here. `chain` is the number and digest of the head of the other audit
    chain, which is kept whole under our entry `entry`.
    """

    database: str
    other: str
    other_sha256: str
    entry: int
    chain: tuple[int, str] | None
    sources: tuple[tuple[str, str], ...]
    models: int
    runs: int
    pictures: int
    pictures_in_both: int
    places: int
    failures: int
    skipped: int
    vectors: int
    vectors_otherwise: int
    labels: int
    labels_otherwise: int
    pdq: int
    thumbnails: int
    decisions: int
    decisions_withdrawn: int
    hash_lists: int


@dataclass(frozen=True, slots=True)
class CopyReport:
    """The account of copying a database whole: `counts` are its rows by table, `rows` their sum.

    `chain` is the number and digest of the head of the audit chain as it was copied, `entry` the number of the entry
    that follows on it and tells of the copy. `resumed` says that an earlier try had been broken off.
    """

    source: str
    database: str
    entry: int
    chain: tuple[int, str] | None
    rows: int
    resumed: bool
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The account of the import of an earlier database: every row is in `run` or `repeated`: a path that came before.

    `labelled` contents got the scene type as their one label, with probability 1. `rescaled` embeddings were not of
    unit length before; `otherwise` are rows whose content came before with another embedding, of which the first was
    kept.
    """

    run: RunReport
    earlier: str
    earlier_sha256: str
    model: str
    fingerprint: str
    dim: int
    rows: int
    repeated: int
    labelled: int
    rescaled: int
    otherwise: int
