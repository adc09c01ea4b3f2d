"""What a run knows of its source when it begins, and what one batch writes: each batch is one transaction.

A file has one writer at a time. On a server runs of other sources go on meanwhile: what they stored is looked up within
the transaction, whose lock keeps it so until the end, and is left out of the batch; see `follow`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
    update,
)

from image_similarity.store import audit, pack_writing, sealing, thumbnails
from image_similarity.store.engine import is_sqlite, plain_rows
from image_similarity.store.schema import (
    embedding_table,
    failure_table,
    file_table,
    image_scene_table,
    image_table,
    pdq_table,
    scene_table,
    skipped_table,
    thumbnail_table,
)
from image_similarity.values import Digests, Failure, PictureFacts, Skipped

# Stands among the keys of models for the PDQ hash: their ids begin with 1.
PDQ = 0
# The same for thumbnails: no model has this id, nor its negative.
THUMBNAIL = 2**62


class LiveFile(NamedTuple):
    """A place as recorded: enough to tell an unchanged file from its size and time."""

    path: str
    file_id: int
    image_id: int
    size: int
    mtime_ns: int
    settled: bool


@dataclass(slots=True)
class Knowledge:
    """What the database holds of a source and of all contents, loaded once per run and kept up as batches are written.

    `files` holds the fields of each `LiveFile` by path, as SQLite gave them: to make one of each would be a tenth of a
    re-scan; see `file`. `images`, the ids of all contents by SHA-256, is needed only once a file is read; see
    `load_images`. `present` maps each requested model to the contents that already have its vector (or, for a scene
    model, its labels; the key is then negated), and `PDQ` and `THUMBNAIL`, if asked for, to those that have one.
    """

    files: dict[str, tuple[str, int, int, int, int, bool]]
    failed: dict[str, Failure]
    skipped: dict[str, Skipped]
    images: dict[str, int]
    present: dict[int, set[int]]

    def file(self, path: str) -> LiveFile | None:
        """The place as recorded, if it is."""
        row = self.files.get(path)
        return None if row is None else LiveFile(*row)

    def lacking(self, image_id: int) -> set[int]:
        """The requested models (negated: scene models) that this content was not given to yet."""
        return {key for key, images in self.present.items() if image_id not in images}


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A place that was read in this run; times in nanoseconds as found before the file was opened."""

    path: str
    sha256: str
    size: int
    mtime_ns: int
    atime_ns: int | None
    ctime_ns: int | None
    settled: bool


@dataclass(frozen=True, slots=True)
class NewContent:
    """A content that the database does not hold yet."""

    digests: Digests
    size: int
    facts: PictureFacts


@dataclass(slots=True)
class BatchRows:
    """The rows of one batch. Vectors and scenes refer to contents by SHA-256, new ones of this batch included.

    `hashes` are PDQ hashes: SHA-256 of the content, quality, 32 bytes. `thumbnails` are JPEG files by SHA-256.
    `overwritten` are paths that were read and hold neither what they held nor anything that can be taken.
    """

    contents: list[NewContent] = field(default_factory=list)
    files: list[SeenFile] = field(default_factory=list)
    vectors: list[tuple[int, str, bytes]] = field(default_factory=list)
    scenes: list[tuple[int, str, Sequence[tuple[int, float]]]] = field(default_factory=list)
    hashes: list[tuple[str, int, bytes]] = field(default_factory=list)
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    overwritten: list[str] = field(default_factory=list)


def load_knowledge(
    connection: Connection,
    source_id: int,
    models: Collection[int],
    scene_models: Collection[int],
    *,
    images: bool = True,
    pdq: bool = False,
    with_thumbnails: bool = False,
) -> Knowledge:
    """Load what decides about each file: four SELECTs and one a model; `images` stays empty if not asked for."""
    return Knowledge(
        files=_live_files(connection, source_id),
        failed=_open_failures(connection, source_id),
        skipped=_skipped_files(connection, source_id),
        images=load_images(connection) if images else {},
        present={
            **{model: _with_vector(connection, model) for model in models},
            **{-model: _with_labels(connection, model) for model in scene_models},
            **({PDQ: _ids(connection, pdq_table.c.image_id, true())} if pdq else {}),
            **(
                {THUMBNAIL: _ids(connection, thumbnail_table.c.image_id, true())}
                if with_thumbnails
                else {}
            ),
        },
    )


