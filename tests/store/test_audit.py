"""The chain: appended to and never changed, and whatever is done to its entries is found and named."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image_similarity import Case
from image_similarity.errors import InvalidSetting, UsageError
from image_similarity.records import heads
from image_similarity.store import audit, chain
from image_similarity.store.catalog import Catalog
from image_similarity.values import AuditEntry, KeptHead, Location
from tests.indexing.desk import Desk
from tests.store.audited import (
    attacking,
    copy_of,
    in_a_file,
    make_case,
    said,
    verified,
    write_anew,
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> Desk:
    """A case that no test may write to."""
    return make_case(request, tmp_path_factory.mktemp("audited"), tiny_model)


@pytest.fixture
def case(made: Desk, tmp_path: Path) -> Location:
    """A copy of the database to be tampered with."""
    return copy_of(made.database, tmp_path)


def keep_head(database: Location, path: Path) -> Path:
    with Case.open(database, read_only=True) as opened:
        head = opened.audit_head()
    assert head is not None
    path.write_text(json.dumps({"number": head.number, "digest": head.digest, "at": head.at}))
    return path


def found(database: Location, head: Path | None = None) -> list[tuple[str, str]]:
    return [(f.kind, f.message) for f in verified(database, head).findings]


# -- a chain that nobody touched ------------------------------------------------------------------------------------


def test_the_chain_tells_of_creation_model_runs_batches_ends_and_facts(case: Location) -> None:
    with Case.open(case, read_only=True) as opened:
        told = [entry.action for entry in opened.audit()]
    assert told == [
        "created", "run", "model", "batch", "batch", "end", "run", "batch", "end", "facts"
    ]  # fmt: skip


def test_an_untouched_case_has_no_findings_with_and_without_its_head(
    case: Location, tmp_path: Path
) -> None:
    assert found(case) == []
    head = keep_head(case, tmp_path / "head.json")
    with Case.open(case) as opened:
        opened.set_facts(exhibit="phone 3")
    report = verified(case, head)
    assert report.consistent
    assert report.kept is not None
    assert report.head is not None
    assert report.head.number == report.kept.number + 1


def test_entries_are_given_in_order_all_or_the_last(case: Location) -> None:
    with Case.open(case, read_only=True) as opened:
        numbers = [entry.number for entry in opened.audit()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert [entry.number for entry in opened.audit(last=2)] == numbers[-2:]


@in_a_file
def test_the_database_refuses_to_change_or_delete_an_entry(case: Location) -> None:
    with closing(sqlite3.connect(case)) as connection:
        for statement in ("UPDATE audit SET action = 'x'", "DELETE FROM audit WHERE id = 2"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_changed_facts_are_told_with_what_stood_before(case: Location) -> None:
    with Case.open(case) as opened:
        opened.set_facts(examiner="B. Examiner", exhibit="")
        opened.set_facts(examiner="B. Examiner")
        (entry,) = opened.audit(last=1)
        assert opened.facts().examiner == "B. Examiner"
        with pytest.raises(InvalidSetting, match="no 'court'"):
            opened.set_facts(court="x")
    assert json.loads(entry.detail) == {
        "set": {"examiner": "B. Examiner"},
        "before": {"examiner": "A. Examiner"},
    }


# -- a chain that somebody touched ----------------------------------------------------------------------------------


def test_a_changed_entry_is_named(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute(
            "UPDATE audit SET detail = replace(detail, 'A. Examiner', 'Z. Other') WHERE id = 10"
        )
    kinds = [(f.kind, f.entry) for f in verified(case).findings]
    assert ("chain", 10) in kinds
    assert any("entry 10 (facts, " in message for _, message in found(case))


def test_a_removed_entry_is_named_and_what_it_sealed_stands_alone(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("DELETE FROM audit WHERE id = 4")
    messages = found(case)
    assert ("chain", "entry 4 is missing") in messages
    assert {kind for kind, _ in messages} == {"chain", "unsealed"}


@in_a_file
def test_a_removed_entry_whose_place_was_closed_up_is_named(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("DELETE FROM audit WHERE id = 10")
        connection.execute("DELETE FROM audit WHERE id = 5")
        connection.execute("UPDATE audit SET id = id - 1 WHERE id > 5")
    assert ("chain", "entry 5 was moved here from place 6") in found(case)


def test_swapped_entries_are_named_with_where_they_belong(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("UPDATE audit SET id = -1 WHERE id = 4")
        connection.execute("UPDATE audit SET id = 4 WHERE id = 5")
        connection.execute("UPDATE audit SET id = 5 WHERE id = -1")
    messages = [message for _, message in found(case)]
    assert "entry 4 was moved here from place 5" in messages
    assert "entry 5 was moved here from place 4" in messages


def test_an_entry_that_was_written_anew_breaks_the_link_after_it(case: Location) -> None:
    with attacking(case) as connection:
        row = connection.execute("SELECT * FROM audit WHERE id = 8").fetchone()
        number, at, actor, action, _, previous, _ = row
        digest = audit.digest(number, at, actor, action, "{}", previous)
        connection.execute("UPDATE audit SET detail = '{}', digest = ? WHERE id = 8", (digest,))
    assert ("chain", "entry 9 does not follow on entry 8 as that stands now") in found(case)


def test_a_cut_tail_is_found_only_against_a_kept_head(case: Location, tmp_path: Path) -> None:
    head = keep_head(case, tmp_path / "head.json")
    with attacking(case) as connection:
        connection.execute("DELETE FROM audit WHERE action = 'facts'")
        connection.execute("DELETE FROM case_fact")
    assert found(case) == []
    ((kind, message),) = found(case, head)
    assert kind == "head"
    assert message.startswith("the chain ends with entry 9, the head kept elsewhere is entry 10")


def test_a_chain_written_anew_is_found_only_against_a_kept_head(
    case: Location, tmp_path: Path
) -> None:
    head = keep_head(case, tmp_path / "head.json")
    with attacking(case) as connection:
        connection.execute("UPDATE audit SET at = '2020-01-01T00:00:00Z' WHERE id = 2")
        write_anew(connection)
    assert found(case) == []
    ((kind, message),) = found(case, head)
    assert kind == "head"
    assert "written anew" in message


def test_a_chain_that_was_taken_away_leaves_every_row_alone(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("DELETE FROM audit")
    report = verified(case)
    assert report.entries == 0
    assert {f.table for f in report.findings if f.kind == "unsealed"} >= {
        "image", "file", "embedding", "labels", "model", "run", "account", "failure"
    }  # fmt: skip


def test_facts_that_were_changed_beside_the_chain_are_found(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("UPDATE case_fact SET value = '18/2026' WHERE name = 'number'")
    assert said(case) == [("record", None, "case_fact", "number")]


@in_a_file
def test_a_trigger_that_was_removed_is_found(case: Location) -> None:
    with closing(sqlite3.connect(case)) as connection, connection:
        connection.execute("DROP TRIGGER audit_no_delete")
    ((kind, message),) = found(case)
    assert (kind, "audit_no_delete" in message) == ("record", True)


@in_a_file
def test_a_trigger_that_was_put_in_is_found(case: Location) -> None:
    with closing(sqlite3.connect(case)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER other BEFORE INSERT ON file BEGIN SELECT RAISE(IGNORE); END"
        )
    assert found(case) == [("record", "the trigger other is none of this program")]


@in_a_file
def test_entries_of_any_other_type_are_findings_and_no_crash(case: Location) -> None:
    with attacking(case) as connection:
        connection.execute("UPDATE audit SET detail = x'00ff' WHERE id = 3")
        connection.execute("UPDATE audit SET at = 7 WHERE id = 4")
        connection.execute("UPDATE audit SET detail = '[[[' WHERE id = 5")
    assert {entry for kind, entry, _, _ in said(case) if kind == "chain"} >= {3, 4, 5}


@in_a_file
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_no_rearrangement_of_inner_entries_goes_unseen(
    made: Desk, tmp_path: Path, data: st.DataObject
) -> None:
    database = Path(shutil.copy(made.database, tmp_path / "case.db"))
    with attacking(database) as connection:
        rows = connection.execute("SELECT * FROM audit ORDER BY id").fetchall()
        order = data.draw(st.permutations(range(len(rows))))
        kept = order[: data.draw(st.integers(1, len(rows)))]
        if list(kept) == list(range(len(kept))):
            return  # nothing but the end is gone
        connection.execute("DELETE FROM audit")
        for number, place in enumerate(kept, start=1):
            connection.execute(
                "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *rows[place][1:])
            )
    assert any(f.kind == "chain" for f in verified(database).findings)


# -- chains of merged databases -------------------------------------------------------------------------------------


@pytest.fixture
def merged(case: Location, tmp_path: Path) -> Location:
    """A case that took over the chain of another, as a merge does."""
    other = tmp_path / "other.db"
    with Case.open(other) as opened:
        opened.set_facts(number="18/2026")
        opened.set_facts(number="19/2026")
        entries = opened.audit()
    catalog = Catalog.open(case, read_only=False)
    with catalog.writing() as connection:
        audit.adopt(connection, entries, {"from": "other.db"})
    catalog.close()
    return case


def test_a_merged_chain_is_kept_whole_and_ends_with_the_head_that_is_named(
    merged: Location,
) -> None:
    assert found(merged) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE merged_audit SET actor = 'x' WHERE number = 2", "entry 2 (facts, "),
        ("DELETE FROM merged_audit WHERE number = 2", "entry 2 is missing, in the chain"),
        ("DELETE FROM merged_audit WHERE number = 3", "does not end with the head"),
        ("DELETE FROM merged_audit", "does not end with the head"),
        ("UPDATE merged_audit SET merge_id = 1", "no entry 1 tells of the chain"),
    ],
)
def test_tampering_with_a_merged_chain_is_found(
    merged: Location, statement: str, expected: str
) -> None:
    with attacking(merged) as connection:
        connection.execute(statement)
    assert any(expected in message for _, message in found(merged))


# -- heads that are kept elsewhere ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"number": 0}', '{"number": 1, "digest": "x"}', "\x00", "[" * 99999]
)
def test_a_file_that_is_no_head_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "head.json"
    path.write_text(text)
    with pytest.raises(InvalidSetting, match="no head of an audit chain"):
        heads.read_head(path)


@given(st.binary(max_size=200))
def test_reading_a_head_raises_nothing_else(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with pytest.raises(InvalidSetting):
            heads.read_head(Path(file.name))


def test_an_earlier_head_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    path.write_text("earlier")
    with pytest.raises(UsageError):
        heads.write_head(KeptHead(1, "0" * 64), path)
    assert path.read_text() == "earlier"


# -- several at once ------------------------------------------------------------------------------------------------


def test_a_decision_waits_for_a_run_that_is_writing_and_both_are_there(case: Location) -> None:
    writing, done = threading.Event(), threading.Event()

    def run() -> None:
        catalog = Catalog.open(case, read_only=False)
        with catalog.writing() as connection:
            audit.append(connection, "batch", {})
            writing.set()
            time.sleep(0.5)
        catalog.close()
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert writing.wait(60)
    with Case.open(case) as opened:
        opened.set_facts(notes="during the run")
        assert done.wait(60)
        assert [entry.action for entry in opened.audit(last=2)] == ["batch", "facts"]
    thread.join()
    assert found(case) == []


def test_entries_of_many_writers_form_one_chain(case: Location) -> None:
    def decide(number: int) -> None:
        for turn in range(5):
            with Case.open(case) as opened:
                opened.set_facts(notes=f"{number}.{turn}")

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(case) == []
    with Case.open(case, read_only=True) as opened:
        assert len(opened.audit()) == 10 + 20


def test_what_is_added_during_a_check_is_checked_too(
    case: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "REPORT_EVERY", 2)
    writer = Catalog.open(case, read_only=False)
    added: list[AuditEntry] = []

    def add(event: object) -> None:
        with writer.writing() as connection:
            added.append(audit.append(connection, "mark", {}))

    with Case.open(case, read_only=True) as opened:
        report = opened.verify_audit(on_event=add)
    writer.close()
    assert report.findings == ()
    assert report.head == added[-1]


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("DROP TABLE pdq", "the table pdq was removed"),
        ("DROP INDEX uq_file_live", "the index uq_file_live was removed"),
        (
            "ALTER TABLE failure DROP COLUMN sha256",
            "the column sha256 of the table failure was removed",
        ),
    ],
)
def test_what_was_removed_from_the_schema_is_named_by_both_checks(
    case: Location, deed: str, said: str
) -> None:
    with attacking(case) as connection:
        connection.execute(deed)
    with Case.open(case, read_only=True) as opened:
        for report in (opened.verify_audit(), opened.verify()):
            assert [each.message.partition(";")[0] for each in report.findings] == [said]


# -- whose work it was ----------------------------------------------------------------------------------------------


def actors(opened: Case) -> list[str]:
    return [entry.actor for entry in opened.audit()]


def test_an_entry_has_the_examiner_before_what_the_system_knows(case: Location) -> None:
    with Case.open(case) as opened:
        system = actors(opened)[-1]
        with opened.acting_as(" A. Smith "):
            opened.set_facts(number="18")
        opened.set_facts(number="19")
        assert actors(opened)[-2:] == [f"A. Smith ({system})", system]
    assert found(case) == []


def test_a_decision_has_the_examiner_of_its_entry_and_the_chain_holds(case: Location) -> None:
    with Case.open(case) as opened:
        with opened.acting_as("A. Smith"):
            made = opened.decide(_any(opened), "tag", "sofa")
        with opened.acting_as("B. Jones"):
            opened.withdraw("m1")
        assert made is not None
        assert made.actor.startswith("A. Smith (")
        assert actors(opened)[-2].startswith("A. Smith (")
        assert actors(opened)[-1].startswith("B. Jones (")
        assert opened.decisions(withdrawn=True)[0].actor == made.actor, "of who said it"
    assert found(case) == []


def test_a_changed_examiner_is_found(case: Location) -> None:
    with Case.open(case) as opened, opened.acting_as("A. Smith"):
        opened.decide(_any(opened), "tag", "sofa")
    with attacking(case) as connection:
        connection.execute("UPDATE mark SET actor = replace(actor, 'A. Smith', 'B. Jones')")
    assert [kind for kind, _ in found(case)] == ["record", "record"]


def test_examiners_in_threads_beside_each_other_keep_their_names(case: Location) -> None:
    meeting = threading.Barrier(2, timeout=60)
    with Case.open(case) as opened:

        def work(name: str) -> None:
            with opened.acting_as(name):
                meeting.wait()
                opened.set_facts(**{name: "said"})

        threads = [threading.Thread(target=work, args=(name,)) for name in ("exhibit", "notes")]
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
        told = {next(iter(json.loads(e.detail)["set"])): e.actor for e in opened.audit(2)}
    assert {name: actor.partition(" ")[0] for name, actor in told.items()} == {
        "exhibit": "exhibit",
        "notes": "notes",
    }


def test_the_name_ends_with_its_block_also_after_an_error_and_the_inner_one_counts(
    case: Location,
) -> None:
    with Case.open(case) as opened:
        with opened.acting_as("A. Smith"), opened.acting_as("B. Jones"):
            opened.set_facts(number="1")
        with pytest.raises(InvalidSetting), opened.acting_as("A. Smith"):
            opened.set_facts(colour="red")
        with opened.acting_as(" "):
            opened.set_facts(number="2")
        assert actors(opened)[-2].startswith("B. Jones (")
        assert "(" not in actors(opened)[-1], "a blank is no name"


@pytest.mark.parametrize("name", ["A\nB", "\u202eA", "x" * 101, "nul\0", "\udcff"])
def test_a_name_that_is_no_line_of_text_is_refused(case: Location, name: str) -> None:
    with Case.open(case) as opened, pytest.raises(InvalidSetting), opened.acting_as(name):
        opened.set_facts(number="1")


def _any(opened: Case) -> str:
    with opened._catalog.reading() as connection:
        return str(connection.exec_driver_sql("SELECT sha256 FROM image LIMIT 1").scalar_one())
