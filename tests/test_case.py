"""Looking things up in a case: pictures, places, sources, runs, copies."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from image_similarity.case import Case, check_folder
from image_similarity.errors import (
    DatabaseInsideEvidence,
    DatabaseMissing,
    FolderMissing,
    UnknownImage,
    UsageError,
)
from image_similarity.settings import IndexOptions
from image_similarity.values import Location, ServerUrl


@pytest.fixture
def folder(make_folder: Callable[..., Path]) -> Path:
    made = make_folder(n=4, duplicates=1)
    (made / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    (made / "report.pdf").write_bytes(b"%PDF-1.7 text")
    return made


@pytest.fixture
def path(location: Location, folder: Path, tiny_model: Path) -> Location:
    with Case.open(location) as case:
        options = IndexOptions(models=(str(tiny_model),), scenes=str(tiny_model))
        case.index(folder, source="disk-07", options=options)
    return location


def test_a_picture_is_found_by_the_beginning_of_its_hash(path: Location, folder: Path) -> None:
    with Case.open(path, read_only=True) as case:
        (record,) = case.images_at(folder / "picture-000.jpg")
        assert case.image(record.sha256) == record
        assert case.image(record.sha256[:8].upper()) == record
    assert [place.path for place in record.places] == ["copies/copy-000.jpg", "picture-000.jpg"]
    assert {place.source for place in record.places} == {"disk-07"}
    assert (record.width, record.height, record.format) == (96, 72, "JPEG")
    assert len(record.scenes) == 3


def test_a_hash_that_names_no_picture_is_refused(path: Location) -> None:
    with Case.open(path, read_only=True) as case:
        for name in ("", "abc", "xyz123xyz", "'; DROP TABLE image", "0" * 64, "%" * 8):
            with pytest.raises(UnknownImage):
                case.image(name)


def test_a_picture_is_found_by_its_path_on_disk_or_in_the_source(
    path: Location, folder: Path
) -> None:
    with Case.open(path, read_only=True) as case:
        by_disk = case.images_at(folder / "rooms" / "deep" / "picture-002.webp")
        assert by_disk == case.images_at("rooms/deep/picture-002.webp")
        with pytest.raises(UnknownImage):
            case.images_at("rooms/deep/picture-999.webp")


def test_status_counts_what_is_held_and_what_was_not_searched(path: Location) -> None:
    with Case.open(path, read_only=True) as case:
        status = case.status()
    assert (status.images, status.files, status.gone, status.failures) == (4, 5, 0, 1)
    assert status.skipped == {"document": 1}
    assert list(status.embeddings.values()) == [4]
    (source,) = status.sources
    assert (source.name, source.files, source.images, source.failures) == ("disk-07", 5, 4, 1)
    assert status.last_run is not None
    assert status.last_run.accounted


def test_runs_are_listed_newest_first_with_failures_on_demand(path: Location, folder: Path) -> None:
    with Case.open(path) as case:
        case.refresh()
        newest, oldest = case.runs()
        assert (newest.kind, oldest.kind) == ("refresh", "index")
        assert oldest.new == 4
        assert case.run(oldest.run_id).failures[0].path == "broken.png"
        assert case.failures()[0].source == "disk-07"
        with pytest.raises(UsageError):
            case.run(99)


def test_a_backup_is_a_whole_database_and_never_overwrites(path: Location, tmp_path: Path) -> None:
    with Case.open(path, read_only=True) as case:
        if isinstance(path, ServerUrl):
            with pytest.raises(UsageError, match="pg_dump"):
                case.backup(tmp_path / "copy.db")
            return
        copy = case.backup(tmp_path / "copy.db")
        with pytest.raises(UsageError, match="exists"):
            case.backup(copy)
        with Case.open(copy, read_only=True) as other:
            assert other.status().images == case.status().images
    if sys.platform != "win32":
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_folder_is_checked_before_a_database_is_made(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FolderMissing, match="nowhere"):
        check_folder(tmp_path / "nowhere", tmp_path / "new.db")
    with pytest.raises(DatabaseInsideEvidence):
        check_folder(folder, folder / "rooms" / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_reading_a_missing_case_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissing):
        Case.open(tmp_path / "no.db", read_only=True)
