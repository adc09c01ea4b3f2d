"""The tables, declared once; migrations/ builds the same, and a test holds the two together.

Core tables, not mapped classes: rows are never objects here, and importing the ORM takes as long as a small query.
No ON DELETE CASCADE anywhere: nothing in daily work deletes, and a batch migration that rebuilds a parent table would
silently delete the children. Rowid tables with 32 KiB pages hold vectors at 1.05 times their size; WITHOUT ROWID took
up to 4.57 times (it is right for `image_scene` alone, whose rows are a few bytes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from image_similarity.errors import DatabaseDamaged

# "IMSI": tells our files from those of other programs (PRAGMA application_id).
APPLICATION_ID = 0x494D5349
PAGE_SIZE = 32768
# What the first entry of an audit chain names as the digest of the one before.
NO_DIGEST = "0" * 64

# Every constraint has a name, by which migrations can reach it.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

RUN_KINDS = ("index", "refresh", "import", "merge", "derive")
RUN_STATUSES = ("running", "done", "partial", "interrupted", "failed")
MARK_KINDS = ("tag", "note", "category")
VERDICTS = ("relevant", "irrelevant")
STAGES = ("walk", "stat", "read", "decode", "embed")

metadata = MetaData(naming_convention=NAMING)

# BIGINT on servers, INTEGER on SQLite, where only INTEGER PRIMARY KEY is the rowid itself.
ID = BigInteger().with_variant(Integer(), "sqlite")


class JsonObject(TypeDecorator[dict[str, Any]]):
    """JSON of which every value is an object; a damaged file may hold anything, or nothing, in its place."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Read a value.

        Raises:
            DatabaseDamaged: It is no JSON object.
        """
        parse = super().result_processor(dialect, coltype)

        def read(value: Any) -> dict[str, Any]:
            try:
                found = parse(value) if parse else value
            except (ValueError, TypeError, RecursionError):
                found = None
            if not isinstance(found, dict):
                raise DatabaseDamaged(
                    "a record in the database is damaged: it is no JSON object",
                    hint="see: image-similarity db verify; then restore a backup",
                )
            return found

        return read


class Vector(TypeDecorator[bytes]):
    """A vector: float16 little-endian, 2 * dim bytes; on PostgreSQL a HALFVEC of pgvector, which holds the same."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the type in the database."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(LargeBinary())
        from image_similarity.store.half_vectors import HalfVector

        return dialect.type_descriptor(HalfVector())


def _one_of(column: str, values: tuple[str, ...], name: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(v) for v in values)})", name=name)


def _required(name: str, *of: Any, **more: Any) -> Column[Any]:
    """A column that always has a value."""
    return Column(name, *of, nullable=False, **more)


# A folder that was indexed, by name.
source_table = Table(
    "source",
    metadata,
    Column("id", ID, primary_key=True),
    _required("name", Text, unique=True),
    _required("root_path", Text),
    _required("created_at", String(32)),
)

# One run over one source; a row "running" whose process is dead is closed by the next run.
run_table = Table(
    "run",
    metadata,
    Column("id", ID, primary_key=True),
    _required("kind", String(16)),
    _required("status", String(16)),
    _required("source_id", ForeignKey("source.id")),
    _required("started_at", String(32)),
    Column("finished_at", String(32)),
    _required("tool_version", String(32)),
    _required("environment", JsonObject),
    _required("options", JsonObject),
    _required("host", Text),
    _required("pid", BigInteger),
    Column("process_start", String(64)),
    _required("account", JsonObject),
    _one_of("kind", RUN_KINDS, "kind"),
    _one_of("status", RUN_STATUSES, "status"),
)

# A content: one row per distinct SHA-256, wherever and however often it was found.
image_table = Table(
    "image",
    metadata,
    Column("id", ID, primary_key=True),
    _required("sha256", String(64), unique=True),
    _required("sha1", String(40)),
    _required("md5", String(32)),
    _required("size", BigInteger),
    _required("width", Integer),
    _required("height", Integer),
    _required("format", String(16)),
    _required("mime", String(64)),
    _required("partial", Boolean),
    _required("exif", JsonObject),
    _required("first_run_id", ForeignKey("run.id")),
    CheckConstraint("length(sha256) = 64", name="sha256"),
    CheckConstraint("width > 0 AND height > 0", name="size"),
    Index("ix_image_partial", "partial", sqlite_where=text("partial = 1")),
)

