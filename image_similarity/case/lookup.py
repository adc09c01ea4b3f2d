"""What a case has on record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.case.base import OpenedCase

if TYPE_CHECKING:
    from image_similarity.values import (
        DatabaseStatus,
        Failure,
        ImageRecord,
        ModelInfo,
        RunReport,
        Source,
    )


class Lookup(OpenedCase):
    """What is on record of pictures, models, sources and runs."""

    def image(self, sha256: str) -> ImageRecord:
        """Everything known of one content, by its SHA-256 or an unambiguous prefix of at least 6 digits.

        Raises:
            UnknownImage.
        """
        return self._catalog.image(sha256)

    def images(self, sha256s: Sequence[str]) -> list[ImageRecord]:
        """Everything known of contents by their whole SHA-256, in this order; what is not stored is missing."""
        return self._catalog.images(sha256s)

    def pdq_hash(self, sha256: str) -> tuple[str, int] | None:
        """The stored PDQ hash of a content, in hexadecimal digits, and its quality from 0 to 100; None without one."""
        from image_similarity.store import copies

        with self._catalog.reading() as connection:
            found = copies.hash_of(connection, sha256)
        return None if found is None else (found[0].hex(), found[1])

    def images_at(self, path: str | Path) -> list[ImageRecord]:
        """The contents that a path holds or held; a path on disk, or one relative to a source as hits print it.

        Raises:
            UnknownImage: If no picture is known there; files that could not be taken are in `failures`.
        """
        from image_similarity.pictures.names import text_forms

        return self._catalog.images_at(text_forms(os.fspath(path)))

    def models(self) -> list[ModelInfo]:
        """The models with stored vectors or scenes, oldest first."""
        return self._catalog.models()

    def sources(self) -> list[Source]:
        """The known sources, by name, with what they hold."""
        return self._catalog.sources()

    def runs(self) -> list[RunReport]:
        """All runs, newest first, without their failures."""
        return self._catalog.runs()

    def run(self, run_id: int) -> RunReport:
        """One run with its failures.

        Raises:
            UsageError: If there is no such run.
        """
        return self._catalog.run(run_id)

    def close_run(self, run_id: int) -> None:
        """Close a run that was killed on another machine and still counts as writing.

        Raises:
            UsageError: If no such run is open.
        """
        self._catalog.close_run(run_id)

    def failures(self, run_id: int | None = None) -> list[Failure]:
        """The failures that are still open (or those that one run met), by source and path."""
        return self._catalog.failures(run_id)

    def status(self) -> DatabaseStatus:
        """Schema, size and counts."""
        return self._catalog.status()
