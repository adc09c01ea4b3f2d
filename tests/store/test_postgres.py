"""A database on a PostgreSQL server: what it refuses, several writers at once, a schema that Citus can distribute."""

from __future__ import annotations

import os
import re
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from image_similarity.case import Case
from image_similarity.errors import (
    DatabaseError,
    DatabaseLocked,
    DatabaseMissing,
    DatabaseNotWritable,
    ImageSimilarityError,
    SchemaTooOld,
    ServerRefused,
)
from image_similarity.indexing import taskset
from image_similarity.store import batch, models, runs, upgrade
from image_similarity.store import catalog as stored
from image_similarity.store import postgres as servers
from image_similarity.store.batch import BatchRows, NewContent, SeenFile
from image_similarity.store.catalog import Catalog
from image_similarity.store.schema import embedding_table, metadata
from image_similarity.values import Digests, Failure, Location, PictureFacts, ServerUrl, Skipped
from tests.indexing.desk import Desk, Misbehaving, same_vectors
from tests.indexing.runner import started
from tests.postgres import fresh_case, fresh_database, server_change, server_rows
from tests.search.synthetic import model_info
from tests.store.test_packs import with_scenes

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "image_similarity").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
DIM = 4


@pytest.fixture
def database(postgres_server: str) -> ServerUrl:
    """A database that was opened once."""
    return fresh_case(postgres_server)


@pytest.fixture
def desk(database: ServerUrl, tmp_path: Path, tiny_model: Path) -> Desk:
    return Desk(tmp_path, tiny_model, database)


def as_role(server: ServerUrl, role: str) -> ServerUrl:
    """The same database for another role, with a password that nobody may see."""
    return ServerUrl(server.url.replace("//postgres@", f"//{role}:secret@"))


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["audit", "merged_audit"])
@pytest.mark.parametrize(
    "deed", ["UPDATE {} SET actor = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
def test_entries_of_the_chain_cannot_be_changed_deleted_or_emptied(
    database: ServerUrl, deed: str, table: str
) -> None:
    import psycopg

    with pytest.raises(psycopg.errors.RaiseException, match="the audit chain is append-only"):
        server_change(database, deed.format(table))
    assert server_rows(database, "SELECT count(*) FROM audit") == [(1,)]


@pytest.mark.parametrize(
    "deed",
    [
        "DROP TRIGGER audit_no_truncate ON audit",
        "ALTER TABLE audit DISABLE TRIGGER audit_no_truncate",
    ],
)
def test_a_trigger_that_was_removed_or_put_to_sleep_is_found(
    database: ServerUrl, deed: str
) -> None:
    server_change(database, deed)
    with Case.open(database, read_only=True) as case:
        (finding,) = case.verify_audit().findings
    assert "audit_no_truncate" in finding.message


def refusal(server: ServerUrl, **how: Any) -> ImageSimilarityError:
    with pytest.raises(ImageSimilarityError) as caught, Case.open(server, **how):
        pass
    said = f"{caught.value.message} {caught.value.hint}"
    assert "\n" not in said
    assert "secret" not in said
    assert caught.value.hint
    return caught.value


def test_a_server_that_is_too_old_is_refused(
    database: ServerUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "OLDEST_SERVER", 99)
    error = refusal(as_role(database, "postgres"))
    assert isinstance(error, ServerRefused)
    assert re.search(r"is PostgreSQL \d+, this program needs 99 or later", error.message)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("", "has no pgvector"),
        ("VALUES ('vector', '0.7.4', '0.8.0')", "has pgvector 0.7.4, this program needs 0.8"),
        ("VALUES ('vector', NULL, '0.7.4')", "has pgvector 0.7.4, this program needs 0.8"),
    ],
)
def test_a_server_without_a_pgvector_that_will_do_is_refused(
    postgres_server: str, row: str, expected: str
) -> None:
    server = fresh_database(postgres_server)
    columns = "name, installed_version, default_version"
    server_change(
        server,
        f"CREATE TABLE public.pg_available_extensions ({columns.replace(',', ' text,')} text)",
    )
    if row:
        server_change(server, f"INSERT INTO public.pg_available_extensions {row}")
    # The server's own view is looked up before it, unless somebody says otherwise.
    server_change(server, f"ALTER DATABASE {server.name} SET search_path = public, pg_catalog")
    error = refusal(as_role(server, "postgres"))
    assert isinstance(error, ServerRefused)
    assert expected in error.message


