"""Add packs of vectors and scene labels, and indexes for what a search leaves out.

The packs of what is stored already are made by the next run, or by `image-similarity db upgrade`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables and indexes."""
    op.create_table(
        "vector_pack",
        sa.Column("id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("image_ids", sa.LargeBinary(), nullable=False),
        sa.Column("scales", sa.LargeBinary(), nullable=False),
        sa.Column("errors", sa.LargeBinary(), nullable=False),
        sa.Column("bits", sa.LargeBinary(), nullable=False),
        sa.Column("codes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_vector_pack_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vector_pack")),
        sa.UniqueConstraint("model_id", "number", name=op.f("uq_vector_pack_model_id_number")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Codes hardly compress; not even tried, they are read a quarter faster.
        op.execute("ALTER TABLE vector_pack ALTER COLUMN codes SET STORAGE EXTERNAL")
    op.create_table(
        "scene_pack",
        sa.Column("id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("image_ids", sa.LargeBinary(), nullable=False),
        sa.Column("labels", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_scene_pack_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scene_pack")),
        sa.UniqueConstraint("model_id", "number", name=op.f("uq_scene_pack_model_id_number")),
    )
    # Packs answer what it was for, and it took a thirteenth of the file.
    op.drop_index("ix_image_scene_scene_id", "image_scene")
    op.drop_index("ix_file_image_id", "file")
    op.create_index("ix_file_image_id_gone_run_id", "file", ["image_id", "gone_run_id"])
    op.create_index(
        "ix_file_gone",
        "file",
        ["gone_run_id", "image_id"],
        sqlite_where=sa.text("gone_run_id IS NOT NULL"),
        postgresql_where=sa.text("gone_run_id IS NOT NULL"),
    )
    op.create_index(
        "ix_image_partial",
        "image",
        ["partial"],
        sqlite_where=sa.text("partial = 1"),
        postgresql_where=sa.text("partial"),
    )