# A place that holds or held a content; a changed content closes this row and adds one.
#
# Times are as the file system gave them before the file was opened. `settled` is false when the file was modified
# so shortly before it was read that its time cannot be trusted to show a later change: the next run reads it again.
file_table = Table(
    "file",
    metadata,
    Column("id", ID, primary_key=True),
    _required("source_id", ForeignKey("source.id")),
    _required("path", Text),
    _required("image_id", ForeignKey("image.id")),
    _required("size", BigInteger),
    _required("mtime_ns", BigInteger),
    Column("atime_ns", BigInteger),
    Column("ctime_ns", BigInteger),
    _required("settled", Boolean),
    _required("first_run_id", ForeignKey("run.id")),
    Column("gone_run_id", ForeignKey("run.id")),
    # Both columns: whether a content has a live place is answered from the index alone.
    Index("ix_file_image_id_gone_run_id", "image_id", "gone_run_id"),
    # The few that a search leaves out are found without reading the many that it does not. The run stands first, or
    # SQLite takes the index above.
    Index("ix_file_gone", "gone_run_id", "image_id", sqlite_where=text("gone_run_id IS NOT NULL")),
    Index(
        "uq_file_live",
        "source_id",
        "path",
        unique=True,
        # Not postgresql_where beside it, as in the migration: that loads PostgreSQL's dialect with every command.
        sqlite_where=text("gone_run_id IS NULL"),
    ),
)

# A model whose vectors or scenes are stored; the same fingerprint means comparable vectors.
model_table = Table(
    "model",
    metadata,
    Column("id", ID, primary_key=True),
    _required("name", Text, index=True),
    _required("fingerprint", String(64), unique=True),
    _required("architecture", Text),
    _required("weights_sha256", String(64)),
    _required("preprocess", JsonObject),
    Column("dim", Integer),
    _required("dtype", String(8)),
    _required("metric", String(16)),
    _required("normalisation", String(16)),
    _required("numeric_class", String(16)),
    _required("scene_top_k", Integer),
    _required("scene_mass", Double),
    _required("licence", Text),
    _required("origin", Text),
    _required("created_at", String(32)),
    CheckConstraint("dim > 0", name="dim"),
)

# A vector: float16 little-endian, 2 * dim bytes. On a server the primary key is content and model; see migration 0001.
embedding_table = Table(
    "embedding",
    metadata,
    Column("id", ID, primary_key=True),
    _required("model_id", ForeignKey("model.id")),
    _required("image_id", ForeignKey("image.id")),
    _required("run_id", ForeignKey("run.id")),
    _required("vector", Vector),
    UniqueConstraint("model_id", "image_id"),
)

# A scene class of a model; `position` is its index in the classifier's output.
scene_table = Table(
    "scene",
    metadata,
    Column("id", ID, primary_key=True),
    _required("model_id", ForeignKey("model.id")),
    _required("position", Integer),
    _required("name", Text),
    UniqueConstraint("model_id", "name"),
)

# One of the top-k scenes of a content, with its probability; `rank` 1 is the most probable.
image_scene_table = Table(
    "image_scene",
    metadata,
    Column("image_id", ForeignKey("image.id"), primary_key=True),
    Column("scene_id", ForeignKey("scene.id"), primary_key=True),
    _required("probability", Double),
    _required("rank", Integer),
    CheckConstraint("probability >= 0 AND probability <= 1", name="probability"),
    sqlite_with_rowid=False,
)

# A block of a model's vectors in compact form; see packs.py. Small columns first: whoever reads `bits` alone does not
# walk past `codes`, which is seven eighths of the row.
vector_pack_table = Table(
    "vector_pack",
    metadata,
    Column("id", ID, primary_key=True),
    _required("model_id", ForeignKey("model.id")),
    _required("number", Integer),
    _required("image_ids", LargeBinary),
    _required("scales", LargeBinary),
    _required("errors", LargeBinary),
    _required("bits", LargeBinary),
    _required("codes", LargeBinary),
    UniqueConstraint("model_id", "number"),
)

# A block of the labels that a scene model gave.
scene_pack_table = Table(
    "scene_pack",
    metadata,
    Column("id", ID, primary_key=True),
    _required("model_id", ForeignKey("model.id")),
    _required("number", Integer),
    _required("image_ids", LargeBinary),
    _required("labels", LargeBinary),
    UniqueConstraint("model_id", "number"),
)

# A file that could not be taken; open until a later run takes it or it is gone.
failure_table = Table(
    "failure",
    metadata,
    Column("id", ID, primary_key=True),
    _required("run_id", ForeignKey("run.id")),
    _required("source_id", ForeignKey("source.id")),
    _required("path", Text),
    _required("stage", String(16)),
    _required("error", String(100)),
    _required("message", Text),
    Column("size", BigInteger),
    Column("mtime_ns", BigInteger),
    Column("resolved_run_id", ForeignKey("run.id")),
    # Of what was read, where reading succeeded: by it a picture that cannot be decoded is found in lists of hashes.
    Column("sha256", String(64)),
    _one_of("stage", STAGES, "stage"),
    Index(
        "uq_failure_open",
        "source_id",
        "path",
        unique=True,
        sqlite_where=text("resolved_run_id IS NULL"),
    ),
)

