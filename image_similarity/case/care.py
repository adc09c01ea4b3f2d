"""What keeps a case sound, and what joins and moves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.case.record import Record
from image_similarity.events import Listener, Notice, ignore

if TYPE_CHECKING:
    from image_similarity.values import (
        AgainstReport,
        CopyReport,
        ImportReport,
        Location,
        MergeReport,
        RelinkReport,
        TraceReport,
        VerifyReport,
    )


class Care(Record):
    """Verification, moving, merging, copies."""

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

    def copy(self, target: str | Location, *, on_event: Listener = ignore) -> CopyReport:
        """Copy the whole database to a new file or an empty database on a server: ids, history, audit chain.

        All of one moment. Counts, chain and all that it seals are checked at the end; an entry "copied" follows on the
        chain, which names its head. A copy that was broken off is refused by whatever opens it, and the same call goes
        on with it, if this database was not changed since. One in a file is recorded in this chain, as by `backup`.

        Args:
            target: The new file, or a database on a server, "postgresql+psycopg://user@host/name".
            on_event: Gets a `Notice` if an earlier try is gone on with, and `Started` and `Progress`, of the rows, then
                of the check.

        Raises:
            UsageError: Something else is there; it is not touched.
            DatabaseLocked: A run counts as writing here.
            VerificationFailed: The copy does not agree with its audit chain; it is taken away.
            DatabaseNotWritable, ServerRefused, ExtraMissing.
        """
        from image_similarity.records.copying import copy_whole
        from image_similarity.values import location

        place = location(target)
        report = copy_whole(self._catalog, place, on_event=on_event)
        if isinstance(place, Path) and (reason := self.record_export("copy", place)):
            on_event(Notice(reason))
        return report

    def merge(
        self,
        other: str | Location,
        *,
        prefix: str = "",
        allow_models: bool = False,
        on_event: Listener = ignore,
    ) -> MergeReport:
        """Take over another database, which is only read: every place, its history, and its audit chain whole.

        All or nothing. Contents that both hold become one; where both hold something of one content that is not the
        same (a vector, labels, a category), ours stays, and the report counts it.

        Args:
            other: The other database, a file, of the same schema and without an open run.
            prefix: Put before the names of its sources; a name that is taken becomes "name (2)".
            allow_models: Take over also models that this database lacks; else these are refused, unless it has none.
            on_event: Gets `Started` and `Progress`, of the check of the other database, then of its rows.

        Raises:
            UsageError: It is this database, a copy of it, merged already, or on a server.
            ModelError: Of other models, or one that is recorded otherwise there.
            VerificationFailed: The other audit chain does not hold.
            DatabaseMissing, NotOurDatabase, DatabaseDamaged, SchemaTooOld, SchemaTooNew, DatabaseLocked.
        """
        from image_similarity.records.merge import merge
        from image_similarity.values import location

        report = merge(
            self._catalog,
            location(other),
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

    def shown_small(self, sha256: str, *, side: int) -> tuple[bytes, bool]:
        """A small picture of a content, a JPEG without metadata, and whether it is as large as was asked for.

        The stored thumbnail where that is large enough, else of a file that still holds the content.

        Raises:
            UnknownImage.
            ImageUnreadable: Neither is there; the message says why.
        """
        from image_similarity.records import previews

        return previews.shown_small(self._catalog, self._catalog.image(sha256), side=side)

    def shown(self, sha256: str, *, side: int, quality: int = 90) -> bytes:
        """A content as a JPEG without metadata, at most `side` pixels long, of a file that still holds it.

        Raises:
            UnknownImage.
            ImageUnreadable: None does; the message says why.
        """
        from image_similarity.records import previews

        return previews.shown(self._catalog.image(sha256), side=side, quality=quality)

    def refuse_inside(self, path: str | Path) -> None:
        """Refuse to write what lies below a folder that was indexed.

        Raises:
            UsageError.
        """
        from image_similarity.records import exports

        exports.refuse_inside(Path(path), self._catalog.sources())

    def record_cache(self, folder: str | Path) -> str | None:
        """Record in the audit chain, once, that thumbnails are kept in a folder; `traces` then tells of it.

        Gives None, or one sentence why it is not recorded.
        """
        from image_similarity.records import cache_folders

        return cache_folders.record(self._catalog, Path(folder))

    def purge_cached(self) -> int:
        """Delete the thumbnails that the analyst's page keeps in folders beside this case; gives how many."""
        from image_similarity.records import cache_folders

        return sum(map(cache_folders.purge, cache_folders.folders(self._catalog)))

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
