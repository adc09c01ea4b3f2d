"""What is said of a case, and what was done to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_similarity.case.base import OpenedCase
from image_similarity.events import Listener, ignore

if TYPE_CHECKING:
    from image_similarity.values import AuditEntry, AuditReport, CaseFacts, KeptHead, SearchResult


class Record(OpenedCase):
    """Case facts and the audit chain."""

    def facts(self) -> CaseFacts:
        """What was said of the case: number, examiner, exhibit, notes; empty where nothing was said."""
        from image_similarity.store import facts

        with self._catalog.reading() as connection:
            return facts.read(connection)

    def set_facts(self, **said: str) -> CaseFacts:
        """Set `number`, `examiner`, `exhibit`, `notes`, or some of them; the audit chain keeps what stood before.

        Raises:
            InvalidSetting: Another name.
        """
        from image_similarity.store import facts

        with self._catalog.writing() as connection:
            return facts.write(connection, said)

    @contextmanager
    def acting_as(self, examiner: str) -> Iterator[None]:
        """Name the examiner whose work this thread writes until the block ends; the audit chain keeps the name.

        An empty name is none: entries then say what the system knows, login name and machine.

        Raises:
            InvalidSetting: The name is more than a line of text of 100 characters.
        """
        from image_similarity.records import decisions
        from image_similarity.store import audit

        name = decisions.checked(examiner, "an examiner's name", 100) if examiner.strip() else ""
        with audit.acting_as(name):
            yield

    def audit_head(self) -> AuditEntry | None:
        """The last entry of the audit chain, to be kept elsewhere; None if there is none yet."""
        from image_similarity.store import audit

        with self._catalog.reading() as connection:
            return audit.head(connection)

    def audit(self, last: int | None = None) -> list[AuditEntry]:
        """The entries of the audit chain, or the `last` so many, in their order."""
        from image_similarity.store import audit

        with self._catalog.reading() as connection:
            return list(audit.entries(connection, last))

    def verify_audit(
        self, *, head: KeptHead | str | Path | None = None, on_event: Listener = ignore
    ) -> AuditReport:
        """Check the audit chain, every row that it seals, and that no row stands beside it.

        Args:
            head: A head that was kept elsewhere, or the file with it; without one a chain whose end was cut off, or
                that was written anew, looks like any other.
            on_event: Gets `Started` and `Progress`, counted in entries.

        Raises:
            InvalidSetting: The file holds no head.
        """
        from image_similarity.records.heads import read_head
        from image_similarity.store import chain

        kept = read_head(Path(head)) if isinstance(head, str | Path) else head
        return chain.check(self._catalog, kept, on_event=on_event)

    def kept_head(self) -> KeptHead:
        """The present head of the audit chain, to be kept elsewhere.

        Raises:
            UsageError: The chain has no entry yet.
        """
        from image_similarity.records import heads

        return heads.head(self._catalog)

    def record_query(self, result: SearchResult, **asked: Any) -> str | None:
        """Record a query and its hits in the audit chain, also if the case was opened for reading.

        Searches are not recorded by themselves. Gives None, or one sentence why it is not recorded.

        Args:
            result: What a search gave; of its hits those of this database are recorded.
            asked: What else was asked, as JSON values.
        """
        from image_similarity.records import queries

        return queries.record(self._catalog, result, **asked)

    def record_export(self, kind: str, path: str | Path, **detail: Any) -> str | None:
        """Record a file that was written for the user in the audit chain, also if the case was opened for reading.

        Gives None, or one sentence why it is not recorded; see `image_similarity.records.exports.record`.
        """
        from image_similarity.records import exports

        return exports.record(self._catalog, kind, Path(path), **detail)
