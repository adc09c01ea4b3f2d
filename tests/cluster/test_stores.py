"""Object stores through pyarrow and fsspec: what is walked and read there is what a folder gives."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from image_similarity.cluster import places, stores
from image_similarity.cluster.places import Folder, ObjectStore
from image_similarity.errors import ExtraMissing, FolderMissing, InvalidSetting
from image_similarity.indexing import loader
from image_similarity.indexing.loader import InHand
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.walk import FileEntry, walk
from image_similarity.values import Failure, Skipped
from tests.indexing.desk import Desk

fs = pytest.importorskip("pyarrow.fs")
fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def store(desk: Desk) -> stores.Store:
    """The evidence as pyarrow sees it."""
    return stores.Store(fs.LocalFileSystem(), os.fspath(desk.evidence))


@pytest.fixture
def memory() -> Any:
    """A store in this process's memory, empty."""
    found = fsspec.filesystem("memory")
    found.store.clear()
    stores.open_store.cache_clear()
    yield found
    found.store.clear()


def without_place(entries: Any) -> list[Any]:
    return [e._replace(os_path="") if isinstance(e, FileEntry) else e for e in entries]


@pytest.mark.parametrize("exclude", [(), ("rooms",), ("*.png",), ("rooms/deep/*", "b*")])
def test_a_walk_gives_the_entries_of_a_folder_in_their_order(
    desk: Desk, store: stores.Store, exclude: tuple[str, ...]
) -> None:
    desk.put_many(3)
    for name in ("rooms/deep/a.png", "rooms/b.png", "rooms.png", "Ä.png", "a\\b.png", "a\nb.png"):
        desk.put(name)
    desk.write("rooms/deep/empty/notes.txt", b"hello")
    (desk.evidence / "nothing").mkdir()
    here = without_place(walk(desk.evidence, exclude=exclude))
    assert without_place(store.walk(exclude)) == here
    assert any(isinstance(e, Skipped) for e in here) == bool(exclude)


def test_reading_gives_what_a_folder_gives(desk: Desk, store: stores.Store) -> None:
    desk.put("a.png")
    desk.write("notes.txt", b"hello")
    desk.write("empty.jpg", b"")
    for here, there in zip(walk(desk.evidence), store.walk(()), strict=True):
        assert isinstance(here, FileEntry) and isinstance(there, FileEntry)
        of_disk = loader.take(here)
        of_store = loader.take(there, lambda entry: (store.read(entry), None, None))
        if isinstance(of_disk, InHand) and isinstance(of_store, InHand):
            assert of_store.contents == of_disk.contents
            assert (of_store.file.atime_ns, of_store.file.ctime_ns) == (None, None)
        else:
            assert of_store == of_disk


def test_a_file_that_changes_while_it_is_read_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = desk.put("a.png")

    class Growing:
        """A file system in which the file grows between the two looks at it."""

        def __init__(self) -> None:
            self._real = fs.LocalFileSystem()

        def get_file_info(self, asked: Any) -> Any:
            return self._real.get_file_info(asked)

        def open_input_stream(self, asked: str) -> Any:
            stream = self._real.open_input_stream(asked)
            with path.open("ab") as file:
                file.write(b"more")
            return stream

    store = stores.Store(Growing(), os.fspath(desk.evidence))
    (entry,) = store.walk(())
    with pytest.raises(PictureError, match="changed while it was read"):
        store.read(entry)  # type: ignore[arg-type]


def test_a_file_that_is_gone_and_one_that_cannot_be_read_are_failures(
    desk: Desk, store: stores.Store
) -> None:
    path = desk.put("a.png")
    (entry,) = store.walk(())
    path.unlink()
    taken = loader.take(entry, lambda e: (store.read(e), None, None))  # type: ignore[arg-type]
    assert isinstance(taken, Failure) and taken.error == "FileNotFoundError"


def test_a_folder_that_cannot_be_listed_is_a_failure_and_the_others_are_walked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put("a/one.png")
    desk.put("b/two.png")

    class Closed:
        def __init__(self) -> None:
            self._real = fs.LocalFileSystem()

        def get_file_info(self, asked: Any) -> Any:
            if getattr(asked, "base_dir", "").endswith("/a"):
                raise PermissionError(13, "Permission denied")
            return self._real.get_file_info(asked)

    found = list(stores.Store(Closed(), os.fspath(desk.evidence)).walk(()))
    assert found[0] == Failure("a", "walk", "PermissionError", "Permission denied")
    assert [entry.path for entry in found] == ["a", "b/two.png"]


def test_a_store_of_fsspec_is_read_and_one_without_times_never_counts_as_unchanged(
    desk: Desk, memory: Any
) -> None:
    data = desk.put("a.png").read_bytes()
    memory.pipe("/bucket/rooms/a.png", data)
    place = places.locate("memory://bucket/rooms", desk.database)
    assert isinstance(place, ObjectStore)
    assert (place.root, place.only, place.folder) == ("memory://bucket/rooms", None, None)
    (entry,) = place.walk(())
    assert isinstance(entry, FileEntry) and entry.path == "a.png"
    taken = loader.take(place.entry(entry.path, entry.size, stores.UNKNOWN_NS), place.read)
    assert isinstance(taken, InHand) and taken.contents.data == data
    if entry.mtime_ns == stores.UNKNOWN_NS:
        assert not taken.contents.settled


