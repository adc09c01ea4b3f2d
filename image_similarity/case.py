"""Case: one database, opened; the public class of the library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from image_similarity.events import Listener, ignore
from image_similarity.settings import IndexOptions

if TYPE_CHECKING:
    from image_similarity.pictures.region import Region
    from image_similarity.search import SearchRequest
    from image_similarity.store.catalog import Catalog
    from image_similarity.values import (
        AnnInfo,
        AuditEntry,
        Calibration,
        CaseFacts,
        DatabaseStatus,
        Failure,
        ImageRecord,
        ModelInfo,
        RunReport,
        SearchResult,
        Source,
        VerifyReport,
    )


class Case:
    """A database of one case: what was indexed, where it was, what it looks like.

    Example:
        ```
        with Case.open("case-17.db") as case:
            report = case.index("/evidence/disk-07", source="disk-07")
            for hit in case.search("query.jpg", k=20).hits:
                print(hit.rank, hit.distance, hit.place.path)
        ```
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        read_only: bool = False,
        upgrade: bool = True,
        on_event: Listener = ignore,
    ) -> Case:
        """Open a database; a writer creates a missing one and upgrades an older one after a backup beside it.

        Args:
            path: The SQLite file.
            read_only: Open for reading; the file is neither created nor upgraded nor written.
            upgrade: With False a writer refuses an older database, too.
            on_event: Gets a `Notice` when a database was upgraded or recovered.

        Raises:
            DatabaseMissing, NotOurDatabase, DatabaseDamaged, SchemaTooOld, SchemaTooNew, DatabaseNotWritable.
        """
        from image_similarity.store.catalog import Catalog

        return cls(
            Catalog.open(Path(path), read_only=read_only, upgrade=upgrade, on_event=on_event)
        )

    def close(self) -> None:
        """Close the database; a second call does nothing."""
        self._catalog.close()

    def __enter__(self) -> Case:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The database file."""
        return self._catalog.path

    # -- indexing -----------------------------------------------------------------------------------------------

    def index(
        self,
        folder: str | Path,
        *,
        options: IndexOptions | None = None,
        source: str | None = None,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> RunReport:
        """Take every new or changed picture below a folder (or one picture) into the database.

        Args:
            folder: The folder; opened read-only. Its own database must not lie inside it.
            options: Models, scene model, batch size and the like; the built-in model by default.
            source: The name under which the folder is known; the folder's own name by default.
            on_event: Called with `Started`, `Progress`, `Failed`, `Notice`, `Finished`, from this thread.
            stop: Asked between pictures; once it says True the batch is finished and the run ends "interrupted".

        Returns:
            The account of the run; `status` is "done", "partial" (some files failed) or "interrupted".

        Raises:
            FolderMissing, NothingToIndex, DatabaseInsideEvidence, DatabaseLocked, DatabaseNotWritable, ModelError.
        """
        from image_similarity.indexing import index_folder

        return index_folder(
            self._catalog,
            Path(folder),
            options or IndexOptions(),
            source=source,
            on_event=on_event,
            stop=stop,
        )

    def refresh(
        self,
        sources: Sequence[str] = (),
        *,
        options: IndexOptions | None = None,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> list[RunReport]:
        """Index every known source (or those named) again with the models and settings of its last run.

        Only new or changed files are read. With `options`, its machine settings (batch size, workers, device,
        runtime) and its `rehash` and `retry_failed` are used; models, scene model and excludes are those recorded.

        Raises:
            UnknownSource, and whatever `index` raises.
        """
        from image_similarity.indexing import refresh_sources

        return refresh_sources(
            self._catalog, sources, options or IndexOptions(), on_event=on_event, stop=stop
        )

    # -- searching ----------------------------------------------------------------------------------------------

    def search(
        self,
        query: str | Path | None = None,
        *,
        sha256: str | None = None,
        model: str | None = None,
        k: int = 5,
        max_distance: float | None = None,
        scene: str | Sequence[str] = "auto",
        sources: Sequence[str] = (),
        under: str | None = None,
        include_gone: bool = False,
        include_partial: bool = True,
        device: str = "auto",
        runtime: str = "auto",
        calibration: Calibration | None = None,
        approximate: bool = False,
        index: str | Path | None = None,
        region: Region | None = None,
    ) -> SearchResult:
        """Rank the pictures of this database by their distance to one query. See `image_similarity.search.search`.

        With an `index`, a file that `build_ann` wrote, the search is approximate. From the second search on the compact
        codes of the vectors are kept in memory, up to 4 GiB, until the database changes. A `region` searches with
        part of the picture.
        """
        from image_similarity.search import SearchRequest, search

        request = SearchRequest(
            query=None if query is None else Path(query),
            sha256=sha256,
            model=model,
            k=k,
            max_distance=max_distance,
            scene=(scene,) if isinstance(scene, str) else tuple(scene),
            sources=tuple(sources),
            under=under,
            include_gone=include_gone,
            include_partial=include_partial,
            device=device,
            runtime=runtime,
            calibration=calibration,
            approximate=approximate or index is not None,
            index=None if index is None else Path(index),
            region=region,
        )
        return search([self._catalog], request)

    def calibrate(
        self, groups: str | Path, *, model: str | None = None, same: str | None = None
    ) -> Calibration:
        """Learn likelihood ratios for a model's distances from 200 or more groups of stored pictures.

        Args:
            groups: CSV with a header "path,group": pictures as hits print them, or by SHA-256.
            model: Whose vectors; not needed where the database holds those of one.
            same: What the pictures of a group have in common, as a sentence: "both pictures show the same room".

        Raises:
            CalibrationRefused: The list is unsound, names an unknown picture, or has too few groups.
            TrainingPicturesMet: The model was trained on one of the pictures.
            AmbiguousModel, UnknownModel.
        """
        from image_similarity.calibration.calibrate import calibrate
        from image_similarity.calibration.groups import read_groups
        from image_similarity.search.grouped import gather

        listed = read_groups(Path(groups))
        grouped, info = gather(self._catalog, listed, model)
        return calibrate(grouped, listed, info, same=same)

    def build_ann(
        self,
        path: str | Path | None = None,
        *,
        model: str | None = None,
        recall: float = 0.999,
        seed: int = 1,
        on_event: Listener = ignore,
    ) -> AnnInfo:
        """Build an index for approximate searches and measure how often it finds the true nearest pictures.

        Args:
            path: The file; DB.MODEL.ann beside the database unless given. An earlier index there is replaced.
            model: Whose vectors; not needed where the database holds those of one.
            recall: The recall@10 to aim at, in (0, 1]; what was reached is in the result.
            seed: Draws the vectors that are held aside to measure it.
            on_event: Gets `Started` and `Progress`, counted in vectors.

        Raises:
            UsageError: Another file lies there.
            InvalidSetting: The recall is no share.
            IndexRefused: There are fewer than 1,000 vectors.
            ExtraMissing, AmbiguousModel, UnknownModel, OSError.
        """
        from image_similarity.search import ann_file

        return ann_file.make(
            self._catalog,
            None if path is None else Path(path),
            model=model,
            target=recall,
            seed=seed,
            on_event=on_event,
        )

    # -- looking things up --------------------------------------------------------------------------------------

    def image(self, sha256: str) -> ImageRecord:
        """Everything known of one content, by its SHA-256 or an unambiguous prefix of at least 6 digits.

        Raises:
            UnknownImage.
        """
        return self._catalog.image(sha256)

    def images_at(self, path: str | Path) -> list[ImageRecord]:
        """The contents that a path holds or held; a path on disk, or one relative to a source as hits print it.

        Raises:
            UnknownImage: If no picture is known there; files that could not be taken are in `failures`.
        """
        return self._catalog.images_at(_text_forms(os.fspath(path)))

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

    # -- the record of the case ---------------------------------------------------------------------------------

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

    def audit_head(self) -> AuditEntry | None:
        """The last entry of the audit chain, to be kept elsewhere; None if there is none yet."""
        from image_similarity.store import audit

        with self._catalog.reading() as connection:
            return audit.head(connection)

    def record_export(self, kind: str, path: str | Path, **detail: Any) -> str | None:
        """Record a file that was written for the user in the audit chain, also if the case was opened for reading.

        Gives None, or one sentence why it is not recorded; see `image_similarity.records.exports.record`.
        """
        from image_similarity.records import exports

        return exports.record(self._catalog, kind, Path(path), **detail)

    # -- care ---------------------------------------------------------------------------------------------------

    def verify(self, *, rehash: bool = False, on_event: Listener = ignore) -> VerifyReport:
        """Check the records, and with `rehash` every file against the hash of the time it was first indexed."""
        from image_similarity.verify import verify

        return verify(self._catalog, rehash=rehash, on_event=on_event)

    def pack(self) -> int:
        """Make the packs that are missing, as after an upgrade, so that queries need not read row by row.

        Each run does this, too; returns how many were made.
        """
        from image_similarity.indexing import packing

        return packing.pack(self._catalog)

    def backup(self, target: str | Path) -> Path:
        """Copy the database, consistently even while a run writes, to a new file; an existing one is refused."""
        return self._catalog.backup(Path(target))


def _text_forms(path: str) -> list[str]:
    """Every way in which a path, as a user gives it, may be on record: as printed, as typed, and where it lies on disk.

    A link in the evidence is a place of its own, so the last name is not resolved; but a link that leads into the
    evidence means what it leads to.
    """
    from image_similarity.pictures.names import to_text

    folder, name = os.path.split(path)
    on_disk = [os.path.join(os.path.realpath(folder), name), os.path.realpath(path)]  # noqa: PTH118
    texts = [to_text(each) for each in (path, *on_disk)]
    is_text = path.isprintable()
    return list(dict.fromkeys([path, *texts] if is_text else texts))


def search_cases(cases: Sequence[Case], request: SearchRequest) -> SearchResult:
    """Rank the pictures of several cases by their distance to one query, without merging the databases."""
    from image_similarity.search import search

    return search([case._catalog for case in cases], request)


def search_cases_folder(
    cases: Sequence[Case], folder: str | Path, request: SearchRequest
) -> Iterator[SearchResult | Failure]:
    """Give one ranked result for each picture below a folder; unreadable ones come as `Failure`."""
    from image_similarity.search import search_folder

    return search_folder([case._catalog for case in cases], Path(folder), request)


def check_folder(folder: str | Path, database: str | Path) -> None:
    """Refuse a folder that cannot be indexed into this database, before the database is created.

    Raises:
        FolderMissing, DatabaseInsideEvidence.
    """
    from image_similarity.indexing import check_folder as check

    check(Path(folder), Path(database))