def knowledge_of(
    connection: Connection,
    source_id: int,
    paths: Collection[str],
    sha256s: Collection[str],
    models: Collection[int],
    scene_models: Collection[int],
    *,
    pdq: bool = False,
    with_thumbnails: bool = False,
) -> Knowledge:
    """Load what one batch must know: of a source at these paths, and of these contents.

    Asked within the transaction that writes the batch, it leaves nothing to any other writer.
    """
    keys = [*models, *(-model for model in scene_models)]
    keys += [key for key, asked in ((PDQ, pdq), (THUMBNAIL, with_thumbnails)) if asked]
    images = _images_of(connection, sha256s)
    return Knowledge(
        files=_live_files(connection, source_id, paths),
        failed=_open_failures(connection, source_id, paths),
        skipped=_skipped_files(connection, source_id, paths),
        images=images,
        present={key: _with(connection, key, images.values()) for key in keys},
    )


def _images_of(connection: Connection, sha256s: Collection[str]) -> dict[str, int]:
    statement = select(image_table.c.sha256, image_table.c.id)
    return dict(plain_rows(connection, statement.where(image_table.c.sha256.in_(sha256s))))


def _with(connection: Connection, key: int, images: Collection[int]) -> set[int]:
    """Those of some contents that have what a key of `Knowledge.present` stands for."""
    if key == PDQ:
        statement = select(pdq_table.c.image_id)
    elif key == THUMBNAIL:
        statement = select(thumbnail_table.c.image_id)
    elif key > 0:
        statement = select(embedding_table.c.image_id).where(embedding_table.c.model_id == key)
    else:
        scenes = select(scene_table.c.id).where(scene_table.c.model_id == -key)
        statement = select(image_scene_table.c.image_id).where(
            image_scene_table.c.rank == 1, image_scene_table.c.scene_id.in_(scenes)
        )
    among = statement.selected_columns[0].in_(images)
    return {found for (found,) in plain_rows(connection, statement.where(among))}


def load_images(connection: Connection) -> dict[str, int]:
    """Load the ids of all contents by SHA-256."""
    return dict(plain_rows(connection, select(image_table.c.sha256, image_table.c.id)))


def _live_files(
    connection: Connection, source_id: int, paths: Collection[str] | None = None
) -> dict[str, tuple[str, int, int, int, int, bool]]:
    statement = select(
        file_table.c.path,
        file_table.c.id,
        file_table.c.image_id,
        file_table.c.size,
        file_table.c.mtime_ns,
        file_table.c.settled,
    ).where(file_table.c.source_id == source_id, file_table.c.gone_run_id.is_(None))
    if paths is not None:
        statement = statement.where(file_table.c.path.in_(paths))
    rows = plain_rows(connection, statement)
    return dict(zip(map(itemgetter(0), rows), rows, strict=True))


def _open_failures(
    connection: Connection, source_id: int, paths: Collection[str] | None = None
) -> dict[str, Failure]:
    statement = select(failure_table).where(
        failure_table.c.source_id == source_id, failure_table.c.resolved_run_id.is_(None)
    )
    if paths is not None:
        statement = statement.where(failure_table.c.path.in_(paths))
    rows: Iterable[Any] = connection.execute(statement)
    return {
        row.path: Failure(
            row.path, row.stage, row.error, row.message, size=row.size, mtime_ns=row.mtime_ns
        )
        for row in rows
    }


def _skipped_files(
    connection: Connection, source_id: int, paths: Collection[str] | None = None
) -> dict[str, Skipped]:
    statement = select(skipped_table).where(skipped_table.c.source_id == source_id)
    if paths is not None:
        statement = statement.where(skipped_table.c.path.in_(paths))
    rows: Iterable[Any] = connection.execute(statement)
    return {row.path: Skipped(row.path, row.rule, row.kind, row.size, row.mtime_ns) for row in rows}


def _with_vector(connection: Connection, model_id: int) -> set[int]:
    of_model = embedding_table.c.model_id == model_id
    return _ids(connection, embedding_table.c.image_id, of_model)


def _with_labels(connection: Connection, model_id: int) -> set[int]:
    scenes = select(scene_table.c.id, scene_table.c.model_id)
    all_scenes = plain_rows(connection, scenes)
    of_model = {scene for scene, model in all_scenes if model == model_id}
    # One pass over the table: a join would look up each label through the index of its scene, and take four times as
    # long.
    image_id, is_first = image_scene_table.c.image_id, image_scene_table.c.rank == 1
    if len(of_model) == len(all_scenes):
        return _ids(connection, image_id, is_first)
    labels = select(image_id, image_scene_table.c.scene_id).where(is_first)
    return {image for image, scene in plain_rows(connection, labels) if scene in of_model}


