"""What is written for the user is on record, whoever wrote it, and a database that cannot be written ends nothing."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from image_similarity import Case
from image_similarity.records import exports


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "case.db"
    Case.open(path).close()
    return path


@pytest.mark.parametrize("read_only", [False, True])
def test_an_export_is_recorded_with_its_hash_also_by_a_reader(
    database: Path, tmp_path: Path, read_only: bool
) -> None:
    target = tmp_path / "hits.html"
    target.write_bytes(b"<html>")
    with Case.open(database, read_only=read_only) as case:
        assert case.record_export("report", target, hits=3) is None
        head = case.audit_head()
    assert head is not None
    assert head.action == "export"
    assert json.loads(head.detail) == {
        "kind": "report",
        "path": str(target),
        "size": 6,
        "sha256": hashlib.sha256(b"<html>").hexdigest(),
        "hits": 3,
    }


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anything")
def test_a_database_on_a_read_only_medium_gives_a_sentence_and_no_error(
    database: Path, tmp_path: Path
) -> None:
    target = tmp_path / "hits.html"
    target.write_bytes(b"<html>")
    database.chmod(0o400)
    with Case.open(database, read_only=True) as case:
        assert "not in the audit chain" in (case.record_export("report", target) or "")


def test_a_writer_that_is_refused_gives_a_sentence_and_no_error(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.errors import DatabaseNotWritable

    def refuse(*args: object, **kwargs: object) -> None:
        raise DatabaseNotWritable("read-only medium")

    target = tmp_path / "hits.html"
    target.write_bytes(b"<html>")
    with Case.open(database, read_only=True) as case:
        monkeypatch.setattr(exports.audit, "append", refuse)
        sentence = case.record_export("report", target)
    assert sentence == "this export is not in the audit chain: read-only medium"