# A file left out by a rule, so that the next run need not read it and what was not searched can be counted.
skipped_table = Table(
    "skipped",
    metadata,
    Column("id", ID, primary_key=True),
    _required("run_id", ForeignKey("run.id")),
    _required("source_id", ForeignKey("source.id")),
    _required("path", Text),
    _required("rule", Text),
    _required("kind", String(16)),
    Column("size", BigInteger),
    Column("mtime_ns", BigInteger),
    UniqueConstraint("source_id", "path"),
)

# What was said once of the case and stands on every report: number, examiner, exhibit, notes.
case_fact_table = Table(
    "case_fact",
    metadata,
    Column("name", String(32), primary_key=True),
    _required("value", Text),
)

# The audit chain: `id` counts from 1 without gaps, `digest` covers the entry and the digest of the one before it;
# `detail` is the very JSON text that is hashed. Triggers refuse to change or delete an entry; see migration 0003.
audit_table = Table(
    "audit",
    metadata,
    Column("id", ID, primary_key=True),
    _required("at", String(32)),
    _required("actor", Text),
    _required("action", String(32)),
    _required("detail", Text),
    _required("previous", String(64)),
    _required("digest", String(64), unique=True),
)

# The chain of a database that was merged into this one, whole; `merge_id` is our own entry that names its head.
merged_audit_table = Table(
    "merged_audit",
    metadata,
    Column("id", ID, primary_key=True),
    _required("merge_id", ForeignKey("audit.id")),
    _required("number", BigInteger),
    _required("at", String(32)),
    _required("actor", Text),
    _required("action", String(32)),
    _required("detail", Text),
    _required("previous", String(64)),
    _required("digest", String(64)),
    UniqueConstraint("merge_id", "number"),
)

# What an examiner said of a content: a tag, a note, a category. Withdrawn ones stay, with the time.
mark_table = Table(
    "mark",
    metadata,
    Column("id", ID, primary_key=True),
    _required("image_id", ForeignKey("image.id")),
    _required("kind", String(16)),
    _required("value", Text),
    _required("at", String(32)),
    _required("actor", Text),
    Column("withdrawn_at", String(32)),
    _one_of("kind", MARK_KINDS, "kind"),
    Index(
        "uq_mark_standing",
        "image_id",
        "kind",
        "value",
        unique=True,
        sqlite_where=text("withdrawn_at IS NULL"),
    ),
)

# What an examiner said of a query and a hit; the query need not be stored.
pair_mark_table = Table(
    "pair_mark",
    metadata,
    Column("id", ID, primary_key=True),
    _required("query_sha256", String(64)),
    _required("image_id", ForeignKey("image.id")),
    _required("verdict", String(16)),
    _required("at", String(32)),
    _required("actor", Text),
    Column("withdrawn_at", String(32)),
    _one_of("verdict", VERDICTS, "verdict"),
    Index(
        "uq_pair_mark_standing",
        "query_sha256",
        "image_id",
        unique=True,
        sqlite_where=text("withdrawn_at IS NULL"),
    ),
)

# A list of hashes of known files, as imported.
hash_list_table = Table(
    "hash_list",
    metadata,
    Column("id", ID, primary_key=True),
    _required("name", Text, unique=True),
    _required("form", String(16)),
    _required("file_sha256", String(64)),
    _required("imported_at", String(32)),
    _required("entries", BigInteger),
)

# A known hash, as bytes: 16 are MD5, 20 SHA-1, 32 SHA-256. Millions are usual, hence no rowid.
hash_entry_table = Table(
    "hash_entry",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("list_id", ForeignKey("hash_list.id"), primary_key=True),
    Column("category", Text),
    sqlite_with_rowid=False,
)

# The PDQ hash of a content, 32 bytes, with its quality from 0 to 100.
pdq_table = Table(
    "pdq",
    metadata,
    Column("image_id", ForeignKey("image.id"), primary_key=True, autoincrement=False),
    _required("run_id", ForeignKey("run.id")),
    _required("quality", Integer),
    _required("hash", LargeBinary),
    CheckConstraint("quality >= 0 AND quality <= 100", name="quality"),
)

# A small JPEG of a content, kept only if a run was asked to.
thumbnail_table = Table(
    "thumbnail",
    metadata,
    Column("image_id", ForeignKey("image.id"), primary_key=True, autoincrement=False),
    _required("run_id", ForeignKey("run.id")),
    _required("jpeg", LargeBinary),
)