def _ids(connection: Connection, column: Column[int], condition: ColumnElement[bool]) -> set[int]:
    """The ids in a column, each of them in one row at most."""
    extent = select(func.count(), func.min(column), func.max(column)).where(condition)
    ((count, first, last),) = plain_rows(connection, extent)
    if count and count == last - first + 1:
        # No gap, as in most databases: three numbers say all, in half of the time.
        return set(range(first, last + 1))
    return {found for (found,) in plain_rows(connection, select(column).where(condition))}


def follow(connection: Connection, rows: BatchRows, known: Knowledge) -> None:
    """Look up what others stored of a batch's contents since `known` was loaded, and leave it out of the rows.

    Within the transaction that writes them. A run on a file is the only writer: nothing is looked up there.
    """
    if is_sqlite(connection):
        return
    sha256s = {content.digests.sha256 for content in rows.contents}
    sha256s.update(sha256 for _, sha256, _ in (*rows.vectors, *rows.scenes))
    sha256s.update((*(sha256 for sha256, *_ in rows.hashes), *rows.thumbnails))
    images = _images_of(connection, sha256s)
    known.images |= images
    for key, present in known.present.items():
        present |= _with(connection, key, images.values())
    drop_stored(rows, known)


def drop_stored(rows: BatchRows, known: Knowledge) -> None:
    """Leave out of a batch what is stored already, and what stands in it twice."""
    stored = known.images

    def lacks(key: int, sha256: str) -> bool:
        return stored.get(sha256) not in known.present[key]

    contents = {each.digests.sha256: each for each in rows.contents}
    rows.contents = [each for sha256, each in contents.items() if sha256 not in stored]
    vectors = {(model, sha256): vector for model, sha256, vector in rows.vectors}
    rows.vectors = [(*key, vector) for key, vector in vectors.items() if lacks(*key)]
    scenes = {(model, sha256): labels for model, sha256, labels in rows.scenes}
    rows.scenes = [(*key, labels) for key, labels in scenes.items() if lacks(-key[0], key[1])]
    hashes = {row[0]: row for row in rows.hashes}
    rows.hashes = [row for sha256, row in hashes.items() if lacks(PDQ, sha256)]
    rows.thumbnails = {
        sha256: jpeg for sha256, jpeg in rows.thumbnails.items() if lacks(THUMBNAIL, sha256)
    }
    rows.overwritten = [path for path in rows.overwritten if path in known.files]


def _storable(text: str) -> str:
    """A text that every engine takes: PostgreSQL has no NUL in its texts."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def write_sealed(
    connection: Connection, run_id: int, source_id: int, rows: BatchRows, known: Knowledge
) -> None:
    """Write one batch as `write_batch` does, and append what was written to the audit chain.

    A batch of files left out or unchanged writes none of it.
    """
    before = sealing.marks(connection)
    write_batch(connection, run_id, source_id, rows, known)
    labels = _grouped(rows.scenes, known)
    hashed = [known.images[sha256] for sha256, *_ in rows.hashes]
    sealed = sealing.seal_since(connection, before, labels=labels, pdq=hashed)
    if sealed:
        audit.append(connection, "batch", {"run": run_id, "rows": sealed})


def write_batch(
    connection: Connection, run_id: int, source_id: int, rows: BatchRows, known: Knowledge
) -> None:
    """Write one batch inside the caller's transaction, then keep `known` up with it."""
    _insert_contents(connection, run_id, rows.contents, known)
    _insert_vectors(connection, run_id, rows, known)
    _insert_hashes(connection, run_id, rows.hashes, known)
    _insert_thumbnails(connection, run_id, rows.thumbnails, known)
    taken = [file.path for file in rows.files]
    _resolve_failures(
        connection, run_id, source_id, [*taken, *(s.path for s in rows.skipped)], known
    )
    _forget_skipped(connection, source_id, [*taken, *(f.path for f in rows.failures)], known)
    _close_overwritten(connection, run_id, rows.overwritten, known)
    _write_files(connection, run_id, source_id, rows.files, known)
    _write_failures(connection, run_id, source_id, rows.failures, known)
    _write_skipped(connection, run_id, source_id, rows.skipped, known)


