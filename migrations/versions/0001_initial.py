"""Create the tables: contents, places, models, vectors, scenes, runs, failures, skipped files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# When a picture was taken, as store/dates.py has it: the first 19 characters of what its camera wrote, if they begin
# with a day that there is. PostgreSQL ends a statement where it is to read a date that there is not, a NUL (which its
# texts cannot hold, and which ends a text of SQLite) or half a character; so days are compared as texts, and the others
# replaced by U+FFFF and U+FFFE, which are no characters.
TAKEN_AT = r"""
CREATE FUNCTION taken_at(exif json) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    told text;
BEGIN
    IF strpos(exif::text, '\u') = 0 THEN
        told := exif ->> 'date_time_original';
    ELSE
        told := regexp_replace(replace(exif::text, '\u0000', '\uffff'), '\\u[dD][89a-fA-F]..', '\\ufffe', 'g')::json
            ->> 'date_time_original';
        told := split_part(told, chr(65535), 1);
    END IF;
    IF substr(told, 1, 10) ~ ('^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])'
        '|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))'
        '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29)$')
        AND told COLLATE "C" >= '0001'
    THEN
        RETURN substr(told, 1, 19) COLLATE "C";
    END IF;
    RETURN NULL;
END $body$
"""


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "model",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("preprocess", sa.JSON(), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=True),
        sa.Column("dtype", sa.String(length=8), nullable=False),
        sa.Column("metric", sa.String(length=16), nullable=False),
        sa.Column("normalisation", sa.String(length=16), nullable=False),
        sa.Column("numeric_class", sa.String(length=16), nullable=False),
        sa.Column("scene_top_k", sa.Integer(), nullable=False),
        sa.Column("scene_mass", sa.Double(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.CheckConstraint("dim > 0", name=op.f("ck_model_dim")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_model_fingerprint")),
    )
    op.create_index(op.f("ix_model_name"), "model", ["name"], unique=False)
    op.create_table(
        "source",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("root_path", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint("name", name=op.f("uq_source_name")),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column(
            "source_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("started_at", sa.String(length=32), nullable=False),
        sa.Column("finished_at", sa.String(length=32), nullable=True),
        sa.Column("tool_version", sa.String(length=32), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("process_start", sa.String(length=64), nullable=True),
        sa.Column("account", sa.JSON(), nullable=False),
        sa.CheckConstraint("kind IN ('index', 'refresh')", name=op.f("ck_run_kind")),
        sa.CheckConstraint(
            "status IN ('running', 'done', 'partial', 'interrupted', 'failed')",
            name=op.f("ck_run_status"),
        ),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_run_source_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_table(
        "scene",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_scene_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scene")),
        sa.UniqueConstraint("model_id", "name", name=op.f("uq_scene_model_id_name")),
    )
    op.create_table(
        "failure",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "source_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("error", sa.String(length=100), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column(
            "resolved_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.CheckConstraint(
            "stage IN ('walk', 'stat', 'read', 'decode', 'embed')", name=op.f("ck_failure_stage")
        ),
        sa.ForeignKeyConstraint(
            ["resolved_run_id"], ["run.id"], name=op.f("fk_failure_resolved_run_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_failure_run_id")),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_failure_source_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failure")),
    )
    op.create_index(
        "uq_failure_open",
        "failure",
        ["source_id", "path"],
        unique=True,
        sqlite_where=sa.text("resolved_run_id IS NULL"),
        postgresql_where=sa.text("resolved_run_id IS NULL"),
    )
    op.create_table(
        "image",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("sha1", sa.String(length=40), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("mime", sa.String(length=64), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("exif", sa.JSON(), nullable=False),
        sa.Column(
            "first_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.CheckConstraint("length(sha256) = 64", name=op.f("ck_image_sha256")),
        sa.CheckConstraint("width > 0 AND height > 0", name=op.f("ck_image_size")),
        sa.ForeignKeyConstraint(["first_run_id"], ["run.id"], name=op.f("fk_image_first_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("sha256", name=op.f("uq_image_sha256")),
    )
    op.create_table(
        "skipped",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "source_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_skipped_run_id")),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_skipped_source_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_skipped")),
        sa.UniqueConstraint("source_id", "path", name=op.f("uq_skipped_source_id_path")),
    )
    op.create_table(
        "embedding",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("image_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_embedding_image_id")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_embedding_model_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_embedding_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embedding")),
        sa.UniqueConstraint("model_id", "image_id", name=op.f("uq_embedding_model_id_image_id")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Keyed by content, by which a cluster of servers can distribute it: no unique key may be without it there.
        op.drop_constraint("pk_embedding", "embedding")
        op.create_primary_key(op.f("pk_embedding"), "embedding", ["image_id", "model_id"])
        op.create_index("ix_embedding_id", "embedding", ["id"])
        op.execute("ALTER TABLE embedding ALTER COLUMN vector TYPE halfvec USING NULL")
        # SQLite gets it with each connection; see store/engine.py.
        op.execute(
            "CREATE FUNCTION bytes_of(digits text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS "
            "$$ SELECT CASE WHEN digits ~ '^([0-9A-Fa-f]{2})*$' THEN decode(digits, 'hex') END $$"
        )
        op.execute(TAKEN_AT)
        op.execute('CREATE INDEX ix_image_taken_at ON image (taken_at(exif) COLLATE "C")')
    op.create_table(
        "file",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "source_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("image_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("atime_ns", sa.BigInteger(), nullable=True),
        sa.Column("ctime_ns", sa.BigInteger(), nullable=True),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column(
            "first_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "gone_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.ForeignKeyConstraint(["first_run_id"], ["run.id"], name=op.f("fk_file_first_run_id")),
        sa.ForeignKeyConstraint(["gone_run_id"], ["run.id"], name=op.f("fk_file_gone_run_id")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_file_image_id")),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_file_source_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
    )
    op.create_index(op.f("ix_file_image_id"), "file", ["image_id"], unique=False)
    op.create_index(
        "uq_file_live",
        "file",
        ["source_id", "path"],
        unique=True,
        sqlite_where=sa.text("gone_run_id IS NULL"),
        postgresql_where=sa.text("gone_run_id IS NULL"),
    )
    op.create_table(
        "image_scene",
        sa.Column("image_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("scene_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "probability >= 0 AND probability <= 1", name=op.f("ck_image_scene_probability")
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_image_scene_image_id")),
        sa.ForeignKeyConstraint(["scene_id"], ["scene.id"], name=op.f("fk_image_scene_scene_id")),
        sa.PrimaryKeyConstraint("image_id", "scene_id", name=op.f("pk_image_scene")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_image_scene_scene_id", "image_scene", ["scene_id", "image_id"], unique=False
    )
    # ### end Alembic commands ###
