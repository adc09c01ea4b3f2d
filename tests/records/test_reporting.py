"""Reports from the library: gathered in portions, of several databases, with what they cover."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from image_similarity.case import Case, search_cases, write_sheet
from image_similarity.errors import UsageError
from image_similarity.records import reporting
from image_similarity.reports import tables
from image_similarity.search import SearchRequest
from image_similarity.settings import IndexOptions
from image_similarity.values import Selection
from tests.conftest import FolderFactory


@pytest.fixture
def database(tmp_path: Path, make_folder: FolderFactory, tiny_model: Path) -> Path:
    """A database of 7 contents at 8 places."""
    made = tmp_path / "case.db"
    index(make_folder(n=7, duplicates=1), made, tiny_model)
    return made


def index(folder: Path, database: Path, model: Path) -> None:
    with Case.open(database) as case:
        case.index(folder, options=IndexOptions(models=(str(model),), scenes=str(model)))


def files(path: Path) -> list[dict[str, object]]:
    return [
        each for line in path.read_text().splitlines() if "sha256" in (each := json.loads(line))
    ]


def test_the_size_of_portions_does_not_show(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[object] = []
    with Case.open(database, read_only=True) as case:
        written = case.report("jsonl", tmp_path / "one", on_event=events.append)
        monkeypatch.setattr(reporting, "_PORTION", 2)
        case.report("jsonl", tmp_path / "two")
    assert (written.pictures, written.chosen, written.notes) == (7, 7, ())
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(files(tmp_path / "one")) == 8
    assert len(events) == 1 + 7


def test_a_csv_is_not_there_without_what_stands_beside_it(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tables, "write_about", full)
    (tmp_path / "out").mkdir()
    with Case.open(database, read_only=True) as case, pytest.raises(OSError, match="No space"):
        case.report("csv", tmp_path / "out" / "case.csv")
    assert not list((tmp_path / "out").iterdir())


def test_a_report_is_never_written_into_evidence(database: Path, tmp_path: Path) -> None:
    with Case.open(database, read_only=True) as case:
        inside = Path(case.sources()[0].root) / "report"
        with pytest.raises(UsageError, match="indexed folder"):
            case.report("csv", inside)
        with pytest.raises(UsageError, match="indexed folder"):
            write_sheet([case], [], inside, settings={})
    assert not inside.exists()


def test_no_transaction_is_held_while_a_report_is_written(database: Path, tmp_path: Path) -> None:
    """Or a run that stores its batch would wait for as long as a report takes."""

    def write(event: object) -> None:
        with Case.open(database) as writer:
            writer.set_facts(notes=f"while {event}")

    with Case.open(database, read_only=True) as case:
        case.report("vics", tmp_path / "report", on_event=write)
        assert case.facts().notes.startswith("while Progress(done=7")


def test_a_sheet_of_several_databases_tells_of_each(
    database: Path, tmp_path: Path, make_folder: FolderFactory, tiny_model: Path
) -> None:
    other = tmp_path / "other.db"
    index(make_folder("second", n=2, seed=5), other, tiny_model)
    with Case.open(database, read_only=True) as first, Case.open(other, read_only=True) as second:
        heads = [case.audit_head() for case in (first, second)]
        query = next((tmp_path / "second").glob("*.jpg"))
        result = search_cases([first, second], SearchRequest(query=query, scene=("off",), k=9))
        path = tmp_path / "sheet.html"
        written = write_sheet([first, second], [result], path, settings={"k": "9"})
        assert written.pictures == len(result.hits)
        text = path.read_text("utf-8")
        for case, head in zip((first, second), heads, strict=True):
            assert f"Audit chain: {case.path}" in text
            assert head is not None
            assert head.digest in text
            last = case.audit_head()
            assert last is not None
            assert (last.action, last.number) == ("export", head.number + 1)


def test_coverage_counts_what_was_not_searched(
    tmp_path: Path, make_folder: FolderFactory, tiny_model: Path
) -> None:
    folder, database = make_folder(n=3, duplicates=0), tmp_path / "case.db"
    (folder / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    (folder / "more.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    index(folder, database, tiny_model)
    with Case.open(database, read_only=True) as case:
        found = case.coverage()
        assert found.head == case.audit_head()
    assert found.status.skipped == {"video": 1, "archive": 1}
    assert found.failed == {"decode": 1}
    assert found.several_frames == {"PNG": 1, "WEBP": 1}
    assert (found.partial, len(found.runs)) == (0, 1)


def test_a_selection_without_pictures_is_a_report_that_says_so(
    database: Path, tmp_path: Path
) -> None:
    with Case.open(database, read_only=True) as case:
        for form in ("html", "csv", "jsonl", "vics", "case-uco"):
            path = tmp_path / form
            written = case.report(form, path, chosen=Selection(tags=("none",)))  # type: ignore[arg-type]
            assert written.pictures == 0
            said = tmp_path / "csv.about.json" if form == "csv" else path
            assert "a selection: 0 pictures" in said.read_text("utf-8")
