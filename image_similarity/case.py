"""Case: one database, opened; the public class of the library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from image_similarity.events import Listener, ignore
from image_similarity.settings import IndexOptions

if TYPE_CHECKING:
    from image_similarity.pictures.region import Region
    from image_similarity.records.manifest import Writer
    from image_similarity.search import SearchRequest
    from image_similarity.store.catalog import Catalog
    from image_similarity.values import (
        AgainstReport,
        AnnInfo,
        AuditEntry,
        AuditReport,
        Calibration,
        CaseFacts,
        Coverage,
        DatabaseStatus,
        Decision,
        Duplicates,
        Explanation,
        Failure,
        HashList,
        HashListReport,
        ImageRecord,
        ImportReport,
        KeptHead,
        KnownPlace,
        MergeReport,
        ModelInfo,
        RelinkReport,
        ReplayReport,
        ReportWritten,
        RunReport,
        SearchResult,
        Selection,
        Source,
        TraceReport,
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
        strength: bool = False,
        max_expected_false: float | None = None,
        near: bool = False,
        turned: bool = False,
        verify: bool = False,
        by_inliers: bool = False,
        candidates: int = 200,
        known: Literal["mark", "hide", "only"] = "mark",
        include_irrelevant: bool = False,
        tags: Sequence[str] = (),
        on_event: Listener = ignore,
    ) -> SearchResult:
        """Rank the pictures of this database by their distance to one query. See `image_similarity.search.search`.

        With an `index`, a file that `build_ann` wrote, the search is approximate. From the second search on the compact
        codes of the vectors are kept in memory, up to 4 GiB, until the database changes. A `region` searches with
        part of the picture. `near` (with `turned` in any orientation) also finds near duplicates; `verify` counts the
        local features that one geometry explains, and `by_inliers` orders the `candidates` nearest by them. `strength`,
        implied by `max_expected_false`, adds how many unrelated pictures are expected. `known` says what becomes of
        pictures of hash lists, `include_irrelevant` brings back what was judged so, `tags` are those of which a picture
        must have one.
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
            strength=strength or max_expected_false is not None,
            max_expected_false=max_expected_false,
            near=near,
            turned=turned,
            verify=verify or by_inliers,
            by_inliers=by_inliers,
            candidates=candidates,
            known=known,
            include_irrelevant=include_irrelevant,
            tags=tuple(tags),
        )
        return search([self._catalog], request, on_event=on_event)

    def duplicates(
        self,
        *,
        near: bool = False,
        turned: bool = False,
        sources: Sequence[str] = (),
        on_event: Listener = ignore,
    ) -> Duplicates:
        """Stacks of pictures that are copies: one content at several places, and with `near` contents near by PDQ.

        Pictures that are no longer there do not count. All pairs of hashes are compared: time grows with the square of
        their number.

        Args:
            near: Also stacks of near duplicates, of the pictures that a run with `IndexOptions.pdq` hashed.
            turned: Also where one is turned or mirrored, in any of eight orientations.
            sources: Only pictures of these.
            on_event: Gets `Started` and `Progress`, counted in pictures.

        Raises:
            UnknownSource, DatabaseDamaged.
        """
        from image_similarity.search.stacks import duplicates

        return duplicates(
            self._catalog, near=near, turned=turned, sources=sources, on_event=on_event
        )

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

        info = ann_file.make(
            self._catalog,
            None if path is None else Path(path),
            model=model,
            target=recall,
            seed=seed,
            on_event=on_event,
        )
        self.record_export("index", info.path, model=info.model, vectors=info.vectors)
        return info

    def explain(
        self,
        query: str | Path,
        hit: str | Path,
        target: str | Path | None = None,
        *,
        model: str | None = None,
        method: str = "auto",
        device: str = "auto",
        runtime: str = "auto",
        on_event: Listener = ignore,
    ) -> Explanation:
        """Say why two pictures came out as similar, and draw it; see `image_similarity.explain.pair.explain`.

        Args:
            query: A path on disk, a SHA-256, or a place as hits print it.
            hit: Likewise.
            target: A PNG to write, which shows both side by side; an existing file is replaced.
            model: Whose vectors; not needed where the database holds those of one.
            method: "auto", "points" or "occlusion".
            device: Where the network runs.
            runtime: What runs it.
            on_event: Gets `Started` and `Progress`, counted in views.

        Raises:
            InvalidSetting, UnknownImage, ImageUnreadable, ExtraMissing, AmbiguousModel, ModelError, OSError.
        """
        from image_similarity.explain.pair import explain

        pair = explain(
            self._catalog,
            os.fspath(query),
            os.fspath(hit),
            model=model,
            method=method,
            device=device,
            runtime=runtime,
            on_event=on_event,
        )
        if target is not None:
            from image_similarity.explain.draw import write

            write(pair, Path(target))
        return pair.explanation

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

    # -- reports ------------------------------------------------------------------------------------------------

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

    # -- known files and decisions --------------------------------------------------------------------------------

    def import_hash_list(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        form: Literal["plain", "csv", "nsrl", "vics"] | None = None,
        on_event: Listener = ignore,
    ) -> HashListReport:
        """Import a file of known hashes: plain, CSV, NSRL-like or VICS-style; a picture that it holds is known.

        The file is read first, with little memory, and stored in one transaction at the end: all of it, or nothing.

        Args:
            path: The file, in UTF-8 or with a byte order mark.
            name: What the list is called; the file's name without its suffix by default.
            form: What it is; told from its beginning by default.
            on_event: Gets `Started` and `Progress`, counted in megabytes that were read, then in hashes stored.

        Raises:
            HashListRefused: It is not of the form, damaged, or holds no hash that could be used.
            InvalidSetting: The name is taken or is no line of text.
            DatabaseLocked, DatabaseNotWritable, OSError.
        """
        from image_similarity.records import hash_lists

        return hash_lists.import_list(
            self._catalog, Path(path), name=name, form=form, on_event=on_event
        )

    def remove_hash_list(self, name: str) -> HashList:
        """Remove a hash list; the audit chain keeps that it was there.

        Raises:
            UsageError: There is none of this name.
        """
        from image_similarity.records import hash_lists

        return hash_lists.remove_list(self._catalog, name)

    def hash_lists(self) -> list[HashList]:
        """The hash lists, by name."""
        from image_similarity.records import hash_lists

        return hash_lists.all_lists(self._catalog)

    def known_places(self, name: str | None = None) -> Iterator[KnownPlace]:
        """Every place whose content a hash list holds, or this one, also of files that could not be taken.

        Raises:
            UsageError: There is no list of this name.
        """
        from image_similarity.records import hash_lists

        return hash_lists.known_places(self._catalog, name)

    def decide(
        self, picture: str | Path, kind: Literal["tag", "note", "category"], value: str
    ) -> Decision | None:
        """Say something of a content, for every place where it lies and will be found; None if it was said before.

        A content has any number of tags and notes, and one category: a new one takes the place of the one before.

        Args:
            picture: A path as for `images_at`, "source:path", or a SHA-256 or prefix of it.
            kind: What is said.
            value: One line of text, a note up to 2,000 characters, the others up to 100.

        Raises:
            UnknownImage: No picture, or several, are meant.
            InvalidSetting: The text is none that can be stored.
        """
        from image_similarity.records import decisions

        meant = decisions.picture_named(self._catalog, os.fspath(picture), _text_forms)
        return decisions.decide(self._catalog, meant, kind, value)

    def judge(
        self, query: str | Path, hit: str | Path, verdict: Literal["relevant", "irrelevant"]
    ) -> Decision | None:
        """Say whether a hit belongs to a query; an irrelevant one is no hit of this query any more.

        A verdict takes the place of the one before; None if it was said before.

        Args:
            query: A picture on disk, which need not be stored, or a stored one, named as for `decide`.
            hit: A stored picture.
            verdict: For the two contents, wherever they lie.

        Raises:
            UnknownImage: No picture, or several, are meant.
            ImageUnreadable: The query cannot be read.
        """
        from image_similarity.records import decisions

        query_sha256 = decisions.query_named(self._catalog, os.fspath(query), _text_forms)
        meant = decisions.picture_named(self._catalog, os.fspath(hit), _text_forms)
        return decisions.judge(self._catalog, query_sha256, meant, verdict)

    def withdraw(self, *names: str) -> list[Decision]:
        """Withdraw decisions by their names, all or none; they stay on record, with the time.

        Raises:
            UsageError: There is none of a name, or it was withdrawn before.
        """
        from image_similarity.records import decisions

        return decisions.withdraw(self._catalog, names)

    def decisions(self, *, tag: str | None = None, withdrawn: bool = False) -> list[Decision]:
        """The decisions that stand, or with `withdrawn` all; with a `tag` those of contents that have it."""
        from image_similarity.records import decisions

        return decisions.listed(self._catalog, tag=tag, withdrawn=withdrawn)

    # -- care ---------------------------------------------------------------------------------------------------

    def verify(self, *, rehash: bool = False, on_event: Listener = ignore) -> VerifyReport:
        """Check the records, and with `rehash` every file against the hash of the time it was first indexed."""
        from image_similarity.verify import verify

        return verify(self._catalog, rehash=rehash, on_event=on_event)

    def verify_against(self, hashes: str | Path, *, sources: Sequence[str] = ()) -> AgainstReport:
        """Compare a list of acquisition hashes (hashdeep, md5sum and its kin, bare hashes) with what is recorded.

        Raises:
            HashListRefused: The list is unsound.
            UsageError: There is no such list.
            UnknownSource.
        """
        from image_similarity.records.against import compare

        return compare(self._catalog, Path(hashes), sources)

    def relink(
        self,
        source: str,
        new_root: str | Path,
        *,
        sample: int | None = None,
        allow_missing: bool = False,
        dry_run: bool = False,
        on_event: Listener = ignore,
    ) -> RelinkReport:
        """Move a source to the folder where its evidence is mounted now, if its files prove to be the same there.

        See `image_similarity.records.relink.relink`.
        """
        from image_similarity.records.relink import relink

        return relink(
            self._catalog,
            source,
            Path(new_root),
            sample=sample,
            allow_missing=allow_missing,
            dry_run=dry_run,
            on_event=on_event,
        )

    def import_earlier(
        self,
        database: str | Path,
        folder: str | Path,
        *,
        source: str | None = None,
        max_megapixels: float = 250.0,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> ImportReport:
        """Take over a database of the earlier image-similarity, with vectors and scenes under a model of their own.

        Both the earlier database and the pictures are only read. Rows whose picture is missing or unreadable, or whose
        embedding is malformed, become failures on record. A later call takes up where one was stopped.

        Args:
            database: The earlier database: metadata(imageId, image_path, embedding, scene_type).
            folder: Where its pictures lie now; recorded as a source.
            source: The name of that source; the folder's own name by default.
            max_megapixels: Larger pictures are not decoded.
            on_event: Gets `Started`, `Progress`, `Failed` and `Finished`, counted in rows.
            stop: Asked between batches of rows.

        Raises:
            NotOurDatabase: It is no such database.
            NothingToIndex: None of its pictures lies below the folder.
            DatabaseMissing, FolderMissing, DatabaseInsideEvidence, InvalidSetting, DatabaseLocked.
        """
        from image_similarity.records.earlier import import_earlier

        report = import_earlier(
            self._catalog,
            Path(database),
            Path(folder),
            source=source,
            max_megapixels=max_megapixels,
            on_event=on_event,
            stop=stop,
        )
        self.pack()
        return report

    def merge(
        self,
        other: str | Path,
        *,
        prefix: str = "",
        allow_models: bool = False,
        on_event: Listener = ignore,
    ) -> MergeReport:
        """Take over another database, which is only read: every place, its history, and its audit chain whole.

        All or nothing. Contents that both hold become one; where both hold something of one content that is not the
        same (a vector, labels, a category), ours stays, and the report counts it.

        Args:
            other: The other database, of the same schema and without an open run.
            prefix: Put before the names of its sources; a name that is taken becomes "name (2)".
            allow_models: Take over also models that this database lacks; else these are refused, unless it has none.
            on_event: Gets `Started` and `Progress`, of the check of the other database, then of its rows.

        Raises:
            UsageError: It is this database, a copy of it, or merged already.
            ModelError: Of other models, or one that is recorded otherwise there.
            VerificationFailed: The other audit chain does not hold.
            DatabaseMissing, NotOurDatabase, DatabaseDamaged, SchemaTooOld, SchemaTooNew, DatabaseLocked.
        """
        from image_similarity.records.merge import merge

        report = merge(
            self._catalog,
            Path(other),
            prefix=prefix,
            allow_models=allow_models,
            on_event=on_event,
        )
        self.pack()
        return report

    def pack(self, *, repair: bool = False) -> int:
        """Make the packs that are missing, as after an upgrade, so that queries need not read row by row.

        Each run does this, too; returns how many were made. With `repair` those that differ from their rows, which
        `verify` names, are made anew from these: that the rows are sound is for `verify_audit` to say.
        """
        from image_similarity.indexing import packing

        if repair:
            packing.drop_wrong(self._catalog)
        return packing.pack(self._catalog)

    def thumbnail(self, sha256: str) -> bytes | None:
        """The stored small picture of a content, a JPEG file, or None; made where `IndexOptions.thumbnails` is set."""
        from image_similarity.store import thumbnails

        with self._catalog.reading() as connection:
            return thumbnails.read(connection, sha256)

    def purge_thumbnails(self) -> int:
        """Delete all stored thumbnails, overwriting where they stood; gives how many. The audit chain keeps that."""
        from image_similarity.store import thumbnails

        with self._catalog.writing() as connection:
            return thumbnails.purge(connection)[0]

    def traces(self) -> TraceReport:
        """Every derived picture and copy that the program wrote of this case; see `image_similarity.records.traces`."""
        from image_similarity.records import traces

        return traces.traces(self._catalog)

    def backup(self, target: str | Path) -> Path:
        """Copy the database, consistently even while a run writes, to a new file; an existing one is refused.

        The copy is recorded in the audit chain of this database afterwards, if that can be written.
        """
        copy = self._catalog.backup(Path(target))
        self.record_export("backup", copy)
        return copy


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


def search_cases(
    cases: Sequence[Case], request: SearchRequest, *, on_event: Listener = ignore
) -> SearchResult:
    """Rank the pictures of several cases by their distance to one query, without merging the databases."""
    from image_similarity.search import search

    return search([case._catalog for case in cases], request, on_event=on_event)


def search_cases_fused(
    cases: Sequence[Case],
    pictures: Sequence[str | Path],
    request: SearchRequest,
    *,
    against: Sequence[str | Path] = (),
) -> tuple[SearchResult, list[Failure]]:
    """Rank the pictures of several cases by what several queries say together; see `image_similarity.search.fusion`."""
    from image_similarity.search.fusion import search_fused

    return search_fused(
        [case._catalog for case in cases],
        [Path(picture) for picture in pictures],
        request,
        against=[Path(picture) for picture in against],
    )


def search_cases_folder(
    cases: Sequence[Case],
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
    cases: Sequence[Case],
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


def manifest_databases(manifest: str | Path) -> list[Path]:
    """The databases that a manifest was made of, where they lay then.

    Raises:
        ManifestRefused.
        DatabaseMissing: One lies there no more.
    """
    from image_similarity.errors import DatabaseMissing
    from image_similarity.pictures.names import from_text
    from image_similarity.records import manifest_reading, replay

    found = [Path(from_text(path)) for path in replay.paths(manifest_reading.read(Path(manifest)))]
    for path in found:
        if not path.is_file():
            raise DatabaseMissing(
                f"the database of the manifest is not at {path} any more",
                hint="name where it lies now: -dp DB, once for each in the order of the manifest",
            )
    return found


def replay_manifest(
    cases: Sequence[Case],
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


def check_folder(folder: str | Path, database: str | Path) -> None:
    """Refuse a folder that cannot be indexed into this database, before the database is created.

    Raises:
        FolderMissing, DatabaseInsideEvidence.
    """
    from image_similarity.indexing import check_folder as check

    check(Path(folder), Path(database))


def write_sheet(
    cases: Sequence[Case],
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


def check_earlier(database: str | Path) -> None:
    """Refuse what is no database of the earlier image-similarity, before one of ours is created for it.

    Raises:
        DatabaseMissing, NotOurDatabase.
    """
    from image_similarity.store import earlier

    earlier.require(Path(database))