def _insert_contents(
    connection: Connection, run_id: int, contents: Sequence[NewContent], known: Knowledge
) -> None:
    if not contents:
        return
    values = [
        {
            "sha256": content.digests.sha256,
            "sha1": content.digests.sha1,
            "md5": content.digests.md5,
            "size": content.size,
            "width": content.facts.width,
            "height": content.facts.height,
            "format": content.facts.format,
            "mime": content.facts.mime,
            "partial": content.facts.partial,
            "exif": dict(content.facts.exif),
            "first_run_id": run_id,
        }
        for content in contents
    ]
    statement = insert(image_table).returning(
        image_table.c.sha256, image_table.c.id, sort_by_parameter_order=True
    )
    known.images.update((sha256, id_) for sha256, id_ in connection.execute(statement, values))


def _insert_vectors(connection: Connection, run_id: int, rows: BatchRows, known: Knowledge) -> None:
    if rows.vectors:
        insert_vectors(
            connection,
            run_id,
            ((model, known.images[sha256], vector) for model, sha256, vector in rows.vectors),
        )
        for model, sha256, _ in rows.vectors:
            known.present[model].add(known.images[sha256])
        _drop_packs(connection, rows, known)
    if rows.scenes:
        _insert_many(
            connection,
            image_scene_table,
            ("image_id", "scene_id", "probability", "rank"),
            (
                (known.images[sha256], scene, probability, rank)
                for _, sha256, labels in rows.scenes
                for rank, (scene, probability) in enumerate(labels, start=1)
            ),
        )
        for model, sha256, _ in rows.scenes:
            known.present[-model].add(known.images[sha256])
        for model, images in _grouped(rows.scenes, known).items():
            pack_writing.drop_scenes(connection, model, images)


def insert_vectors(
    connection: Connection, run_id: int, rows: Iterable[tuple[int, int, bytes]]
) -> None:
    """Store vectors: model, content, float16 little-endian; none of them may be there already."""
    columns = ("model_id", "image_id", "vector", "run_id")
    _insert_many(connection, embedding_table, columns, ((*row, run_id) for row in rows))


