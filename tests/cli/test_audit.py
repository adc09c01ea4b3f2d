"""`audit`: the chain is shown without the lists of rows, its head can be kept, and tampering ends with exit code 15."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from image_similarity import Case
from tests.cli.conftest import Made, Outcome, Run
from tests.search.near_cases import ORIGINAL, flipped, give_hashes
from tests.store.audited import attacking, write_anew


@pytest.fixture
def database(indexed: Made, tmp_path: Path) -> Path:
    """A copy of the indexed database, with a case number."""
    copy = Path(shutil.copy(indexed.database, tmp_path / "case.db"))
    with Case.open(copy) as case:
        case.set_facts(number="17/2026")
    return copy


def entries(database: Path, action: str) -> list[dict[str, object]]:
    with Case.open(database, read_only=True) as case:
        return [json.loads(e.detail) for e in case.audit() if e.action == action]


def test_audit_show_lists_the_entries_without_the_rows(run: Run, database: Path) -> None:
    done = run("audit", "show", "-dp", database)
    lines = done.out.splitlines()
    assert done.code == 0
    assert [line.split()[3] for line in lines[1:]] == [
        "created", "run", "model", "batch", "end", "facts"
    ]  # fmt: skip
    assert "5 image, 6 file, 5 embedding, 1 failure, 5 labels" in lines[4]
    assert max(map(len, lines)) < 240
    for each in run("audit", "show", "-dp", database, "--format", "json").objects():
        assert all("rows" not in seal for seal in each["detail"].get("rows", ()))


def test_audit_show_gives_the_last_entries(run: Run, database: Path) -> None:
    done = run("audit", "show", "-dp", database, "--last", "1", "--format", "json")
    ((entry),) = done.objects()
    assert (entry["number"], entry["action"]) == (6, "facts")
    assert entry["detail"] == {"set": {"number": "17/2026"}, "before": {"number": ""}}


def test_audit_head_goes_to_stdout_or_to_a_new_file_that_is_on_record(
    run: Run, database: Path, tmp_path: Path
) -> None:
    (head,) = run("audit", "head", "-dp", database).objects()
    assert (head["number"], len(head["digest"])) == (6, 64)
    target = tmp_path / "head.json"
    assert run("audit", "head", "-dp", database, "-o", target).code == 0
    assert json.loads(target.read_text()) == head
    assert run("audit", "head", "-dp", database, "-o", target).code == 2
    (export,) = entries(database, "export")
    assert (export["kind"], export["path"]) == ("head", str(target))


def test_audit_head_is_never_written_into_the_evidence(
    run: Run, database: Path, indexed: Made
) -> None:
    done = run("audit", "head", "-dp", database, "-o", indexed.folder / "head.json")
    assert done.code == 2
    assert not (indexed.folder / "head.json").exists()


def check(run: Run, database: Path, *more: object) -> Outcome:
    return run("audit", "verify", "-dp", database, *more)


def test_audit_verify_says_internally_consistent_and_no_more(run: Run, database: Path) -> None:
    done = check(run, database)
    assert done.code == 0
    assert done.out.startswith("internally consistent: 6 entries, ")
    assert "No head was given" in done.out
    assert "untampered" not in done.out


def test_audit_verify_against_a_kept_head(run: Run, database: Path, tmp_path: Path) -> None:
    head = tmp_path / "head.json"
    run("audit", "head", "-dp", database, "-o", head)
    done = check(run, database, "--head", head)
    assert done.code == 0
    assert "It holds entry 6 of " in done.out
    with attacking(database) as connection:
        connection.execute("UPDATE audit SET actor = 'nobody' WHERE id = 2")
        write_anew(connection)
    assert check(run, database).code == 0
    done = check(run, database, "--head", head)
    assert done.code == 15
    assert "written anew" in done.out
    assert "NOT consistent: 1 finding" in done.out


def test_audit_verify_names_the_picture_whose_vector_was_changed(run: Run, database: Path) -> None:
    with attacking(database) as connection:
        connection.execute("UPDATE embedding SET vector = zeroblob(32) WHERE id = 2")
        query = (
            "SELECT sha256 FROM image JOIN embedding ON image.id = image_id AND embedding.id = 2"
        )
        ((sha256,),) = connection.execute(query).fetchall()
    done = check(run, database)
    assert done.code == 15
    assert f"changed   the vector of {sha256} (row 2 of embedding)" in done.out
    (told,) = check(run, database, "--format", "json").objects()
    assert told["consistent"] is False
    assert told["report"]["findings"][0]["name"] == sha256


def test_audit_verify_refuses_a_file_that_is_no_head(
    run: Run, database: Path, tmp_path: Path
) -> None:
    no_head = tmp_path / "no.json"
    no_head.write_text("{}")
    done = check(run, database, "--head", no_head)
    assert done.code == 2
    assert "audit head -o FILE" in done.err


def test_names_in_findings_are_shown_escaped(run: Run, database: Path) -> None:
    with attacking(database) as connection:
        connection.execute("UPDATE file SET path = 'a' || char(27) || '[2J' WHERE id = 1")
    done = check(run, database)
    assert done.code == 15
    assert "\x1b" not in done.out
    assert "a\\x1b[2J" in done.out


# -- queries on a case ----------------------------------------------------------------------------------------------


def test_a_query_on_a_case_with_a_number_is_recorded_with_its_hits(
    run: Run, database: Path, indexed: Made
) -> None:
    done = run(
        "query", indexed.first, "-dp", database, "--scene", "off", "-k", "3", "--format", "json"
    )
    assert done.code == 0
    (entry,) = entries(database, "query")
    hits = done.objects()
    assert entry["hits"] == [[hit["sha256"], hit["distance"]] for hit in hits]
    assert entry["query"] == hits[0]["query_sha256"]
    assert (entry["k"], entry["count"], entry["model"]) == (3, 3, hits[0]["model_fingerprint"])
    asked = entry["asked"]
    assert isinstance(asked, dict)
    assert (asked["pictures"], asked["scene"]) == ([str(indexed.first)], ["off"])
    assert check(run, database).code == 0


def test_near_duplicates_that_a_query_showed_are_recorded_beside_its_hits(
    run: Run, database: Path, indexed: Made
) -> None:
    give_hashes(
        database, {"picture-0.png": (ORIGINAL, 90), "picture-1.png": (flipped(ORIGINAL, 6), 80)}
    )
    done = run("query", indexed.first, "-dp", database, "-k", 1, "--near", "--format", "json")
    near = [row for row in done.objects() if row["found_by"] == "pdq"]
    (entry,) = entries(database, "query")
    assert entry["near"] == [[row["sha256"], row["pdq_distance"]] for row in near]
    assert [bits for _, bits in entry["near"]] == [0, 6]


def test_a_folder_of_queries_is_one_entry_each(run: Run, database: Path, indexed: Made) -> None:
    done = run("query", indexed.folder, "-dp", database, "--scene", "off", "-k", "1")
    assert done.code == 3
    assert len(entries(database, "query")) == 6


def test_a_query_on_a_database_without_a_number_writes_nothing(
    run: Run, indexed: Made, tmp_path: Path
) -> None:
    copy = Path(shutil.copy(indexed.database, tmp_path / "case.db"))
    before = copy.read_bytes()
    assert run("query", indexed.first, "-dp", copy, "--scene", "off").code == 0
    assert copy.read_bytes() == before
    assert list(tmp_path.iterdir()) == [copy]


def test_of_several_databases_only_those_with_a_number_record_and_only_their_own_hits(
    run: Run, database: Path, indexed: Made
) -> None:
    done = run(
        "query", indexed.first, "-dp", database, "-dp", indexed.database, "--scene", "off",
        "-k", "6", "--format", "json",
    )  # fmt: skip
    own = [hit["sha256"] for hit in done.objects() if hit["database"] == str(database)]
    (entry,) = entries(database, "query")
    hits = entry["hits"]
    assert isinstance(hits, list)
    assert [sha256 for sha256, _ in hits] == own
    assert entries(indexed.database, "query") == []


def test_a_query_is_recorded_also_if_its_reader_closed_the_pipe(
    database: Path, indexed: Made
) -> None:
    command = [sys.executable, "-m", "image_similarity", "query", indexed.first, "-dp", database]
    with subprocess.Popen([*map(str, command), "-k", "2"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
    assert len(entries(database, "query")) == 1


def test_a_query_that_cannot_be_recorded_is_answered_and_that_is_said_once(
    run: Run, database: Path, indexed: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.errors import DatabaseNotWritable
    from image_similarity.records import exports

    def refuse(*args: object, **kwargs: object) -> None:
        raise DatabaseNotWritable("read-only medium")

    monkeypatch.setattr(exports.audit, "append", refuse)
    done = run("query", indexed.folder, "-dp", database, "--scene", "off", "-k", "1")
    assert done.code == 3
    assert done.err.count("this query is not in the audit chain: read-only medium") == 1
    assert done.out.count("picture-0.png") > 0


def test_a_recorded_query_loads_neither_torch_nor_alembic(database: Path, indexed: Made) -> None:
    code = f"""
import sys
from image_similarity import Case
with Case.open({str(database)!r}, read_only=True) as case:
    assert case.record_query(case.search({str(indexed.first)!r}, scene="off")) is None
assert not {{"torch", "alembic"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(entries(database, "query")) == 1
