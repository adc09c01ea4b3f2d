"""What a case hands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from image_similarity.case.base import OpenedCase
from image_similarity.events import Listener, ignore

if TYPE_CHECKING:
    from image_similarity.values import Coverage, ReportWritten, Selection


class Reports(OpenedCase):
    """From pictures or hits to files for others."""

    def coverage(self) -> Coverage:
        """What of the evidence this database covers and what not, as every report says it, with the audit head."""
        from image_similarity.records import reporting

        return reporting.coverage(self._catalog)

    def report(
        self,
        form: Literal["html", "csv", "jsonl", "vics", "case-uco"],
        path: str | Path,
        *,
        chosen: Selection | None = None,
        hits: Sequence[Mapping[str, Any]] = (),
        limit: int | None = None,
        overwrite: bool = False,
        on_event: Listener = ignore,
    ) -> ReportWritten:
        """Write a report of some hits, of a selection or of the whole case, and record it in the audit chain.

        CSV comes with a second file, named as the first with `.about.json` behind it, that says what was searched.

        Args:
            form: What to write.
            path: The file, readable by its owner only; it is there whole or not at all.
            chosen: Which pictures; all by default.
            hits: Rows as `reports.hits_file.read_hits` gives them; `chosen` counts for nothing then.
            limit: At most so many pictures or hits; the report says how many it left out.
            overwrite: Replace an earlier report of this form; any other file is never replaced.
            on_event: Gets `Started` and `Progress`, counted in pictures.

        Raises:
            UsageError: A file lies there, or its folder cannot be written to or is evidence.
            UnknownImage, UnknownSource, UnknownScene, InvalidSetting, OSError.
        """
        from image_similarity.records import reporting
        from image_similarity.values import Selection as Choice

        return reporting.write_report(
            self._catalog,
            form,
            Path(path),
            chosen=chosen or Choice(),
            hits=hits,
            limit=limit,
            overwrite=overwrite,
            on_event=on_event,
        )
