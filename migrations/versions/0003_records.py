"""Add the records of a case: facts, audit chain, examiners' decisions, known hashes, PDQ hashes, thumbnails.

The chain of a database that is upgraded begins with the upgrade; what was stored before is sealed then, as it stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STANDING = "withdrawn_at IS NULL"


def upgrade() -> None:
    """Create the tables, let a run be an import or a merge, and keep the chain from being changed."""
    _more_kinds_of_runs()
    op.add_column("failure", sa.Column("sha256", sa.String(64)))
    _case_and_audit()
    _decisions()
    _hashes_and_thumbnails()
    _append_only()


def _append_only() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if not is_sqlite:
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the audit chain is append-only'; END $$"
        )
    does = (
        "BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END"
        if is_sqlite
        # Once a statement, so that one that finds no row is refused, too; and none can empty the table.
        else "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    for table in ("audit", "merged_audit"):
        for deed in ("UPDATE", "DELETE") if is_sqlite else ("UPDATE", "DELETE", "TRUNCATE"):
            op.execute(f"CREATE TRIGGER {table}_no_{deed.lower()} BEFORE {deed} ON {table} {does}")


def _more_kinds_of_runs() -> None:
    # SQLite cannot change a CHECK, so the table is built anew, with the columns of 0001 in their order.
    kinds = "kind IN ('index', 'refresh', 'import', 'merge')"
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


def _case_and_audit() -> None:
    op.create_table(
        "case_fact",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_case_fact")),
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, nullable=False),
        *_entry(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.UniqueConstraint("digest", name=op.f("uq_audit_digest")),
    )
    op.create_table(
        "merged_audit",
        sa.Column("id", ID, nullable=False),
        sa.Column("merge_id", ID, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        *_entry(),
        sa.ForeignKeyConstraint(["merge_id"], ["audit.id"], name=op.f("fk_merged_audit_merge_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merged_audit")),
        sa.UniqueConstraint("merge_id", "number", name=op.f("uq_merged_audit_merge_id_number")),
    )


def _entry() -> list[sa.Column[object]]:
    return [
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    ]


def _decisions() -> None:
    op.create_table(
        "mark",
        sa.Column("id", ID, nullable=False),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", sa.String(32)),
        sa.CheckConstraint("kind IN ('tag', 'note', 'category')", name=op.f("ck_mark_kind")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_mark_image_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mark")),
    )
    op.create_index(
        "uq_mark_standing",
        "mark",
        ["image_id", "kind", "value"],
        unique=True,
        sqlite_where=sa.text(STANDING),
        postgresql_where=sa.text(STANDING),
    )
    op.create_table(
        "pair_mark",
        sa.Column("id", ID, nullable=False),
        sa.Column("query_sha256", sa.String(64), nullable=False),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", sa.String(32)),
        sa.CheckConstraint(
            "verdict IN ('relevant', 'irrelevant')", name=op.f("ck_pair_mark_verdict")
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_pair_mark_image_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair_mark")),
    )
    op.create_index(
        "uq_pair_mark_standing",
        "pair_mark",
        ["query_sha256", "image_id"],
        unique=True,
        sqlite_where=sa.text(STANDING),
        postgresql_where=sa.text(STANDING),
    )


def _hashes_and_thumbnails() -> None:
    op.create_table(
        "hash_list",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("form", sa.String(16), nullable=False),
        sa.Column("file_sha256", sa.String(64), nullable=False),
        sa.Column("imported_at", sa.String(32), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hash_list")),
        sa.UniqueConstraint("name", name=op.f("uq_hash_list_name")),
    )
    op.create_table(
        "hash_entry",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("list_id", ID, nullable=False),
        sa.Column("category", sa.Text()),
        sa.ForeignKeyConstraint(["list_id"], ["hash_list.id"], name=op.f("fk_hash_entry_list_id")),
        sa.PrimaryKeyConstraint("digest", "list_id", name=op.f("pk_hash_entry")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pdq",
        sa.Column("image_id", ID, nullable=False, autoincrement=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("quality", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("quality >= 0 AND quality <= 100", name=op.f("ck_pdq_quality")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_pdq_image_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_pdq_run_id")),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_pdq")),
    )
    op.create_table(
        "thumbnail",
        sa.Column("image_id", ID, nullable=False, autoincrement=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("jpeg", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_thumbnail_image_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_thumbnail_run_id")),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_thumbnail")),
    )
