"""Let a run derive vectors from stored ones, as a reduction that was learned on a database does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Build the table of runs anew with one more kind."""
    # SQLite cannot change a CHECK, so the table is built anew, with the columns of 0001 in their order.
    kinds = "kind IN ('index', 'refresh', 'import', 'merge', 'derive')"
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint("ck_run_kind", "run")
        op.create_check_constraint(op.f("ck_run_kind"), "run", kinds)
        return
    statuses = "status IN ('running', 'done', 'partial', 'interrupted', 'failed')"
    op.create_table(
        "new_run",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("source_id", ID, nullable=False),
        sa.Column("started_at", sa.String(32), nullable=False),
        sa.Column("finished_at", sa.String(32)),
        sa.Column("tool_version", sa.String(32), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("process_start", sa.String(64)),
        sa.Column("account", sa.JSON(), nullable=False),
        sa.CheckConstraint(kinds, name=op.f("ck_run_kind")),
        sa.CheckConstraint(statuses, name=op.f("ck_run_status")),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_run_source_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.execute("INSERT INTO new_run SELECT * FROM run")
    op.drop_table("run")
    op.rename_table("new_run", "run")
