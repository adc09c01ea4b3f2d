"""The check of the audit chain: link by link, then every row that an entry sealed, then the rows that none tells of.

What it can show: an entry within the chain or a sealed row that was changed, removed, added or moved by someone who did
not write the whole chain anew. Who does that, or cuts off its end, is found only against a head kept elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict

from sqlalchemy import Connection, select

from image_similarity.errors import DatabaseError
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.store import audit, decided, facts, sealing, shape
from image_similarity.store.catalog import Catalog
from image_similarity.store.engine import is_sqlite
from image_similarity.store.schema import NO_DIGEST, run_table
from image_similarity.values import AuditEntry, AuditFinding, AuditReport, KeptHead

TRIGGERS = (
    "audit_no_update",
    "audit_no_delete",
    "merged_audit_no_update",
    "merged_audit_no_delete",
)
# SQLite has no statement that empties a table past its triggers.
TRIGGERS_ON_SERVER = (*TRIGGERS, "audit_no_truncate", "merged_audit_no_truncate")
# Entries between two progress events.
REPORT_EVERY = 64
# What one row of a table is called in a finding.
_CALLED = {
    "model": "the record of model",
    "run": "what is recorded of the beginning of run",
    "image": "picture",
    "file": "the place",
    "embedding": "the vector of",
    "labels": "the list of scene labels of",
    "pdq": "the PDQ hash of",
    "failure": "the failure of",
    "account": "the account of run",
    "gone": "the list of places that were closed by run",
    "resolved": "the list of failures that were settled by run",
}
# Tables whose rows are runs, known by number.
_RUNS = ("run", "account", "gone", "resolved")


def check(
    catalog: Catalog, kept: KeptHead | None = None, *, on_event: Listener = ignore
) -> AuditReport:
    """Check the chain and all that it seals; changes nothing.

    What is sealed never changes, so the rows are read in many short transactions: a run that writes meanwhile need not
    wait, and what it adds is checked in the last one.

    Args:
        catalog: The database.
        kept: A head that was kept elsewhere.
        on_event: Gets `Started` and `Progress`, counted in entries.
    """
    with catalog.reading() as connection:
        removed = [AuditFinding("record", problem) for problem in shape.missing(connection)]
        if removed:
            return AuditReport(str(catalog.path), 0, 0, None, kept, (), tuple(removed))
        # The chain of a million pictures takes some tens of megabytes.
        chain = list(audit.entries(connection))
    on_event(Started("audit chain", str(catalog.path), len(chain), "entries"))
    check_rows = _RowCheck()
    for start in range(0, len(chain), REPORT_EVERY):
        with catalog.reading() as connection:
            check_rows.take(connection, chain[start : start + REPORT_EVERY])
        done = min(start + REPORT_EVERY, len(chain))
        on_event(Progress(done, len(chain), 0, len(check_rows.findings)))
    with catalog.reading() as connection:
        added = list(audit.entries(connection, after=chain[-1].number if chain else 0))
        check_rows.take(connection, added)
        chain += added
        findings = [
            *links(chain),
            *(_against(chain, kept) if kept else ()),
            *_merged(connection, chain),
            *check_rows.findings,
            *_unsealed(connection, check_rows.covered),
            *_beside(connection, chain),
        ]
        running = select(run_table.c.id).where(run_table.c.status == "running")
        open_runs = tuple(connection.execute(running).scalars())
    return AuditReport(
        database=str(catalog.path),
        entries=len(chain),
        rows=check_rows.rows,
        head=chain[-1] if chain else None,
        kept=kept,
        open_runs=open_runs,
        findings=tuple(findings),
    )


class _RowCheck:
    """Compares what entries sealed, and keeps which rows stand in one."""

    def __init__(self) -> None:
        self.covered: sealing.Covered = {}
        self.findings: list[AuditFinding] = []
        self.rows = 0

    def take(self, connection: Connection, entries: Iterable[AuditEntry]) -> None:
        for entry in entries:
            try:
                seals = sealing.seals_in(entry.detail)
            except ValueError as error:
                said = f"entry {entry.number} cannot be read: {error}"
                self.findings.append(AuditFinding("chain", said, entry.number))
                continue
            for sealed in seals:
                sealing.cover(self.covered, sealed)
                self.rows += sealed.count
                self.findings += _rows(connection, entry, sealed)


def links(chain: Sequence[AuditEntry], of: str = "") -> Iterator[AuditFinding]:
    """What is wrong with the entries of a chain and their order; `of` says which chain."""

    def finding(entry: int, message: str) -> AuditFinding:
        return AuditFinding("chain", message + of, entry)

    places = _places_by_links(chain)
    expected, previous, shift = 1, NO_DIGEST, 0
    for entry in chain:
        n = entry.number
        if n > expected:
            lost = (
                f"entry {expected} is"
                if n == expected + 1
                else f"entries {expected} to {n - 1} are"
            )
            yield finding(expected, f"{lost} missing")
        if _digest_at(entry, n) == entry.digest:
            if n == expected and entry.previous != previous:
                yield finding(n, f"entry {n} does not follow on entry {n - 1} as that stands now")
        else:
            candidates = (places.get(entry.digest, n), n + shift, n + 1)
            belongs = next((p for p in candidates if _digest_at(entry, p) == entry.digest), n)
            shift = belongs - n
            if shift:
                yield finding(n, f"entry {n} was moved here from place {belongs}")
            else:
                yield finding(n, f"entry {n} ({entry.action}, {entry.at}) was changed")
        expected, previous = n + 1, entry.digest


def _places_by_links(chain: Sequence[AuditEntry]) -> dict[str, int]:
    """Where entries belong, by their digests, as far as one names the one before it."""
    following = {entry.previous: entry.digest for entry in chain}
    places, digest = dict[str, int](), NO_DIGEST
    while digest in following:
        digest = following.pop(digest)
        places[digest] = len(places) + 1
    return places


def _digest_at(entry: AuditEntry, number: int) -> str:
    texts = (entry.at, entry.actor, entry.action, entry.detail, entry.previous)
    # SQLite keeps any type in any column, and bytes have no canonical form.
    if not all(isinstance(each, str) for each in texts):
        return ""
    return audit.digest(number, entry.at, entry.actor, entry.action, entry.detail, entry.previous)


def _against(chain: Sequence[AuditEntry], kept: KeptHead) -> Iterator[AuditFinding]:
    last = chain[-1].number if chain else 0
    found = next((entry for entry in chain if entry.number == kept.number), None)
    if found is not None and found.digest == kept.digest:
        return
    if found is None and last < kept.number:
        said = f"the chain ends with entry {last}, the head kept elsewhere is entry {kept.number}: its end was cut off"
    else:
        said = (
            f"entry {kept.number} is not the one whose digest was kept elsewhere: "
            "the chain was written anew, or the head is of another database"
        )
    yield AuditFinding("head", said, kept.number)


def _merged(connection: Connection, chain: Sequence[AuditEntry]) -> Iterator[AuditFinding]:
    merges = {entry.number: entry for entry in chain if entry.action == "merge"}
    chains = dict(audit.merged(connection))
    for number, taken in chains.items():
        yield from links(taken, f", in the chain that entry {number} took over")
        if number not in merges:
            yield AuditFinding(
                "chain", f"no entry {number} tells of the chain kept under it", number
            )
    for number, entry in merges.items():
        head = _head_of(entry)
        taken = chains.get(number, [])
        if head != ((taken[-1].number, taken[-1].digest) if taken else None):
            said = (
                f"the chain that entry {number} took over does not end with the head that it names"
            )
            yield AuditFinding("chain", said, number)


def _head_of(entry: AuditEntry) -> tuple[int, str] | None:
    try:
        head = json.loads(entry.detail)["head"]
        return None if head is None else (head["number"], head["digest"])
    except (ValueError, KeyError, TypeError):
        return (0, "")


def _rows(
    connection: Connection, entry: AuditEntry, sealed: sealing.Seal
) -> Iterator[AuditFinding]:
    by = f"entry {entry.number} ({entry.action}, {entry.at})"
    try:
        # A server answers nothing more after an error, but for what comes after the step that failed.
        with nullcontext() if is_sqlite(connection) else connection.begin_nested():
            found = sealing.differences(connection, sealed)
    except DatabaseError as error:
        said = f"the rows of {sealed.table} that {by} sealed cannot be read: {error.message}"
        yield AuditFinding("changed", said, entry.number, sealed.table)
        return
    for each in found:
        if each.id is None:
            first, last = sealed.ranges[0][0], sealed.ranges[-1][1]
            said = f"one of the rows {first} to {last} of {sealed.table} is not as {by} sealed it"
            yield AuditFinding("changed", said, entry.number, sealed.table)
        elif each.kind == "missing":
            said = f"{_called(sealed.table, each.id, '')} is missing; {by} sealed it"
            yield AuditFinding("missing", said, entry.number, sealed.table, each.id)
        else:
            said = f"{_called(sealed.table, each.id, each.name)} is not as {by} sealed it"
            yield AuditFinding("changed", said, entry.number, sealed.table, each.id, each.name)


def _unsealed(connection: Connection, covered: sealing.Covered) -> Iterator[AuditFinding]:
    for table, _, (first, last), name in sealing.uncovered(connection, covered):
        more = "" if first == last else f" and {last - first} rows after it"
        said = f"{_called(table, first, name)}{more}: no entry tells of it"
        yield AuditFinding("unsealed", said, None, table, first, name)


def _called(table: str, row: int, name: str) -> str:
    if table in _RUNS:
        return f"{_CALLED[table]} {row}"
    return f"{_CALLED[table]} {name or '?'} (row {row} of {table})"


def _beside(connection: Connection, chain: Sequence[AuditEntry]) -> Iterator[AuditFinding]:
    yield from _facts(connection, chain)
    yield from decided.findings(connection, chain)
    yield from _triggers(connection)
    yield from _references(connection)


def _facts(connection: Connection, chain: Sequence[AuditEntry]) -> Iterator[AuditFinding]:
    """The facts of the case must be those that the entries set, in their order."""
    told: dict[str, str] = {}
    for entry in chain:
        if entry.action == "facts":
            try:
                told |= json.loads(entry.detail)["set"]
            except (ValueError, KeyError, TypeError):
                yield AuditFinding("chain", f"entry {entry.number} cannot be read", entry.number)
    for name, value in asdict(facts.read(connection)).items():
        if value != told.get(name, ""):
            said = f"the case's {name} is {value!r}; by the chain it is {told.get(name, '')!r}"
            yield AuditFinding("record", said, None, "case_fact", None, name)


def _triggers(connection: Connection) -> Iterator[AuditFinding]:
    if is_sqlite(connection):
        expected: tuple[str, ...] = TRIGGERS
        statement = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    else:
        from image_similarity.store import postgres

        expected, statement = TRIGGERS_ON_SERVER, postgres.TRIGGERS
    there = set(connection.exec_driver_sql(statement).scalars())
    for name in expected:
        if name not in there:
            said = f"the trigger {name}, which keeps the chain append-only, was removed"
            yield AuditFinding("record", said)
    # One of others could change what a run writes before it is sealed.
    for name in sorted(there.difference(expected)):
        yield AuditFinding("record", f"the trigger {name} is none of this program")


def _references(connection: Connection) -> Iterator[AuditFinding]:
    # A reference to nothing hides rows from searches, and from the checks by id as well. A server refuses it.
    if not is_sqlite(connection):
        return
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        said = f"row {row} of {table} refers to a row of {parent} that is not there"
        yield AuditFinding("record", said, None, table, row)
