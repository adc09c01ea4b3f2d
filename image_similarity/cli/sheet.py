"""`query --report`: collects the results of a query and writes them as an HTML report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from image_similarity.case import Case, write_sheet
from image_similarity.cli import evidence, output
from image_similarity.reports import html, target
from image_similarity.values import Failure, SearchResult


class Sheet:
    """A report to be written; that its file may be written is settled before the search begins."""

    def __init__(self, path: Path, cases: Sequence[Case], *, force: bool) -> None:
        evidence.refuse_inside_sources(path, cases)
        target.refuse_existing(path, mark=html.MARK, overwrite=force)
        self._path = path
        self._cases = cases
        self._force = force
        self._results: list[SearchResult] = []
        self._unread: list[str] = []

    def add(self, result: SearchResult) -> None:
        """Take one result."""
        # Numbers over all pictures, which a report does not show, take much memory.
        self._results.append(replace(result, basis=None) if result.basis else result)

    def miss(self, failure: Failure) -> None:
        """Take a query that could not be searched with: the report must not look as if it had been."""
        self._unread.append(f"{failure.path}: {failure.message}")

    def write(self) -> Path:
        """Write the sheet, record it in each database, and return its path."""
        written = write_sheet(
            self._cases,
            self._results,
            self._path,
            settings={**_settings(), **self._missed()},
            overwrite=self._force,
        )
        for text in written.notes:
            output.note(text)
        return self._path

    def _missed(self) -> dict[str, str]:
        if not self._unread:
            return {}
        return {f"not searched with ({len(self._unread)})": "; ".join(self._unread)}


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
