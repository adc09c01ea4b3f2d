"""What a case hands out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from image_similarity.case.base import OpenedCase
from image_similarity.events import Listener, ignore

if TYPE_CHECKING:
    from image_similarity.reports.tiles import Look
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

    def sheet(
        self,
        path: str | Path,
        pictures: Sequence[str | Path] = (),
        *,
        chosen: Selection | None = None,
        model: str | None = None,
        k: int = 10,
        scene: str | Sequence[str] = "auto",
        columns: int = 5,
        tile: int = 200,
        look: Look = "blur",
        overwrite: bool = False,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> ReportWritten:
        """Write contact sheets, each of a query and its nearest pictures, and record them in the audit chain.

        Small pictures come from the stored thumbnails, or from files that still are what was indexed, one at a time.

        Args:
            path: OUT.png for one query, OUT.pdf for any number (pages of A4, one or more for each query), or a folder,
                made if it is missing, which gets a PNG for each. Files are readable by their owner only.
            pictures: Queries on disk.
            chosen: Queries that are stored, in the order of their indexing; `Selection()` is all of them.
            model: Whose vectors; not needed where the database holds those of one.
            k: Hits for each query, out of the whole database.
            scene: As in `search`.
            columns: Tiles side by side, 1 to 20.
            tile: The side of a tile in pixels, 48 to 512.
            look: "blur", "grey" or "reveal".
            overwrite: Replace earlier sheets; any other file is never replaced.
            on_event: Gets `Started` and `Progress`, counted in queries.
            stop: Asked after each query whether to end: finished pages in a folder stay, a file is not written then.

        Raises:
            UsageError: Nothing was chosen, a file lies there, or its folder cannot be written to or is evidence.
            ImageUnreadable: A query on disk cannot be read or decoded.
            InvalidSetting, UnknownScene, UnknownSource, UnknownImage, AmbiguousModel, ModelError, OSError.
        """
        from image_similarity.analysis import sheets
        from image_similarity.reports.sheet_layout import Form
        from image_similarity.search import SearchRequest

        scenes = (scene,) if isinstance(scene, str) else tuple(scene)
        return sheets.write(
            self._catalog,
            Path(path),
            [Path(each) for each in pictures],
            request=SearchRequest(model=model, k=k, scene=scenes),
            form=Form(columns, tile, look),
            chosen=chosen,
            overwrite=overwrite,
            on_event=on_event,
            stop=stop,
        )
