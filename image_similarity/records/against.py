"""What is recorded against the hashes of an acquisition: the same, contradicted, gone, not taken, not met, not listed.

A list names its files from wherever its tool was started, the database from the root of a source. Which beginning of
the list's paths stands for which source is told from the files whose hash and path both agree; see `_lead`. It is one
for a source, so that two files that are only called alike are never compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from image_similarity.errors import UnknownSource
from image_similarity.records.acquisition import Acquired, read_list
from image_similarity.store import hashed
from image_similarity.store.catalog import Catalog
from image_similarity.store.hashed import Recorded
from image_similarity.values import AgainstReport, Finding

# The strongest first: by it an entry is looked up, the others must agree.
KINDS = ("sha256", "sha1", "md5")
# A content, or a name, that is recorded more often than this tells nothing of the paths, and takes long to go through.
TOO_MANY_TO_TELL = 64


@dataclass(frozen=True, slots=True, order=True)
class Lead:
    """How a path of the list becomes one of a source: `off` is taken from its beginning, `on` put there."""

    off: str = ""
    on: str = ""

    def path(self, listed: str) -> str | None:
        """The path below the source, or None if the list's path does not lie there."""
        return self.on + listed[len(self.off) :] if listed.startswith(self.off) else None


@dataclass(slots=True)
class _Record:
    """All that is recorded, by path and by hash."""

    live: list[Recorded]
    failed: list[Recorded]
    left_out: list[Recorded]
    gone: list[Recorded]
    at: dict[tuple[str, str], Recorded] = field(default_factory=dict)
    by_hash: dict[str, list[Recorded]] = field(default_factory=lambda: defaultdict(list))
    gone_by_hash: dict[str, Recorded] = field(default_factory=dict)
    unread: dict[str, Recorded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A live place last: it may also have an open failure, of what stands there since.
        for each in (*self.gone, *self.left_out, *self.failed, *self.live):
            self.at[each.source, each.path] = each
        for each in self.live:
            for value in (each.sha256, each.sha1, each.md5):
                self.by_hash[value or ""].append(each)
        self.gone_by_hash = {
            value: each
            for each in self.gone
            for value in (each.sha256, each.sha1, each.md5)
            if value is not None
        }
        self.unread = {each.sha256: each for each in self.failed if each.sha256 is not None}

    def holding(self, entry: Acquired) -> Sequence[Recorded]:
        """The live places of the content that an entry names by its strongest hash."""
        return self.by_hash.get(_hash(entry), ())

    def left(self, entry: Acquired) -> Recorded | None:
        """A place that held this content and does no longer."""
        found = self.gone_by_hash.get(_hash(entry))
        return found if found is not None and _agrees(entry, found) else None


def compare(catalog: Catalog, path: Path, sources: Sequence[str] = ()) -> AgainstReport:
    """Compare a list of acquisition hashes with what is recorded; neither evidence nor database is written.

    Args:
        catalog: The database.
        path: The list; see `acquisition` for its forms.
        sources: Compare with these only, and take the list for theirs, however few of its files agree.

    Raises:
        HashListRefused: The list is unsound.
        UsageError: There is no such file.
        UnknownSource.
    """
    for name in sources:
        if name not in {source.name for source in catalog.sources()}:
            raise UnknownSource(f"{catalog.path} has no source {name!r}", hint="see: db status")
    listed = read_list(path)
    with catalog.reading() as connection:
        live, failed, left_out, gone = (
            [each for each in rows if not sources or each.source in sources]
            for rows in (
                hashed.live(connection),
                hashed.failed(connection),
                hashed.left_out(connection),
                hashed.gone(connection),
            )
        )
    record = _Record(live, failed, left_out, gone)
    leads = _leads(listed.entries, record, certain=bool(sources))
    counts, skipped = Counter[str](), Counter[str]()
    findings: list[Finding] = []
    met: set[tuple[str, str]] = set()
    for entry in listed.entries:
        kind, finding, places = _place(entry, record, leads)
        met.update(places)
        counts[kind] += 1
        if kind == "skipped":
            skipped.update(record.at[place].said for place in places[:1])
        findings += [finding] if finding else []
    rest = _not_listed(listed.entries, record, leads, met)
    unlisted = [each for each, is_copy in rest if not is_copy]
    findings += [
        Finding("unlisted", each.path, "not on the list", each.source, found=each.sha256 or "")
        for each in unlisted
    ]
    return AgainstReport(
        path=listed.path,
        sha256=listed.sha256,
        form=listed.form,
        hashes=listed.hashes,
        sources=tuple(sorted(leads)),
        entries=len(listed.entries),
        confirmed=counts["confirmed"],
        elsewhere=counts["elsewhere"],
        contradicted=counts["contradicted"],
        gone=counts["gone"],
        failed=counts["failed"],
        skipped=dict(skipped),
        unknown=counts["unknown"],
        unlisted=len(unlisted),
        copies=len(rest) - len(unlisted),
        findings=tuple(findings),
    )


# -- which paths are meant ------------------------------------------------------------------------------------------


def _leads(entries: Iterable[Acquired], record: _Record, *, certain: bool) -> dict[str, Lead]:
    """For each source that the list's paths can be told of, how; `certain` sources are told by name alone, if needed.

    Of several sources one counts only if at least half of the paths that it shares with the list have the same hash,
    and these are half of the source or of the list: two telephones have folders and names alike, and some pictures in
    common, and the list of one must not contradict the other.
    """
    with_path = [entry for entry in entries if entry.path]
    names = {each.source for each in (*record.live, *record.failed)}
    alone = certain or len(names) == 1
    votes: dict[str, Counter[Lead]] = {name: Counter() for name in names}
    for entry in with_path:
        _vote(entry, record.holding(entry), votes)
    if alone and not any(votes.values()):
        by_name = defaultdict(list)
        for each in (*record.live, *record.failed):
            by_name[each.path.rpartition("/")[2]].append(each)
        for entry in with_path:
            _vote(entry, by_name.get(entry.path.rpartition("/")[2], ()), votes)
    leads = {name: _lead(found) for name, found in votes.items() if found}
    return {
        name: lead
        for name, lead in leads.items()
        if alone or _mostly_agrees(with_path, record, name, lead)
    }


def _vote(entry: Acquired, places: Sequence[Recorded], votes: Mapping[str, Counter[Lead]]) -> None:
    if len(places) > TOO_MANY_TO_TELL:
        return
    for place in places:
        if place.path == entry.path:
            votes[place.source][Lead()] += 1
        elif entry.path.endswith(f"/{place.path}"):
            votes[place.source][Lead(off=entry.path.removesuffix(place.path))] += 1
        elif place.path.endswith(f"/{entry.path}"):
            votes[place.source][Lead(on=place.path.removesuffix(entry.path))] += 1


def _lead(votes: Counter[Lead]) -> Lead:
    """The one that most files speak for; of equals the first in order, so that one list has one answer."""
    most = max(votes.values())
    return min(lead for lead, count in votes.items() if count == most)


def _mostly_agrees(entries: Sequence[Acquired], record: _Record, source: str, lead: Lead) -> bool:
    met = agreeing = 0
    for entry in entries:
        place = record.at.get((source, lead.path(entry.path) or ""))
        if place is not None and place.sha256 is not None:
            met += 1
            agreeing += _agrees(entry, place)
    held = sum(each.source == source for each in record.live)
    return 2 * agreeing >= max(met, min(held, len(entries)))


# -- where an entry belongs -----------------------------------------------------------------------------------------


def _place(
    entry: Acquired, record: _Record, leads: Mapping[str, Lead]
) -> tuple[str, Finding | None, list[tuple[str, str]]]:
    """The class of an entry, what there is to say of it, and the recorded paths that it names."""
    keys = [
        (source, path)
        for source, lead in leads.items()
        if entry.path and (path := lead.path(entry.path)) is not None
    ]
    keys = [key for key in keys if key in record.at]
    at_path = [record.at[key] for key in keys]
    holding = record.holding(entry)
    for place in (*at_path, *(() if at_path else holding)):
        if place.sha256 is not None and not _agrees(entry, place):
            return "contradicted", _contradiction(entry, place), keys
    if any(not place.said for place in at_path):
        return "confirmed", None, keys
    unread = next((place for place in at_path if place.failed), None)
    if unread is not None:
        return "failed", _failure(entry, unread), keys
    if any(not place.gone for place in at_path):
        return "skipped", None, keys
    if holding:
        return ("elsewhere" if entry.path else "confirmed"), None, []
    left = next(iter(at_path), None) or record.left(entry)
    if left is not None:
        message = "recorded with this hash; when last looked for it was no longer there"
        return "gone", Finding("gone", left.path, message, left.source, _hash(entry)), []
    if entry.sha256 in record.unread:
        return "failed", _failure(entry, record.unread[entry.sha256]), []
    return "unknown", Finding("unknown", entry.path or _hash(entry), "not in the database"), []


def _agrees(entry: Acquired, place: Recorded) -> bool:
    return entry.agrees(place.sha256 or "", place.sha1, place.md5)


def _contradiction(entry: Acquired, place: Recorded) -> Finding:
    kind = next(
        kind
        for kind in KINDS
        if getattr(entry, kind) and getattr(place, kind) not in (None, getattr(entry, kind))
    )
    message = f"another {kind.upper()} than when it was acquired"
    if place.said:
        message += (
            f"; it is {place.said}" if place.gone else f"; it could not be taken ({place.said})"
        )
    expected, found = getattr(entry, kind), getattr(place, kind)
    return Finding("contradicted", place.path, message, place.source, expected, found)


def _failure(entry: Acquired, place: Recorded) -> Finding:
    read = "its bytes are those acquired" if entry.sha256 and place.sha256 else "not compared"
    message = f"not taken ({place.said}); {read}"
    return Finding("failed", place.path, message, place.source, expected=_hash(entry))


def _hash(entry: Acquired) -> str:
    return entry.sha256 or entry.sha1 or entry.md5


def _not_listed(
    entries: Iterable[Acquired],
    record: _Record,
    leads: Mapping[str, Lead],
    met: Collection[tuple[str, str]],
) -> list[tuple[Recorded, bool]]:
    """The live places whose path is not on the list, each with whether its hash is."""
    has_paths = any(entry.path for entry in entries)
    hashes = {getattr(entry, kind) for entry in entries for kind in KINDS}
    found = []
    for each in record.live:
        if leads and each.source not in leads:
            continue
        is_copy = bool({each.sha256, each.sha1, each.md5} & hashes)
        if (each.source, each.path) not in met and (has_paths or not is_copy):
            found.append((each, is_copy))
    return found
