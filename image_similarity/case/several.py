"""What is asked of several cases at once, and what is read of none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.events import Listener, ignore
from image_similarity.values import Location, location

if TYPE_CHECKING:
    from image_similarity.case.base import OpenedCase
    from image_similarity.records.manifest import Writer
    from image_similarity.search import SearchRequest
    from image_similarity.search.choice import Shared
    from image_similarity.values import Failure, ReplayReport, ReportWritten, SearchResult


def sharing(ranking: AbstractContextManager[object]) -> Shared:
    """Give what the searches of several threads must have in common; they rank in `ranking`, a lock, one at a time."""
    from image_similarity.search.choice import Networks, Shared

    return Shared(Networks("auto"), ranking)


def search_cases(
    cases: Sequence[OpenedCase],
    request: SearchRequest,
    *,
    on_event: Listener = ignore,
    shared: Shared | None = None,
) -> SearchResult:
    """Rank the pictures of several cases by their distance to one query, without merging the databases."""
    from image_similarity.search import search

    return search([case._catalog for case in cases], request, on_event=on_event, shared=shared)


def search_cases_fused(
    cases: Sequence[OpenedCase],
    pictures: Sequence[str | Path],
    request: SearchRequest,
    *,
    against: Sequence[str | Path] = (),
    stored: Sequence[str] = (),
    stored_against: Sequence[str] = (),
    shared: Shared | None = None,
) -> tuple[SearchResult, list[Failure]]:
    """Rank the pictures of several cases by what several queries say together; see `image_similarity.search.fusion`."""
    from image_similarity.search.fusion import search_fused

    return search_fused(
        [case._catalog for case in cases],
        [Path(picture) for picture in pictures],
        request,
        against=[Path(picture) for picture in against],
        stored=stored,
        stored_against=stored_against,
        shared=shared,
    )


def search_cases_folder(
    cases: Sequence[OpenedCase],
    folder: str | Path,
    request: SearchRequest,
    *,
    on_event: Listener = ignore,
) -> Iterator[SearchResult | Failure]:
    """Give one ranked result for each picture below a folder; unreadable ones come as `Failure`."""
    from image_similarity.search import search_folder

    return search_folder(
        [case._catalog for case in cases], Path(folder), request, on_event=on_event
    )


def manifest_writer(
    cases: Sequence[OpenedCase],
    *,
    sources: Sequence[str] = (),
    under: str | None = None,
    include_gone: bool = False,
    include_partial: bool = True,
) -> Writer:
    """Give what collects the answers to one request, made `with_basis`, for a manifest; with the request's filters.

    See `image_similarity.records.manifest`.
    """
    from image_similarity.records.manifest import Writer
    from image_similarity.store.gallery import PlaceFilter

    places = PlaceFilter(tuple(sources), under, include_gone, include_partial)
    return Writer([case._catalog for case in cases], places)


def manifest_databases(manifest: str | Path) -> list[Location]:
    """The databases that a manifest was made of, where they were then; one on a server is named without a password.

    Raises:
        ManifestRefused.
        DatabaseMissing: One lies there no more.
    """
    from image_similarity.errors import DatabaseMissing
    from image_similarity.pictures.names import from_text
    from image_similarity.records import manifest_reading, replay

    named = replay.paths(manifest_reading.read(Path(manifest)))
    found = [location(from_text(path)) for path in named]
    for path in found:
        if isinstance(path, Path) and not path.is_file():
            raise DatabaseMissing(
                f"the database of the manifest is not at {path} any more",
                hint="name where it lies now: -dp DB, once for each in the order of the manifest",
            )
    return found


def replay_manifest(
    cases: Sequence[OpenedCase],
    manifest: str | Path,
    *,
    block: int | None = None,
    on_event: Listener = ignore,
) -> ReplayReport:
    """Rank again what a manifest says, over the rows as of its run; see `image_similarity.records.replay`.

    Raises:
        ManifestRefused, UsageError, InvalidSetting, DatabaseDamaged.
    """
    from image_similarity.records import manifest_reading
    from image_similarity.records.replay import BLOCK, replay

    return replay(
        [case._catalog for case in cases],
        manifest_reading.read(Path(manifest)),
        block=BLOCK if block is None else block,
        on_event=on_event,
    )


def write_sheet(
    cases: Sequence[OpenedCase],
    results: Sequence[SearchResult],
    path: str | Path,
    *,
    settings: Mapping[str, str],
    overwrite: bool = False,
) -> ReportWritten:
    """Write the results of searches in several cases as one HTML report, and record it in each audit chain.

    Args:
        cases: The cases that were searched.
        results: The queries with their hits, in the order of the report.
        path: The file; see `Case.report`.
        settings: What was asked for, shown as it is.
        overwrite: Replace an earlier HTML report.

    Raises:
        UsageError: A file lies there, or its folder cannot be written to or is evidence.
        OSError.
    """
    from image_similarity.records import reporting

    catalogs = [case._catalog for case in cases]
    return reporting.write_sheet(
        catalogs, results, Path(path), settings=settings, overwrite=overwrite
    )
