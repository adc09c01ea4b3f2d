"""`--manifest`: collects the results of a query and writes the manifest by which it can be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from image_similarity.case import Case, manifest_writer
from image_similarity.cli import evidence, options, output
from image_similarity.values import SearchResult

option = click.option(
    "--manifest",
    type=options.PATH,
    metavar="FILE.json",
    help="Also write by what the search can be repeated: `image-similarity replay`.",
)


class ManifestFile:
    """A manifest to be written; that its file may be written is settled before the search begins."""

    def __init__(
        self, target: Path, cases: Sequence[Case], given: Mapping[str, Any], *, force: bool
    ) -> None:
        from image_similarity.records import manifest

        evidence.refuse_inside_sources(target, cases)
        manifest.refuse_existing(target, overwrite=force)
        self._target, self._cases = target, cases
        self._writer = manifest_writer(
            cases,
            sources=given["sources"],
            under=given["under"],
            include_gone=given["include_gone"],
            include_partial=given["include_partial"],
        )

    def add(self, result: SearchResult) -> None:
        """Take one result."""
        self._writer.add(result)

    def write(self) -> Path:
        """Write the manifest, record it in the audit chain of each database, and return its path."""
        from image_similarity.records import manifest

        made = self._writer.manifest()
        manifest.write(self._target, made)
        for case in self._cases:
            refused = case.record_export("manifest", self._target, queries=len(made.queries))
            if refused:
                output.note(refused)
        return self._target


def opened(
    target: Path | None, cases: Sequence[Case], given: Mapping[str, Any], *, force: bool
) -> ManifestFile | None:
    """Give the manifest that was asked for, if any was."""
    return None if target is None else ManifestFile(target, cases, given, force=force)