def test_a_database_that_cannot_hold_every_path_is_refused(postgres_server: str) -> None:
    server = fresh_database(postgres_server, "template0 ENCODING 'LATIN1' LOCALE 'C'")
    error = refusal(as_role(server, "postgres"))
    assert isinstance(error, ServerRefused)
    assert "LATIN1" in error.message


def test_a_database_that_is_not_there_is_named(postgres_server: str) -> None:
    error = refusal(
        ServerUrl(postgres_server.format("nowhere").replace("//postgres@", "//postgres:secret@"))
    )
    assert isinstance(error, DatabaseMissing)
    assert "nowhere" in error.message


@pytest.mark.parametrize("host", ["@127.0.0.1:1/case", "@/case?host=/nonexistent"])
def test_a_server_that_cannot_be_reached_is_one_line(host: str) -> None:
    error = refusal(ServerUrl(f"postgresql+psycopg://me:secret{host}"))
    assert isinstance(error, ServerRefused)
    assert "cannot connect" in error.message


def test_a_role_without_rights_to_write_reads_and_is_told_so(desk: Desk) -> None:
    desk.put("a.png")
    desk.index()
    role = f"analyst_{os.getpid()}"
    server_change(desk.database, f"CREATE ROLE {role} LOGIN")
    server_change(desk.database, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    analyst = as_role(desk.database, role)
    try:
        with Case.open(analyst, read_only=True) as case:
            assert case.status().images == 1
            assert case.verify_audit().findings == ()
        assert isinstance(refusal(analyst), DatabaseNotWritable)
        # What an examiner needs, who does not own the tables.
        server_change(
            desk.database, f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
        )
        server_change(desk.database, f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
        desk.put("b.png", seed=1)
        with Case.open(analyst) as case:
            assert case.index(desk.evidence, options=desk.options).new == 1
        desk.check()
    finally:
        server_change(desk.database, f"DROP OWNED BY {role}")
        server_change(desk.database, f"DROP ROLE {role}")


def test_a_reader_can_write_nothing(database: ServerUrl) -> None:
    catalog = Catalog.open(database, read_only=True)
    with catalog.reading() as connection, pytest.raises(DatabaseNotWritable):
        connection.exec_driver_sql("DELETE FROM run")
    catalog.close()


# -- the schema -----------------------------------------------------------------------------------------------------


def test_the_migrations_build_the_declared_schema(database: ServerUrl) -> None:
    catalog = Catalog.open(database, read_only=True)
    with catalog.reading() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        key = connection.exec_driver_sql(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'pk_embedding'"
        ).scalar()
    catalog.close()
    # Vectors are keyed by content there, and their ids are no key; dates have an index of their own.
    assert sorted((kind, index.name) for kind, index in differences) == [
        ("remove_index", "ix_embedding_id"),
        ("remove_index", "ix_image_taken_at"),
    ]
    assert key == "PRIMARY KEY (image_id, model_id)"


def test_texts_are_ordered_as_in_a_file_whatever_the_locale(database: ServerUrl) -> None:
    collations = (
        "SELECT DISTINCT collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type IN ('text', 'character varying')"
        " AND table_name <> 'alembic_version'"
    )
    assert server_rows(database, collations) == [("C",)]


@pytest.mark.parametrize(
    ("digits", "expected"),
    [("", b""), ("00ffAB", b"\0\xff\xab"), ("0", None), ("zz", None), ("00 ", None), (None, None)],
)
def test_bytes_of_is_there_as_on_sqlite(
    database: ServerUrl, digits: str | None, expected: bytes | None
) -> None:
    assert server_rows(database, "SELECT bytes_of(?::text)", digits) == [(expected,)]


# -- many rows at once ----------------------------------------------------------------------------------------------


def test_rows_go_in_by_copy_and_come_out_the_same(database: ServerUrl) -> None:
    rng = np.random.default_rng(5)
    vectors = [rng.normal(size=DIM).astype("<f2").tobytes() for _ in range(50)]
    catalog = Catalog.open(database, read_only=False)
    with catalog.writing() as connection:
        source, run, model = prepare(connection)
        known = batch.load_knowledge(connection, source, [model], [])
        batch.write_batch(connection, run, source, some_rows(range(50)), known)
        ids = list(known.images.values())
        rows = [(1000 + n, model, id_, run, vectors[n]) for n, id_ in enumerate(ids)]
        columns = ["id", "model_id", "image_id", "run_id", "vector"]
        servers.copy_in(connection, embedding_table, columns, rows)
        servers.restart_ids(connection, embedding_table)
        assert connection.exec_driver_sql("SELECT nextval('embedding_id_seq')").scalar() == 1050
    with catalog.reading() as connection:
        found = dict(connection.execute(embedding_table.select().with_only_columns(
            embedding_table.c.image_id, embedding_table.c.vector)).all())  # fmt: skip
    assert [found[id_] for id_ in ids] == vectors
    with (
        catalog.writing() as connection,
        pytest.raises(DatabaseError, match=r"uq_embedding|pk_embedding"),
    ):
        servers.copy_in(connection, embedding_table, columns, rows[:1])
    catalog.close()


# -- one batch, many writers ----------------------------------------------------------------------------------------


def prepare(connection: Any) -> tuple[int, int, int]:
    source = stored.add_source(connection, "disk", "/evidence/disk")
    run = runs.begin(connection, runs.RunStart("index", source, {}, {}))
    info = with_scenes(model_info("one", DIM), ("beach", "street"))
    return source, run, models.register(connection, info)


def some_rows(names: range) -> BatchRows:
    rows = BatchRows()
    for name in names:
        digests = Digests(f"{name:064x}", f"{name:040x}", f"{name:032x}")
        rows.contents.append(NewContent(digests, 1, PictureFacts(1, 1, "PNG", "image/png")))
        rows.files.append(SeenFile(f"{name}.png", digests.sha256, 1, 1, None, None, True))
    return rows


def whole_rows(names: range, model: int, scenes: list[int]) -> BatchRows:
    rows = some_rows(names)
    for file in rows.files:
        rows.vectors.append((model, file.sha256, bytes(2 * DIM)))
        rows.scenes.append((model, file.sha256, [(scene, 0.5) for scene in scenes]))
        rows.hashes.append((file.sha256, 50, bytes(32)))
        rows.thumbnails[file.sha256] = b"jpeg"
    rows.failures.append(Failure("broken.jpg", "decode", "OSError", "no\0picture"))
    rows.skipped.append(Skipped("notes.txt", "not a picture", "other", 4, 1))
    return rows


def test_a_batch_that_is_written_twice_or_overlaps_another_adds_nothing_twice(
    location: Location,
) -> None:
    catalog = Catalog.open(location, read_only=False)
    with catalog.writing() as connection:
        source, run, model = prepare(connection)
        scenes = list(models.scene_ids(connection, model).values())

    def write(names: range, *, failing: bool = False) -> BatchRows:
        rows = whole_rows(names, model, scenes)
        if not failing:
            rows.failures.clear()
        paths = [each.path for each in (*rows.files, *rows.failures, *rows.skipped)]
        with catalog.writing() as connection:
            known = batch.knowledge_of(
                connection, source, paths, {file.sha256 for file in rows.files},
                [model], [model], pdq=True, with_thumbnails=True,
            )  # fmt: skip
            batch.drop_stored(rows, known)
            batch.write_sealed(connection, run, source, rows, known)
        return rows

    def counts() -> list[int]:
        tables = (
            "image",
            "file",
            "embedding",
            "image_scene",
            "pdq",
            "thumbnail",
            "failure",
            "skipped",
            "audit",
        )
        with catalog.reading() as connection:
            return [
                connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
                for table in tables
            ]

    assert len(write(range(4), failing=True).vectors) == 4
    once = counts()
    assert once[:-1] == [4, 4, 4, 8, 4, 4, 1, 1]
    again = write(range(4))
    assert (again.contents, again.vectors, again.scenes, again.hashes) == ([], [], [], [])
    assert counts() == once, "not even an entry of the chain"
    assert [name for _, name, _ in write(range(2, 6)).vectors] == [f"{n:064x}" for n in (4, 5)]
    assert counts()[:-1] == [6, 6, 6, 12, 6, 6, 1, 1]
    with Case.open(location, read_only=True) as case:
        assert case.verify_audit().findings == ()
    catalog.close()


def test_contents_that_another_run_stored_meanwhile_are_not_stored_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run has encoded its batch when the second one stores the same contents."""
    for folder in ("one", "two"):
        for seed in range(4):
            desk.put(f"{folder}/picture-{seed}.png", seed=seed)
    desk.put("one/alone.png", seed=90)
    encoded, go_on = threading.Event(), threading.Event()

    def wait(pixels: np.ndarray) -> None:
        encoded.set()
        assert go_on.wait(60)

    reports = []
    slow = threading.Thread(
        target=lambda: reports.append(desk.index(desk.evidence / "one", batch_size=5))
    )
    with monkeypatch.context() as patch:
        patch.setattr(taskset, "Encoder", Misbehaving(wait))
        slow.start()
        assert encoded.wait(60)
    second = desk.index(desk.evidence / "two")
    go_on.set()
    slow.join(60)
    (first,) = reports
    assert (second.new, second.duplicate, second.embedded) == (4, 0, 4)
    assert (first.new, first.duplicate, first.embedded, first.seen) == (1, 4, 1, 5)
    assert desk.count("image") == desk.count("embedding") == 5
    assert desk.count("file") == 9
    desk.check()


def test_an_open_run_holds_up_its_own_source_alone(desk: Desk) -> None:
    for folder in ("one", "two"):
        desk.put(f"{folder}/picture.png")
    desk.index(desk.evidence / "one")
    desk.change("UPDATE run SET status = 'running', host = 'elsewhere', finished_at = NULL")
    assert desk.index(desk.evidence / "two").duplicate == 1
    with pytest.raises(DatabaseLocked, match="on elsewhere"):
        desk.index(desk.evidence / "one")


def test_two_processes_that_index_two_sources_with_shared_contents_store_each_once(
    desk: Desk, tmp_path: Path, tiny_model: Path
) -> None:
    for folder in ("one", "two"):
        for seed in range(8):
            desk.put(f"{folder}/picture-{seed}.png", seed=seed)
        desk.put(f"{folder}/own.png", seed=100 + len(folder) + (folder == "two"))
    with ExitStack() as stack:
        for folder in ("one", "two"):
            part = Desk(tmp_path / folder, tiny_model, desk.database)
            part.evidence = desk.evidence / folder
            process = stack.enter_context(started(part, 0.01))
            stack.callback(process.join, 60)
    reports = desk.runs()
    assert [report.status for report in reports] == ["done", "done"]
    assert [report.seen for report in reports] == [9, 9]
    assert sum(report.new for report in reports) == desk.count("image") == 10
    assert sum(report.duplicate for report in reports) == 8
    assert desk.count("embedding") == 10
    desk.check()
    calm = Desk(tmp_path / "calm", tiny_model)
    for folder in ("one", "two"):
        calm.index(desk.evidence / folder)
    assert same_vectors(desk.vectors(), calm.vectors())
    assert desk.labels() == calm.labels()


def test_a_connection_that_is_cut_in_mid_batch_leaves_whole_batches_and_the_next_run_completes_them(
    desk: Desk, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = Desk(tmp_path / "calm", tiny_model)
    for each in (desk, calm):
        each.put_many(12)
    calm.index()
    really_save, saved = runs.save_account, []

    def save(*given: Any) -> None:
        saved.append(given)
        if len(saved) == 2:
            others = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            server_rows(
                desk.database, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {others}"
            )
        really_save(*given)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "save_account", save)
        with pytest.raises(ServerRefused):
            desk.index()
    assert desk.count("embedding") == 4
    desk.check()
    assert desk.runs()[0].status == "failed"
    assert desk.runs()[0].new == 4
    assert desk.index().new == 8
    assert desk.essence() == calm.essence()


def test_a_writer_that_waits_too_long_for_another_is_told_so(
    database: ServerUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "LOCK_TIMEOUT_S", 1)
    first, second = (Catalog.open(database, read_only=False) for _ in range(2))
    with (
        first.writing(),
        pytest.raises(DatabaseLocked, match="locked by another"),
        second.writing(),
    ):
        pass
    with second.writing():
        pass
    first.close()
    second.close()


def test_what_others_committed_while_a_writer_waited_is_seen_by_it(database: ServerUrl) -> None:
    """Whatever isolation the server has by default: or the chain would get two entries of one number."""
    server_change(
        database,
        f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'repeatable read'",
    )

    def decide(number: int) -> None:
        for turn in range(5):
            with Case.open(database) as case:
                case.set_facts(notes=f"{number}.{turn}")

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Case.open(database, read_only=True) as case:
        assert len(case.audit()) == 1 + 15
        assert case.verify_audit().findings == ()


def test_two_who_open_an_empty_database_at_once_make_one(postgres: ServerUrl) -> None:
    meeting = threading.Barrier(2, timeout=60)
    opened: list[str] = []

    def first_open() -> None:
        meeting.wait()
        with Case.open(postgres) as case:
            opened.append(case.status().revision)

    threads = [threading.Thread(target=first_open) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [upgrade.head_revision()] * 2
    assert server_rows(postgres, "SELECT count(*) FROM audit") == [(1,)]


def test_an_older_schema_is_upgraded_only_where_somebody_says_so(postgres: ServerUrl) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(upgrade.migrations_folder()))
    engine = servers.make_engine(postgres, read_only=False)
    with (
        engine.connect().execution_options(immediate=True) as connection,
        connection.begin(),
    ):
        connection.exec_driver_sql("CREATE EXTENSION vector")
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    engine.dispose()
    with pytest.raises(SchemaTooOld, match="has schema 0003"), Case.open(postgres):
        pass
    Catalog.open(postgres, read_only=False, upgrade=True).close()
    with Case.open(postgres, read_only=True) as case:
        assert case.status().revision == upgrade.head_revision()
        assert next(entry.action for entry in case.audit()) == "upgrade"
        assert case.verify_audit().findings == ()


# -- fit for Citus --------------------------------------------------------------------------------------------------


def test_no_unique_key_of_the_vectors_is_without_the_content_by_which_they_are_distributed(
    database: ServerUrl,
) -> None:
    keys = server_rows(
        database,
        "SELECT array_agg(attname::text ORDER BY attname) FROM pg_index"
        " JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)"
        " WHERE indrelid = 'embedding'::regclass AND indisunique GROUP BY indexrelid",
    )
    assert keys
    assert all("image_id" in names for (names,) in keys)


@pytest.mark.parametrize(
    "pattern",
    [
        r"SKIP\s+LOCKED|FOR\s+(NO\s+KEY\s+)?(UPDATE|SHARE)\b|with_for_update",
        # The vector of a query is fetched first: distributed, this would be refused.
        r"<[-=#+]>[\"',)\s]*[^\n]{0,40}(\(\s*SELECT|scalar_subquery)",
    ],
)
def test_nothing_is_said_that_a_distributed_table_refuses(pattern: str) -> None:
    found = [str(path) for path in SOURCES if re.search(pattern, path.read_text("utf-8"))]
    assert len(SOURCES) > 100
    assert found == []


@pytest.mark.skipif(not os.environ.get("CITUS_URL"), reason="CITUS_URL names no database of Citus")
def test_a_case_on_citus_is_indexed_searched_and_checked(tmp_path: Path, tiny_model: Path) -> None:
    """CITUS_URL: an empty database on a coordinator, with the extensions citus and vector."""
    server = ServerUrl(os.environ["CITUS_URL"])
    Catalog.open(server, read_only=False).close()
    for table in ("source", "run", "model", "image", "file", "scene"):
        server_change(server, f"SELECT create_reference_table('{table}')")
    server_change(server, "SELECT create_distributed_table('embedding', 'image_id')")
    beside = "colocate_with => 'embedding'"
    server_change(server, f"SELECT create_distributed_table('image_scene', 'image_id', {beside})")
    desk = Desk(tmp_path, tiny_model, server)
    pictures = desk.put_many(12)
    desk.index()
    desk.put_many(4, start=12)
    desk.index()
    assert desk.count("embedding") == 16
    desk.check()
    assert desk.find(pictures[3])[0].path == "picture-003.png"