def test_a_failure_of_a_file_without_a_time_is_tried_again() -> None:
    entry = FileEntry("a.jpg", "b/a.jpg", 3, stores.UNKNOWN_NS)

    def read(_: FileEntry) -> Any:
        raise PictureError("read", "Broken", "it is")

    taken = loader.take(entry, read)
    assert isinstance(taken, Failure) and taken.mtime_ns is None


def test_one_picture_is_a_source_of_its_folder(desk: Desk, memory: Any) -> None:
    memory.pipe("/bucket/rooms/a b.png", desk.put("a.png").read_bytes())
    memory.pipe("/bucket/rooms/other.png", b"x")
    place = places.locate("memory://bucket/rooms/a b.png", desk.database)
    assert (place.root, place.only) == ("memory://bucket/rooms", "a b.png")
    again = pickle.loads(pickle.dumps(place))
    for each in (place, again):
        (entry,) = each.walk(())
        assert entry.path == "a b.png"
        assert each.entry("a b.png", entry.size, entry.mtime_ns).os_path == entry.os_path


def test_a_uri_of_a_file_system_here_is_the_folder_itself(desk: Desk) -> None:
    place = places.locate(f"file://{desk.evidence}", desk.database)
    assert isinstance(place, Folder)
    assert place.root == str(desk.evidence)


def test_settings_in_a_uri_are_not_recorded_and_secrets_are_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = stores.Store(fs.LocalFileSystem(), os.fspath(desk.evidence))
    monkeypatch.setattr(stores, "open_store", lambda uri: opened)
    assert places.locate("s3://bucket/rooms/?region=eu", desk.database).root == "s3://bucket/rooms"
    with pytest.raises(InvalidSetting, match="password"):
        places.locate("s3://key:secret@bucket/rooms", desk.database)


def test_what_no_file_system_opens_is_refused_in_one_line(desk: Desk, memory: Any) -> None:
    with pytest.raises(InvalidSetting, match="cannot be opened") as raised:
        places.locate("nonsense://bucket/rooms", desk.database)
    assert "\n" not in raised.value.message
    with pytest.raises(FolderMissing, match="there is nothing at memory://bucket/nowhere"):
        places.locate("memory://bucket/nowhere", desk.database)


def test_without_the_extra_it_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    stores.open_store.cache_clear()
    with pytest.raises(ExtraMissing) as raised:
        places.locate("s3://bucket/rooms", desk.database)
    assert "[ray]" in raised.value.hint


def test_a_machine_that_does_not_see_the_folder_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.put("a.png")
    place = places.locate(desk.evidence, desk.database)
    place.require()
    (desk.evidence / "a.png").unlink()
    with pytest.raises(FolderMissing, match="is empty on"):
        place.require()
    desk.evidence.rmdir()
    with pytest.raises(FolderMissing, match="cannot be listed"):
        place.require()


def test_a_folder_of_a_store_of_fsspec_that_cannot_be_listed_is_a_failure_and_not_empty(
    desk: Desk, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `find` of fsspec would have it: that is what pyarrow asks by itself."""
    for name in ("a/one.png", "b/two.png"):
        memory.pipe(f"/bucket/rooms/{name}", b"x")
    place = places.locate("memory://bucket/rooms", desk.database)
    really = type(memory).ls

    def ls(self: Any, path: str, *given: Any, **named: Any) -> Any:
        if path.rstrip("/").endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return really(self, path, *given, **named)

    monkeypatch.setattr(type(memory), "ls", ls)
    first, second = place.walk(())
    assert first == Failure("a", "walk", "PermissionError", "Permission denied")
    assert second.path == "b/two.png"


def test_what_was_listed_before_is_not_taken_for_what_is_there(desk: Desk, memory: Any) -> None:
    memory.pipe("/bucket/rooms/one.png", b"x")
    forgotten: list[Any] = []
    place = places.locate("memory://bucket/rooms", desk.database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory), "invalidate_cache", lambda self, path: forgotten.append(path))
        list(place.walk(()))
    assert [path.strip("/") for path in forgotten] == ["bucket/rooms"]


def test_a_file_whose_store_tells_no_size_is_a_failure_and_not_left_out(
    desk: Desk, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/bucket/rooms/one.png", b"x")
    place = places.locate("memory://bucket/rooms", desk.database)
    found = [{"name": "/bucket/rooms/one.png", "type": "file"}]
    monkeypatch.setattr(type(memory), "ls", lambda self, path, **given: found)
    (entry,) = place.walk(())
    assert isinstance(entry, Failure) and (entry.path, entry.error) == ("one.png", "NoSize")


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), RuntimeError("Unable to locate credentials")]
)
def test_a_machine_that_cannot_reach_the_store_is_refused(
    desk: Desk, memory: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    memory.pipe("/bucket/rooms/one.png", b"x")
    place = places.locate("memory://bucket/rooms", desk.database)
    place.require()

    def away(self: Any, path: str, **given: Any) -> Any:
        raise error

    monkeypatch.setattr(type(memory), "info", away)
    with pytest.raises(FolderMissing, match="cannot reach memory://bucket/rooms"):
        place.require()


@pytest.mark.parametrize(
    "uri", ["zip://*::sftp://anna:s3cret@host/x.zip", "simplecache::s3://key:s3cret@bucket/rooms"]
)
def test_a_chain_of_uris_is_refused_without_repeating_what_may_be_secret(
    desk: Desk, uri: str
) -> None:
    with pytest.raises(InvalidSetting, match="chain") as raised:
        places.locate(uri, desk.database)
    assert "s3cret" not in f"{raised.value} {raised.value.hint}"
