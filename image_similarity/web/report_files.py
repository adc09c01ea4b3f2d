"""Reports that the page writes: their folder, their names, and what lies there."""

from __future__ import annotations

import hashlib
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from image_similarity.case import Case
from image_similarity.web.options import ServeOptions
from image_similarity.web.problems import Refused

Form = Literal["html", "csv", "jsonl", "vics", "case-uco"]
_ENDINGS: dict[Form, str] = {
    "html": "html",
    "csv": "csv",
    "jsonl": "jsonl",
    "vics": "vics.json",
    "case-uco": "case.jsonld",
}
# By the last part of the name.
MEDIA_TYPES = {
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "jsonld": "application/ld+json",
}
NAME = r"^report-[0-9]{8}T[0-9]{6}Z(-[0-9]{1,4})?\.(html|csv|csv\.about\.json|jsonl|vics\.json|case\.jsonld)$"
# Seconds that one report waits for another.
_PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Written:
    """A file in the folder of reports."""

    name: str
    path: Path
    size: int
    written_at: str


class ReportFiles:
    """The folder of reports; one is written at a time."""

    def __init__(self, options: ServeOptions) -> None:
        self.folder = (
            options.reports or options.database.with_name(f"{options.database.name}-reports")
        ).absolute()
        self._writing = threading.Lock()

    @contextmanager
    def next(self, case: Case, form: Form) -> Iterator[Path]:
        """A file that is not there yet, in the folder, which is made where it is missing.

        Raises:
            Refused: Another report is being written, or this one, or its folder, cannot be.
            UsageError: The folder lies in the evidence.
        """
        if not self._writing.acquire(timeout=_PATIENCE):
            raise Refused(503, "busy", "another report is being written", "try again when it is")
        try:
            case.refuse_inside(self.folder)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            yield self._free(form)
        except OSError as error:
            told = f"the report cannot be written: {error.filename}: {error.strerror}"
            raise Refused(
                409, "not_written", told, "free space, or serve with --reports DIR"
            ) from error
        finally:
            self._writing.release()

    def written(self) -> list[Written]:
        """The reports that lie there, the latest first."""
        try:
            found = [self._file(each) for each in self.folder.iterdir()]
        except OSError:
            return []
        files = (each for each in found if each is not None)
        return sorted(files, key=lambda each: (each.written_at, each.name), reverse=True)

    def get(self, name: str) -> Written:
        """One of them.

        Raises:
            Refused: There is none of this name.
        """
        found = self._file(self.folder / name)
        if found is None:
            raise Refused(404, "no_such_report", "there is no such report")
        return found

    def _free(self, form: Form) -> Path:
        stem = f"report-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        number = 0
        while True:
            more = f"-{number}" if number else ""
            path = self.folder / f"{stem}{more}.{_ENDINGS[form]}"
            if not path.exists() and not path.is_symlink():
                return path
            number += 1

    def _file(self, path: Path) -> Written | None:
        """A file of ours by its name; None for anything else, and for links, which could lead anywhere."""
        try:
            status = path.lstat()
        except OSError:
            return None
        if not re.fullmatch(NAME, path.name) or not stat.S_ISREG(status.st_mode):
            return None
        at = datetime.fromtimestamp(status.st_mtime, UTC)
        return Written(path.name, path, status.st_size, f"{at:%Y-%m-%dT%H:%M:%SZ}")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
