"""Import of a database of the earlier image-similarity: its vectors, bound to a model record of their own.

Its rows name pictures by path only, so the pictures must be at hand: each is read, hashed and decoded as in an index
run, and the row's vector and scene are stored with that content. That the picture at a path is still the one that was
embedded, the earlier database cannot prove. It is only read, and so are the pictures.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

from image_similarity.errors import DatabaseError, NothingToIndex, NotOurDatabase
from image_similarity.events import Failed, Finished, Listener, Progress, Started
from image_similarity.pictures import mount
from image_similarity.pictures.names import from_text, to_text
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.read import Contents, Left, read_file
from image_similarity.records.earlier_rows import (
    Malformed,
    Vector,
    Whereabouts,
    read_scene,
    read_vector,
)
from image_similarity.records.folder import evidence_folder
from image_similarity.settings import MAX_DIM
from image_similarity.store import audit, earlier, models, runs, sealing, sources
from image_similarity.store import batch as store
from image_similarity.store.catalog import Catalog
from image_similarity.store.earlier import EarlierDatabase, EarlierRow
from image_similarity.values import (
    IMPORTED,
    Failure,
    ImportReport,
    ModelInfo,
    Preprocess,
    RunStatus,
)

MODEL = "earlier"
# What the earlier system's network took. Nothing is computed from it: the network is not here.
PREPROCESS = Preprocess(size=224)
# More kinds of scene than this are no kinds of scene.
MOST_SCENES = 10_000
ROWS_PER_BATCH = 256

Stop = Callable[[], bool]


def import_earlier(
    catalog: Catalog,
    database: Path,
    folder: Path,
    *,
    source: str | None,
    max_megapixels: float,
    on_event: Listener,
    stop: Stop,
) -> ImportReport:
    """Take the rows of an earlier database into this one; see `Case.import_earlier`."""
    root = evidence_folder(folder, catalog.path)
    found = earlier.look(database)
    scenes = _check(found)
    whereabouts = Whereabouts(root, found.paths)
    if not found.rows or not whereabouts.found:
        raise NothingToIndex(
            f"none of the {found.rows} pictures of {database} lies below {folder}",
            hint="-ip is the folder that holds them, at any of the levels that their paths name",
        )
    info = _model(found, scenes)
    with catalog.writing() as connection:
        source_id, name = sources.enter(connection, to_text(str(root)), source)
        settings = {
            "models": [f"{info.name}@{info.fingerprint[:12]}"],
            "earlier": to_text(str(database.absolute())),
            "sha256": found.sha256,
            "left_out": to_text("/".join(whereabouts.left_out)),
            "max_megapixels": max_megapixels,
        }
        mounted = mount.state(root)
        environment = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "mount": None if mounted is None else asdict(mounted),
        }
        run_id = runs.begin(connection, runs.RunStart("import", source_id, settings, environment))
        model_id = models.register(connection, info)
        ids = models.scene_ids(connection, model_id)
        known = store.load_knowledge(connection, source_id, [model_id], [model_id])
    work = _Import(
        catalog,
        run_id,
        source_id,
        name,
        whereabouts,
        found.dim,
        max_megapixels,
        model_id,
        ids,
        known,
        on_event,
    )
    on_event(Started(name, to_text(str(root)), found.rows, "rows"))
    try:
        stopped = work.take_all(found, stop)
        work.finish(found, info, stopped=stopped)
    except BaseException as error:
        work.give_up("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    run = catalog.run(run_id)
    on_event(Finished(run))
    counts = work.counts
    return ImportReport(
        run=run,
        earlier=str(database),
        earlier_sha256=found.sha256,
        model=info.name,
        fingerprint=info.fingerprint,
        dim=found.dim,
        rows=found.rows,
        repeated=counts["repeated"],
        labelled=counts["labelled"],
        rescaled=counts["rescaled"],
        otherwise=counts["otherwise"],
    )


def _check(found: EarlierDatabase) -> tuple[str, ...]:
    """Refuse what cannot be a database of pictures; gives the names of its scenes."""
    if not 0 < found.dim <= MAX_DIM:
        raise NotOurDatabase(
            f"the embeddings of {found.path} have {found.dim} numbers",
            hint=f"1 to {MAX_DIM} can be taken over; nothing was written",
        )
    names = {name for scene in found.scenes if (name := read_scene(scene))}
    if len(names) > MOST_SCENES:
        raise NotOurDatabase(
            f"{found.path} names {len(names)} scene types; {MOST_SCENES} is the most",
            hint="is its column scene_type something else?",
        )
    return tuple(sorted(names))


def _model(found: EarlierDatabase, scenes: tuple[str, ...]) -> ModelInfo:
    """A record of its own for each file: that two files were made with one network, neither can show."""
    said = f"earlier image-similarity, {found.dim} dimensions, {found.sha256}"
    return ModelInfo(
        name=MODEL,
        fingerprint=hashlib.sha256(said.encode()).hexdigest(),
        architecture=IMPORTED,
        weights_sha256="",
        preprocess=PREPROCESS,
        dim=found.dim,
        scenes=scenes,
        scene_top_k=1,
        origin=f"imported from {to_text(found.path.name)}",
    )


@dataclass(slots=True)
class _Import:
    """One import: what is known, what was counted; `vectors` has a checksum for each content that it gave one."""

    catalog: Catalog
    run_id: int
    source_id: int
    source: str
    whereabouts: Whereabouts
    dim: int
    max_megapixels: float
    model_id: int
    scenes: dict[str, int]
    known: store.Knowledge
    on_event: Listener
    counts: Counter[str] = field(default_factory=Counter)
    taken: set[str] = field(default_factory=set)
    vectors: dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    saved: dict[str, Any] = field(default_factory=dict)

    def take_all(self, found: EarlierDatabase, stop: Stop) -> bool:
        """Take all rows, in batches; True if it was asked to stop before the end."""
        with earlier.rows_of(found.path) as rows:
            while some := list(islice(rows, ROWS_PER_BATCH)):
                if stop():
                    return True
                batch = store.BatchRows()
                for row in some:
                    self._take(row, batch)
                self._store(batch)
                done = some[-1].number
                self.on_event(
                    Progress(done, found.rows, self.counts["embedded"], self.counts["failed"])
                )
        return False

    def _take(self, row: EarlierRow, batch: store.BatchRows) -> None:
        place = self.whereabouts.place(row.path)
        if place is None:
            message = "the row names no picture below the folder"
            self._fail(batch, Failure(f"row {row.number}", "walk", "NoPath", message))
            return
        if place in self.taken:
            self.counts["repeated"] += 1
            return
        self.taken.add(place)
        os_path = str(self.whereabouts.root / from_text(place))
        contents: Contents | Left | None = None
        try:
            vector = read_vector(row.embedding, self.dim)
            times = os.stat(os_path)  # noqa: PTH116 - before the file is opened, so that its access time is as found
            contents = read_file(os_path)
            if isinstance(contents, Left):
                raise PictureError("decode", "NoPicture", f"no picture: {contents.kind.rule}")
            self._take_picture(row, batch, place, contents, times, vector)
        except Malformed as error:
            # Without size and time: an index run must not take this for a failure of the file.
            self._fail(batch, Failure(place, "embed", error.error, str(error)))
        except PictureError as error:
            sha256 = contents.digests.sha256 if isinstance(contents, Contents) else None
            said = Failure(place, error.stage, error.error, error.message, sha256=sha256)
            self._fail(batch, said)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._fail(batch, Failure(place, "stat", type(error).__name__, reason))

    def _take_picture(
        self,
        row: EarlierRow,
        batch: store.BatchRows,
        place: str,
        contents: Contents,
        times: os.stat_result,
        vector: Vector,
    ) -> None:
        sha256 = contents.digests.sha256
        image_id = self.known.images.get(sha256)
        is_new = image_id is None and sha256 not in self.vectors
        if is_new:
            max_pixels = int(self.max_megapixels * 1_000_000)
            facts, _ = decode_for(contents.data, [PREPROCESS], max_pixels=max_pixels)
            self.counts["partial"] += facts.partial
            batch.contents.append(store.NewContent(contents.digests, contents.size, facts))
        lacks = sha256 not in self.vectors and (
            image_id is None or image_id not in self.known.present[self.model_id]
        )
        before = self.known.file(place)
        if lacks:
            self._add(row, batch, sha256, vector)
        elif self.vectors.get(sha256) not in (None, crc32(vector.data)):
            self.counts["otherwise"] += 1
        same_place = before is not None and before.image_id == image_id
        self.counts["new" if lacks else "unchanged" if same_place else "duplicate"] += 1
        self.counts["bytes_read"] += contents.size
        batch.files.append(
            store.SeenFile(
                path=place,
                sha256=sha256,
                size=contents.size,
                mtime_ns=contents.mtime_ns,
                atime_ns=times.st_atime_ns,
                ctime_ns=times.st_ctime_ns,
                settled=contents.settled,
            )
        )

    def _add(self, row: EarlierRow, batch: store.BatchRows, sha256: str, vector: Vector) -> None:
        self.vectors[sha256] = crc32(vector.data)
        self.counts["embedded"] += 1
        self.counts["rescaled"] += vector.rescaled
        batch.vectors.append((self.model_id, sha256, vector.data))
        scene = self.scenes.get(read_scene(row.scene))
        if scene is not None:
            # It named one scene and no probability: 1 means "as it was labelled".
            batch.scenes.append((self.model_id, sha256, [(scene, 1.0)]))
            self.counts["labelled"] += 1

    def _fail(self, batch: store.BatchRows, failure: Failure) -> None:
        self.counts["failed"] += 1
        batch.failures.append(failure)
        self.on_event(Failed(replace(failure, source=self.source, run_id=self.run_id)))

    def _store(self, batch: store.BatchRows) -> None:
        account = self._account()
        with self.catalog.writing() as connection:
            store.follow(connection, batch, self.known)
            before = sealing.marks(connection)
            store.write_batch(connection, self.run_id, self.source_id, batch, self.known)
            labels = {self.model_id: [self.known.images[sha256] for _, sha256, _ in batch.scenes]}
            sealed = sealing.seal_since(connection, before, labels=labels)
            if sealed:
                audit.append(connection, "batch", {"run": self.run_id, "rows": sealed})
            runs.save_account(connection, self.run_id, account)
        self.saved = account

    def finish(self, found: EarlierDatabase, info: ModelInfo, *, stopped: bool) -> None:
        """Close the run, and tell the audit chain what was imported."""
        status: RunStatus = (
            "interrupted" if stopped else "partial" if self.counts["failed"] else "done"
        )
        account = self._account()
        with self.catalog.writing() as connection:
            runs.save_account(connection, self.run_id, account, status)
            audit.append(
                connection,
                "import",
                {
                    "run": self.run_id,
                    "path": to_text(str(found.path.absolute())),
                    "sha256": found.sha256,
                    "earlier_rows": found.rows,
                    "counts": dict(self.counts),
                    "model": info.fingerprint,
                    "status": status,
                },
            )

    def give_up(self, status: RunStatus) -> None:
        """Close the run with the account of what was stored, if the database still takes that."""
        try:
            with self.catalog.writing() as connection:
                runs.save_account(connection, self.run_id, self.saved, status)
        except DatabaseError:
            # The error that ended the import is the one to tell; the next run closes this one.
            return

    def _account(self) -> dict[str, Any]:
        names = ("new", "duplicate", "unchanged", "failed", "partial", "embedded", "bytes_read")
        account: dict[str, Any] = {name: self.counts[name] for name in names}
        account["seen"] = sum(account[name] for name in ("new", "duplicate", "unchanged", "failed"))
        return {**account, "seconds": round(time.monotonic() - self.began, 3)}
