"""The tables, declared once; migrations/ builds the same, and a test holds the two together.

No ON DELETE CASCADE anywhere: nothing in daily work deletes, and a batch migration that rebuilds a parent table would
silently delete the children. Rowid tables with 32 KiB pages hold vectors at 1.05 times their size; WITHOUT ROWID took
up to 4.57 times (it is right for `image_scene` alone, whose rows are a few bytes).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# "IMSI": tells our files from those of other programs (PRAGMA application_id).
APPLICATION_ID = 0x494D5349
PAGE_SIZE = 32768

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

RUN_KINDS = ("index", "refresh")
RUN_STATUSES = ("running", "done", "partial", "interrupted", "failed")
STAGES = ("walk", "stat", "read", "decode", "embed")


def _one_of(column: str, values: tuple[str, ...], name: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(v) for v in values)})", name=name)


class Base(DeclarativeBase):
    """The declarative base; constraint names follow one convention so that migrations can name them."""

    metadata = MetaData(naming_convention=NAMING)


# BIGINT on servers, INTEGER on SQLite, where only INTEGER PRIMARY KEY is the rowid itself.
Id = BigInteger().with_variant(Integer(), "sqlite")


class SourceRow(Base):
    """A folder that was indexed, by name."""

    __tablename__ = "source"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    root_path: Mapped[str] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(String(32))


class RunRow(Base):
    """One run over one source; a row "running" whose process is dead is closed by the next run."""

    __tablename__ = "run"
    __table_args__ = (_one_of("kind", RUN_KINDS, "kind"), _one_of("status", RUN_STATUSES, "status"))
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id"))
    started_at: Mapped[str] = mapped_column(String(32))
    finished_at: Mapped[str | None] = mapped_column(String(32))
    tool_version: Mapped[str] = mapped_column(String(32))
    environment: Mapped[dict[str, Any]] = mapped_column(JSON)
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(BigInteger)
    process_start: Mapped[str | None] = mapped_column(String(64))
    account: Mapped[dict[str, Any]] = mapped_column(JSON)


class ImageRow(Base):
    """A content: one row per distinct SHA-256, wherever and however often it was found."""

    __tablename__ = "image"
    __table_args__ = (
        CheckConstraint("length(sha256) = 64", name="sha256"),
        CheckConstraint("width > 0 AND height > 0", name="size"),
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    sha1: Mapped[str] = mapped_column(String(40))
    md5: Mapped[str] = mapped_column(String(32))
    size: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    format: Mapped[str] = mapped_column(String(16))
    mime: Mapped[str] = mapped_column(String(64))
    partial: Mapped[bool]
    exif: Mapped[dict[str, Any]] = mapped_column(JSON)
    first_run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))


class FileRow(Base):
    """A place that holds or held a content; a changed content closes this row and adds one.

    Times are as the file system gave them before the file was opened. `settled` is false when the file was modified
    so shortly before it was read that its time cannot be trusted to show a later change: the next run reads it again.
    """

    __tablename__ = "file"
    __table_args__ = (
        Index(
            "uq_file_live",
            "source_id",
            "path",
            unique=True,
            sqlite_where=text("gone_run_id IS NULL"),
            postgresql_where=text("gone_run_id IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id"))
    path: Mapped[str] = mapped_column(Text)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    atime_ns: Mapped[int | None] = mapped_column(BigInteger)
    ctime_ns: Mapped[int | None] = mapped_column(BigInteger)
    settled: Mapped[bool]
    first_run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    gone_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))


class ModelRow(Base):
    """A model whose vectors or scenes are stored; the same fingerprint means comparable vectors."""

    __tablename__ = "model"
    __table_args__ = (CheckConstraint("dim > 0", name="dim"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text, index=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    architecture: Mapped[str] = mapped_column(Text)
    weights_sha256: Mapped[str] = mapped_column(String(64))
    preprocess: Mapped[dict[str, Any]] = mapped_column(JSON)
    dim: Mapped[int | None]
    dtype: Mapped[str] = mapped_column(String(8))
    metric: Mapped[str] = mapped_column(String(16))
    normalisation: Mapped[str] = mapped_column(String(16))
    numeric_class: Mapped[str] = mapped_column(String(16))
    scene_top_k: Mapped[int]
    scene_mass: Mapped[float]
    licence: Mapped[str] = mapped_column(Text)
    origin: Mapped[str] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(String(32))


class EmbeddingRow(Base):
    """A vector: float16 little-endian, 2 * dim bytes."""

    __tablename__ = "embedding"
    __table_args__ = (UniqueConstraint("model_id", "image_id"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class SceneRow(Base):
    """A scene class of a model; `position` is its index in the classifier's output."""

    __tablename__ = "scene"
    __table_args__ = (UniqueConstraint("model_id", "name"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(Text)


class ImageSceneRow(Base):
    """One of the top-k scenes of a content, with its probability; `rank` 1 is the most probable."""

    __tablename__ = "image_scene"
    __table_args__ = (
        CheckConstraint("probability >= 0 AND probability <= 1", name="probability"),
        Index("ix_image_scene_scene_id", "scene_id", "image_id"),
        {"sqlite_with_rowid": False},
    )
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    scene_id: Mapped[int] = mapped_column(ForeignKey("scene.id"), primary_key=True)
    probability: Mapped[float]
    rank: Mapped[int]


class FailureRow(Base):
    """A file that could not be taken; open until a later run takes it or it is gone."""

    __tablename__ = "failure"
    __table_args__ = (
        _one_of("stage", STAGES, "stage"),
        Index(
            "uq_failure_open",
            "source_id",
            "path",
            unique=True,
            sqlite_where=text("resolved_run_id IS NULL"),
            postgresql_where=text("resolved_run_id IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id"))
    path: Mapped[str] = mapped_column(Text)
    stage: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(String(100))
    message: Mapped[str] = mapped_column(Text)
    size: Mapped[int | None] = mapped_column(BigInteger)
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    resolved_run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))


class SkippedRow(Base):
    """A file left out by a rule, so that the next run need not read it and what was not searched can be counted."""

    __tablename__ = "skipped"
    __table_args__ = (UniqueConstraint("source_id", "path"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id"))
    path: Mapped[str] = mapped_column(Text)
    rule: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    size: Mapped[int | None] = mapped_column(BigInteger)
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
