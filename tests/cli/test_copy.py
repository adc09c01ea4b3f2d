"""`db copy`, and what refuses a server and names it: `db backup` and `case merge`."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_similarity.case import Case
from image_similarity.store import copying
from image_similarity.values import ServerUrl
from tests.cli.conftest import Made, Run


def test_a_case_goes_to_a_server_and_comes_back_with_an_account(
    run: Run, copied: Made, postgres: ServerUrl, tmp_path: Path
) -> None:
    outcome = run("db", "copy", copied.database, postgres.url)
    assert outcome.code == 0, outcome.err
    first, *rest = outcome.out.splitlines()
    assert first.startswith(f"{copied.database}: copied to {postgres}, ")
    lines = [" ".join(line.split()) for line in rest]
    assert {"image 5", "file 6", "embedding 5"} <= set(lines)
    assert run("audit", "verify", "-dp", postgres.url).code == 0
    back = tmp_path / "back.db"
    (report,) = run("db", "copy", postgres.url, back, "--format", "json").objects()
    assert (report["source"], report["database"]) == (str(postgres), str(back))
    assert (report["counts"]["image"], report["resumed"]) == (5, False)
    assert run("audit", "verify", "-dp", back).code == 0


def test_what_is_broken_off_is_said_and_gone_on_with(
    run: Run, copied: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "ROWS_AT_ONCE", 2)
    really, left = copying._write, 6

    def write(*given: object, **named: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        really(*given, **named)  # type: ignore[arg-type]

    target = tmp_path / "copy.db"
    with monkeypatch.context() as patch:
        patch.setattr(copying, "_write", write)
        assert run("db", "copy", copied.database, target).code == 130
    refused = run("db", "status", "-dp", tmp_path / "copy.db.part")
    assert refused.code == 10
    assert f"run again: image-similarity db copy {copied.database} {target}" in refused.err
    outcome = run("db", "copy", copied.database, target)
    assert outcome.code == 0
    assert "going on with a copy" in outcome.err


def test_nothing_is_written_into_evidence_and_nothing_over_what_is_there(
    run: Run, copied: Made, tmp_path: Path
) -> None:
    assert run("db", "copy", copied.database, copied.folder / "copy.db").code == 2
    assert not list(copied.folder.glob("copy.db*"))
    assert run("db", "copy", copied.database, copied.database).code == 2
    assert run("db", "copy", tmp_path / "none.db", tmp_path / "copy.db").code == 10
    assert run("db", "copy", copied.database, "mysql://host/name").code == 2


def test_no_password_is_ever_shown(
    run: Run, copied: Made, postgres: ServerUrl, tmp_path: Path
) -> None:
    told = postgres.url.replace("postgres@", "postgres:verysecret@")
    one = run("db", "copy", copied.database, told)
    two = run("db", "copy", told, tmp_path / "copy.db")
    three = run("db", "copy", copied.database, told)
    assert (one.code, two.code, three.code) == (0, 0, 2)
    assert "verysecret" not in "".join(each.out + each.err for each in (one, two, three))
    for database in (postgres, tmp_path / "copy.db"):
        with Case.open(database, read_only=True) as case:
            assert "verysecret" not in "".join(entry.detail for entry in case.audit())


def test_what_takes_files_alone_names_the_copy_that_helps(
    run: Run, copied: Made, postgres: ServerUrl, tmp_path: Path
) -> None:
    run("db", "copy", copied.database, postgres.url)
    backup = run("db", "backup", tmp_path / "backup.db", "-dp", postgres.url)
    assert backup.code == 2
    assert "pg_dump" in backup.err
    assert f"image-similarity db copy {postgres} {tmp_path / 'backup.db'}" in backup.err
    assert not list(tmp_path.glob("backup.db*"))
    merge = run("case", "merge", postgres.url, "-dp", copied.database)
    assert merge.code == 2
    assert f"image-similarity db copy {postgres} OTHER.db" in merge.err
