"""What a case takes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.case.base import OpenedCase
from image_similarity.events import Listener, ignore
from image_similarity.settings import ClusterOptions, IndexOptions

if TYPE_CHECKING:
    from image_similarity.values import RunReport


class Indexing(OpenedCase):
    """From folders to rows."""

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

    def index_on_cluster(
        self,
        folder: str | Path,
        *,
        options: IndexOptions | None = None,
        cluster: ClusterOptions | None = None,
        source: str | None = None,
        on_event: Listener = ignore,
        stop: Callable[[], bool] = lambda: False,
    ) -> RunReport:
        """Do what `index` does on many machines, with Ray (extra `ray`), into a database on a server.

        Args:
            folder: A folder that all machines see at the same path, or a URI that all can open: "s3://bucket/folder".
            options: As of `index`; the weights must lie at the same path on every machine.
            cluster: Where Ray is and what it may use; one on this machine alone by default.
            source: The name under which the place is known; its own by default.
            on_event: As of `index`.
            stop: Asked between batches; once it says True, what is not stored is let go and the run ends "interrupted".

        Returns:
            The account of the run, which is that of a local one.

        Raises:
            InvalidSetting: The database is a file, or the cluster has fewer processors than was asked for.
            ClusterError: The cluster cannot be reached, gave up or stood still; what was written stays.
            ExtraMissing, and whatever `index` raises.
        """
        from image_similarity.cluster import index_on_cluster

        return index_on_cluster(
            self._catalog,
            folder,
            options or IndexOptions(),
            cluster or ClusterOptions(),
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
