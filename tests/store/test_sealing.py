"""Whatever is changed in a sealed row, put among the rows or taken from them is found, and named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from image_similarity import Case
from image_similarity.store import sealing
from image_similarity.store.catalog import Catalog
from image_similarity.store.schema import APPLICATION_ID, PAGE_SIZE
from image_similarity.values import Location
from tests.indexing.desk import Desk, digest_of
from tests.postgres import fresh_case
from tests.store.audited import attacking, copy_of, in_a_file, make_case, said, verified

DUMPS = Path(__file__).resolve().parents[1] / "data" / "db"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> Desk:
    """A case that no test may write to."""
    return make_case(request, tmp_path_factory.mktemp("sealed"), tiny_model)


@pytest.fixture
def case(made: Desk, tmp_path: Path) -> Location:
    """A copy of the database to be tampered with."""
    return copy_of(made.database, tmp_path)


def entries(database: Location, action: str) -> list[tuple[int, dict[str, Any]]]:
    with Case.open(database, read_only=True) as case:
        return [(e.number, json.loads(e.detail)) for e in case.audit() if e.action == action]


def tables_of(detail: dict[str, Any]) -> dict[str, int]:
    return {each["table"]: each["count"] for each in detail["rows"]}


def test_each_batch_seals_what_it_wrote_and_no_more(case: Location) -> None:
    batches = [tables_of(detail) for _, detail in entries(case, "batch")]
    assert [batch.get("image", 0) for batch in batches] == [4, 3, 1]
    assert sum(batch.get("file", 0) for batch in batches) == 9
    assert sum(batch.get("embedding", 0) for batch in batches) == 8
    assert sum(batch.get("labels", 0) for batch in batches) == 8
    assert sum(batch.get("failure", 0) for batch in batches) == 1


@pytest.mark.usefixtures("pdq_stand_in")
@pytest.mark.parametrize("size", [1, 3, 64])
def test_a_case_is_consistent_whatever_the_size_of_its_batches(
    tmp_path: Path, tiny_model: Path, location: Location, size: int
) -> None:
    desk = Desk(tmp_path, tiny_model, location)
    desk.put_many(7)
    desk.index(batch_size=size, pdq=True)
    report = verified(desk.database)
    assert report.findings == ()
    assert report.rows >= 7 * 5
    assert report.open_runs == ()


@pytest.mark.usefixtures("pdq_stand_in")
def test_a_content_that_gets_a_second_model_and_a_hash_later_is_sealed_again(
    tmp_path: Path, tiny_model: Path, location: Location
) -> None:
    from tests.tiny_model import write_tiny_model

    other = write_tiny_model(tmp_path / "other.safetensors", dim=8, seed=1)
    desk = Desk(tmp_path / "desk", tiny_model, location)
    desk.put_many(5)
    desk.index()
    desk.index(models=(str(other),), scenes=str(other), pdq=True)
    assert verified(desk.database).findings == ()
    batches = [tables_of(detail) for _, detail in entries(desk.database, "batch")]
    assert sum(batch.get("labels", 0) for batch in batches) == 10
    assert sum(batch.get("pdq", 0) for batch in batches) == 5


@in_a_file
def test_one_bit_of_a_vector_is_found_with_the_picture_and_the_entry(
    case: Location, made: Desk
) -> None:
    sha256 = digest_of(made.evidence / "picture-002.png")
    with attacking(case) as connection:
        (row, vector) = connection.execute(
            "SELECT embedding.id, vector FROM embedding JOIN image ON image.id = image_id "
            "WHERE sha256 = ?", (sha256,),
        ).fetchone()  # fmt: skip
        changed = bytes([vector[0] ^ 1]) + vector[1:]
        connection.execute("UPDATE embedding SET vector = ? WHERE id = ?", (changed, row))
    (finding,) = verified(case).findings
    assert (finding.kind, finding.table, finding.row) == ("changed", "embedding", row)
    assert finding.name == sha256
    assert sha256 in finding.message
    assert f"entry {finding.entry} (batch, " in finding.message


CHANGES = [
    ("image", "UPDATE image SET md5 = 'ffffffffffffffffffffffffffffffff' WHERE id = 2"),
    ("image", "UPDATE image SET width = width + 1 WHERE id = 2"),
    ("image", "UPDATE image SET exif = '{\"Make\":\"Other\"}' WHERE id = 2"),
    ("image", "UPDATE image SET partial = true WHERE id = 2"),
    ("file", "UPDATE file SET path = 'elsewhere.png' WHERE id = 3"),
    ("file", "UPDATE file SET image_id = 7 WHERE id = 3"),
    ("labels", "UPDATE image_scene SET probability = probability / 2 WHERE image_id = 3 AND rank = 1"),
    ("labels", "DELETE FROM image_scene WHERE image_id = 3 AND rank = 2"),
    ("image", "UPDATE image SET first_run_id = 2 WHERE id = 2"),
    ("file", "UPDATE file SET first_run_id = 2 WHERE id = 3"),
    ("embedding", "UPDATE embedding SET run_id = 2 WHERE id = 3"),
    ("embedding", "UPDATE embedding SET vector = (SELECT vector FROM embedding WHERE id = 1) WHERE id = 3"),
    ("failure", "UPDATE failure SET path = 'other.jpg'"),
    ("model", "UPDATE model SET weights_sha256 = 'other'"),
    ("run", "UPDATE run SET started_at = '2020-01-01T00:00:00Z' WHERE id = 1"),
    ("account", "UPDATE run SET account = '{}' WHERE id = 1"),
    ("account", "UPDATE run SET status = 'failed' WHERE id = 2"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "statement"), CHANGES)
def test_a_changed_row_is_found_in_its_table(case: Location, table: str, statement: str) -> None:
    with attacking(case) as connection:
        assert connection.execute(statement).rowcount > 0
    found = said(case)
    assert ("changed", table) in {(kind, of) for kind, _, of, _ in found}
    assert all(entry is not None for kind, entry, _, _ in found if kind == "changed")


def test_a_place_that_is_hidden_as_gone_is_found(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("UPDATE file SET gone_run_id = 1 WHERE path = 'picture-001.png'")
    assert said(case) == [("unsealed", None, "gone", "index")]


def test_a_place_that_is_shown_again_is_found(case: Location) -> None:
    with attacking(case) as connection:
        done = connection.execute("UPDATE file SET gone_run_id = NULL WHERE gone_run_id = 2")
        assert done.rowcount == 1
    ((kind, entry, table, _),) = said(case)
    assert (kind, table) == ("missing", "gone")
    assert entry is not None


def test_a_failure_that_is_hidden_as_settled_is_found(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("UPDATE failure SET resolved_run_id = 2")
    assert said(case) == [("unsealed", None, "resolved", "index")]


def test_a_row_that_was_removed_is_found(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("DELETE FROM embedding WHERE id = 3")
    (finding,) = verified(case).findings
    assert (finding.kind, finding.table, finding.row) == ("missing", "embedding", 3)


@pytest.mark.parametrize("row", [-5, 0, 4_000_000_000, 2**63 - 1])
def test_a_row_that_was_put_in_is_found_wherever(case: Location, row: int) -> None:
    with attacking(case) as connection:
        connection.execute(
            "INSERT INTO file (id, source_id, path, image_id, size, mtime_ns, settled, first_run_id)"
            " VALUES (?, 1, 'planted.png', 1, 5, 5, true, 1)", (row,),
        )  # fmt: skip
    assert said(case) == [("unsealed", None, "file", "planted.png")]


def test_a_label_that_was_put_in_is_found(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("DELETE FROM image_scene WHERE image_id = 2 AND rank = 3")
        connection.execute(
            "INSERT INTO image_scene SELECT 2, id, 0.9, 3 FROM scene WHERE id NOT IN "
            "(SELECT scene_id FROM image_scene WHERE image_id = 2) LIMIT 1"
        )
    assert [(kind, table) for kind, _, table, _ in said(case)] == [("changed", "labels")]


@in_a_file
def test_a_reference_to_nothing_is_found(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("UPDATE file SET gone_run_id = 'never' WHERE id = 1")
    assert ("record", None, "file", "") in said(case)


def test_a_change_that_agrees_in_the_kept_bytes_is_found_without_a_name(case: Location) -> None:
    """Whoever searches long enough finds a row with the same first bytes; the digest of all is not met so."""
    with Case.open(case, read_only=True) as opened:
        (sealed, *_) = [
            each
            for entry in opened.audit()
            for each in sealing.seals_in(entry.detail)
            if each.table == "image"
        ]
        other = sealing.Seal(sealed.table, sealed.ranges, sealed.count, "0" * 64, sealed.rows)
        with opened._catalog.reading() as connection:
            assert sealing.differences(connection, sealed) == []
            assert sealing.differences(connection, other) == [
                sealing.Difference("changed", None, "")
            ]


COLUMNS = [
    ("image", "id", ["sha256", "sha1", "md5", "size", "width", "height", "format", "mime", "partial", "exif"]),
    ("image", "id", ["first_run_id"]),
    ("file", "id", ["source_id", "path", "image_id", "first_run_id", "gone_run_id"]),
    ("embedding", "id", ["model_id", "image_id", "run_id", "vector"]),
    ("image_scene", "image_id", ["probability", "rank"]),
    ("failure", "id", ["path", "stage", "error", "message"]),
    ("audit", "id", ["at", "actor", "action", "detail", "previous", "digest"]),
]  # fmt: skip


@in_a_file
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_no_tampering_with_any_column_of_any_row_goes_unseen(
    made: Desk, tmp_path: Path, data: st.DataObject
) -> None:
    database = Path(shutil.copy(made.database, tmp_path / "case.db"))
    table, key, columns = data.draw(st.sampled_from(COLUMNS))
    column = data.draw(st.sampled_from(columns))
    value = data.draw(
        st.one_of(st.text(max_size=8), st.binary(max_size=8), st.integers(-(2**63), 2**63 - 1), st.floats())
    )  # fmt: skip
    with attacking(database) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        ids = [i for (i,) in connection.execute(f"SELECT DISTINCT {key} FROM {table} ORDER BY 1")]
        row = data.draw(st.sampled_from(ids))
        query = f"SELECT {column} FROM {table} WHERE {key} = ?"
        before = connection.execute(query, (row,)).fetchall()
        try:
            connection.execute(
                f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {key} = ?", (value, row)
            )
        except (sqlite3.IntegrityError, UnicodeEncodeError):
            return
        if connection.execute(query, (row,)).fetchall() == before:
            return
    assert verified(database).findings != ()


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_an_upgrade_seals_what_an_earlier_version_stored(
    tmp_path: Path, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "PORTION", 4)
    path = tmp_path / "case.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript((DUMPS / f"{revision}.sql").read_text(encoding="utf-8"))
    with Case.open(path) as case:
        first = case.audit()[0]
    assert (first.action, json.loads(first.detail)["from"]) == ("upgrade", revision)
    report = verified(path)
    assert report.findings == ()
    assert report.entries > 5
    with attacking(path) as connection:
        connection.execute("UPDATE image SET md5 = 'x' WHERE id = 7")
    assert [(kind, table) for kind, _, table, _ in said(path)] == [("changed", "image")]


def test_a_run_that_was_killed_leaves_nothing_unsealed(
    tmp_path: Path, tiny_model: Path, location: Location
) -> None:
    desk = Desk(tmp_path, tiny_model, location)
    desk.put_many(6)
    desk.index()
    # As a kill leaves it: the run is open, and its end stands in no entry.
    with attacking(desk.database) as connection:
        connection.execute(
            "UPDATE run SET status = 'running', process_start = 'x', finished_at = NULL"
        )
        connection.execute("DELETE FROM audit WHERE action = 'end'")
    report = verified(desk.database)
    assert (report.findings, report.open_runs) == ((), (1,))
    desk.put("more.png", seed=70)
    desk.index()
    report = verified(desk.database)
    assert (report.findings, report.open_runs) == ((), ())
    assert [detail["status"] for _, detail in entries(desk.database, "end")] == [
        "interrupted",
        "done",
    ]


def test_a_row_is_sealed_alike_on_both_engines(
    tmp_path: Path, tiny_model: Path, postgres_server: str
) -> None:
    """Or no seal would hold after the case was moved from one to the other."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Make", "Modell \N{LATIN SMALL LETTER E WITH ACUTE}"
    digests = []
    for place in (tmp_path / "case.db", fresh_case(postgres_server)):
        folder = tmp_path / type(place).__name__
        desk = Desk(folder, tiny_model, place)
        desk.put("a b é.jpg", seed=50, exif=exif)
        desk.put_many(5)
        desk.corrupt("broken.jpg")
        desk.index(source="disk")
        catalog = Catalog.open(place, read_only=True)
        with catalog.reading() as connection:
            digests.append(
                {
                    table: [
                        (row.id, row.name, row.digest)
                        for row in sealing.rows_between(connection, table, 1, 99, 1)
                    ]
                    for table in ("image", "file", "embedding", "labels", "failure", "gone")
                }
            )
        catalog.close()
    assert digests[0] == digests[1]
    assert len(digests[0]["embedding"]) == 6