def _insert_many(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Write rows of which none is there already, on a server by COPY."""
    if is_sqlite(connection):
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        connection.execute(insert(table), values)
    else:
        from image_similarity.store import postgres

        postgres.copy_in(connection, table, columns, rows)


def _insert_hashes(
    connection: Connection, run_id: int, hashes: Sequence[tuple[str, int, bytes]], known: Knowledge
) -> None:
    if not hashes:
        return
    columns = ("image_id", "run_id", "quality", "hash")
    rows = ((known.images[sha256], run_id, quality, data) for sha256, quality, data in hashes)
    _insert_many(connection, pdq_table, columns, rows)
    known.present[PDQ].update(known.images[sha256] for sha256, _, _ in hashes)


def _insert_thumbnails(
    connection: Connection, run_id: int, jpegs: Mapping[str, bytes], known: Knowledge
) -> None:
    if jpegs:
        by_id = {known.images[sha256]: data for sha256, data in jpegs.items()}
        thumbnails.write(connection, run_id, by_id)
        known.present[THUMBNAIL].update(by_id)


def _drop_packs(connection: Connection, rows: BatchRows, known: Knowledge) -> None:
    """Delete the packs that these vectors belong into; those of new contents, the most, never have one yet."""
    dims = {model: len(vector) // 2 for model, _, vector in rows.vectors}
    for model, images in _grouped(rows.vectors, known).items():
        pack_writing.drop(connection, model, dims[model], images)


def _grouped(rows: Iterable[tuple[int, str, object]], known: Knowledge) -> dict[int, list[int]]:
    """The ids of the contents of rows (model, SHA-256, ...), by model."""
    images: dict[int, list[int]] = {}
    for model, sha256, _ in rows:
        images.setdefault(model, []).append(known.images[sha256])
    return images


def _write_files(
    connection: Connection, run_id: int, source_id: int, files: Sequence[SeenFile], known: Knowledge
) -> None:
    added: list[SeenFile] = []
    touched: list[dict[str, Any]] = []
    replaced: list[int] = []
    for file in files:
        image_id = known.images[file.sha256]
        before = known.file(file.path)
        if before is None or before.image_id != image_id:
            replaced += [] if before is None else [before.file_id]
            added.append(file)
            continue
        now = _live(before.file_id, image_id, file)
        if now != before:
            touched.append({"file_id": before.file_id, **_stamp(file)})
            known.files[file.path] = now
    mark_gone(connection, run_id, replaced)
    if touched:
        connection.execute(
            update(file_table).where(file_table.c.id == bindparam("file_id")), touched
        )
    if added:
        _add_files(connection, run_id, source_id, added, known)


def _add_files(
    connection: Connection, run_id: int, source_id: int, added: Sequence[SeenFile], known: Knowledge
) -> None:
    values = [
        {
            "source_id": source_id,
            "path": file.path,
            "image_id": known.images[file.sha256],
            "first_run_id": run_id,
            **_stamp(file),
        }
        for file in added
    ]
    statement = insert(file_table).returning(file_table.c.id, sort_by_parameter_order=True)
    ids = connection.execute(statement, values).scalars()
    for file_id, file in zip(ids, added, strict=True):
        image_id = known.images[file.sha256]
        known.files[file.path] = _live(file_id, image_id, file)


def _live(file_id: int, image_id: int, file: SeenFile) -> LiveFile:
    return LiveFile(file.path, file_id, image_id, file.size, file.mtime_ns, file.settled)


def _stamp(file: SeenFile) -> dict[str, Any]:
    return {
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "atime_ns": file.atime_ns,
        "ctime_ns": file.ctime_ns,
        "settled": file.settled,
    }


def mark_gone(connection: Connection, run_id: int, file_ids: Iterable[int]) -> None:
    """Close places that no longer hold what they held; the rows stay."""
    rows = [{"file_id": file_id} for file_id in file_ids]
    if rows:
        statement = (
            update(file_table)
            .where(file_table.c.id == bindparam("file_id"))
            .values(gone_run_id=run_id)
        )
        connection.execute(statement, rows)


def _close_overwritten(
    connection: Connection, run_id: int, paths: Iterable[str], known: Knowledge
) -> None:
    mark_gone(connection, run_id, [LiveFile(*known.files.pop(path)).file_id for path in paths])


def _resolve_failures(
    connection: Connection, run_id: int, source_id: int, paths: Iterable[str], known: Knowledge
) -> None:
    rows = [{"at": path} for path in paths if known.failed.pop(path, None) is not None]
    if rows:
        connection.execute(
            update(failure_table)
            .where(
                failure_table.c.source_id == source_id,
                failure_table.c.path == bindparam("at"),
                failure_table.c.resolved_run_id.is_(None),
            )
            .values(resolved_run_id=run_id),
            rows,
        )


def _write_failures(
    connection: Connection,
    run_id: int,
    source_id: int,
    failures: Sequence[Failure],
    known: Knowledge,
) -> None:
    if not failures:
        return
    _resolve_failures(connection, run_id, source_id, [failure.path for failure in failures], known)
    connection.execute(
        insert(failure_table),
        [
            {
                "run_id": run_id,
                "source_id": source_id,
                "path": failure.path,
                "stage": failure.stage,
                "error": failure.error[:100],
                "message": _storable(failure.message),
                "size": failure.size,
                "mtime_ns": failure.mtime_ns,
                "sha256": failure.sha256,
            }
            for failure in failures
        ],
    )
    known.failed.update((failure.path, failure) for failure in failures)


def _forget_skipped(
    connection: Connection, source_id: int, paths: Iterable[str], known: Knowledge
) -> None:
    rows = [{"at": path} for path in paths if known.skipped.pop(path, None) is not None]
    if rows:
        connection.execute(
            delete(skipped_table).where(
                skipped_table.c.source_id == source_id, skipped_table.c.path == bindparam("at")
            ),
            rows,
        )


def _write_skipped(
    connection: Connection,
    run_id: int,
    source_id: int,
    skipped: Sequence[Skipped],
    known: Knowledge,
) -> None:
    changed = [row for row in skipped if known.skipped.get(row.path) != row]
    if not changed:
        return
    # A place whose content is no picture any more held one: that row is history now.
    left = [
        LiveFile(*known.files.pop(row.path)).file_id
        for row in changed
        if row.path in known.files and row.rule != "excluded"
    ]
    mark_gone(connection, run_id, left)
    _forget_skipped(connection, source_id, [row.path for row in changed], known)
    connection.execute(
        insert(skipped_table),
        [
            {
                "run_id": run_id,
                "source_id": source_id,
                "path": row.path,
                "rule": row.rule,
                "kind": row.kind,
                "size": row.size,
                "mtime_ns": row.mtime_ns,
            }
            for row in changed
        ],
    )
    known.skipped.update((row.path, row) for row in changed)


def close_vanished(
    connection: Connection, run_id: int, source_id: int, vanished: Collection[str], known: Knowledge
) -> int:
    """Close everything recorded at paths that a completed walk no longer found; gives the number of places closed."""
    gone = [file.file_id for path in vanished if (file := known.file(path)) is not None]
    mark_gone(connection, run_id, gone)
    _resolve_failures(connection, run_id, source_id, vanished, known)
    _forget_skipped(connection, source_id, vanished, known)
    return len(gone)
