"""`--report`: collects the results of a query and writes the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import evidence
from image_similarity.cli.hits import on_disk
from image_similarity.reports import html
from image_similarity.values import Hit, SearchResult


class Report:
    """A contact sheet to be written; that its file may be written is settled before the search begins."""

    def __init__(self, target: Path, cases: Sequence[Case], *, force: bool) -> None:
        evidence.refuse_inside_sources(target, cases)
        html.refuse_existing(target, overwrite=force)
        self._target = target
        self._databases = [str(case.path) for case in cases]
        self._force = force
        self._results: list[SearchResult] = []

    def add(self, result: SearchResult) -> None:
        """Take one result."""
        self._results.append(result)

    def write(self) -> Path:
        """Write the sheet and return its path."""
        html.write(
            self._results,
            self._target,
            settings={"databases": ", ".join(self._databases), **_settings()},
            preview=_preview,
            overwrite=self._force,
        )
        return self._target


def _settings() -> dict[str, str]:
    """The options of the command that is running, as far as they were given."""
    context = click.get_current_context()
    left_out = {"databases", "report", "force", "form", "null"}
    given = {name: value for name, value in context.params.items() if name not in left_out}
    return {
        name.replace("_", " "): ", ".join(map(str, value))
        if isinstance(value, tuple)
        else str(value)
        for name, value in given.items()
        if value not in (None, (), False)
    }


def _preview(shown: SearchResult | Hit) -> bytes | None:
    """A small JPEG, or None where the file is missing, unreadable, or no longer the picture that was compared."""
    from image_similarity.pictures.names import from_text
    from image_similarity.pictures.picture_error import PictureError
    from image_similarity.pictures.read import Contents, read_file
    from image_similarity.pictures.thumbnail import thumbnail

    try:
        if isinstance(shown, Hit):
            path, sha256 = on_disk(shown.place), shown.image.sha256
        else:
            path, sha256 = from_text(shown.query), shown.sha256
        found = read_file(path)
        if isinstance(found, Contents) and found.digests.sha256 == sha256:
            return thumbnail(found.data, side=html.PREVIEW_SIDE)
    except (PictureError, ValueError):
        pass
    return None
