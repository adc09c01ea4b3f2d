"""Which entries of a folder are given, in what order, and what is told of the others."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from image_similarity.pictures.walk import Entry, FileEntry, walk
from image_similarity.values import Failure, Skipped

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX file systems only")


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))


def outcome(entries: list[Entry]) -> list[tuple[str, str]]:
    """Path and class of each entry."""
    names = []
    for entry in entries:
        match entry:
            case FileEntry():
                names.append((entry.path, "file"))
            case Skipped():
                names.append((entry.path, entry.rule))
            case Failure():
                names.append((entry.path, f"failed: {entry.stage}"))
    return names


def test_nested_files_come_in_sorted_order_depth_first(tmp_path: Path) -> None:
    make(tmp_path, "b.JPG", "a/z.jpeg", "a/B/c.png", "a/A.heic", "c/.hidden.jpg", "Z.txt")
    assert [path for path, _ in outcome(list(walk(tmp_path)))] == [
        "Z.txt",
        "a/A.heic",
        "a/B/c.png",
        "a/z.jpeg",
        "b.JPG",
        "c/.hidden.jpg",
    ]


def test_an_entry_states_size_time_and_how_to_open_it(tmp_path: Path) -> None:
    make(tmp_path, "a/one.jpg")
    os.utime(tmp_path / "a/one.jpg", ns=(5, 1_000_000_000_123_456_700))
    assert list(walk(tmp_path)) == [
        FileEntry("a/one.jpg", str(tmp_path / "a" / "one.jpg"), 9, 1_000_000_000_123_456_700)
    ]


def test_a_root_that_is_a_file_is_the_one_entry(tmp_path: Path) -> None:
    make(tmp_path, "one.jpg", "two.jpg")
    assert outcome(list(walk(tmp_path / "one.jpg"))) == [("one.jpg", "file")]


def test_an_empty_folder_gives_nothing(tmp_path: Path) -> None:
    assert list(walk(tmp_path)) == []


def test_a_missing_root_is_a_failed_walk_of_everything(tmp_path: Path) -> None:
    assert list(walk(tmp_path / "absent")) == [
        Failure("", "walk", "FileNotFoundError", "No such file or directory")
    ]


@posix
def test_links_to_folders_are_told_and_not_followed_so_loops_end(tmp_path: Path) -> None:
    make(tmp_path, "a/one.jpg")
    (tmp_path / "a/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self")
    assert outcome(list(walk(tmp_path))) == [
        ("a/loop", "symbolic link to a folder"),
        ("a/one.jpg", "file"),
        ("a/self", "broken link"),
    ]


@posix
def test_links_to_files_are_taken_and_broken_links_told(tmp_path: Path) -> None:
    make(tmp_path, "one.jpg")
    (tmp_path / "link.jpg").symlink_to("one.jpg")
    (tmp_path / "lost.jpg").symlink_to("absent.jpg")
    link, lost, one = list(walk(tmp_path))
    assert isinstance(link, FileEntry)
    assert isinstance(one, FileEntry)
    assert (link.size, link.mtime_ns) == (one.size, one.mtime_ns)
    assert lost == Skipped("lost.jpg", "broken link", "link")


@posix
def test_a_root_that_is_a_link_to_a_folder_is_entered(tmp_path: Path) -> None:
    make(tmp_path, "real/one.jpg")
    (tmp_path / "link").symlink_to("real")
    assert outcome(list(walk(tmp_path / "link"))) == [("one.jpg", "file")]


@posix
def test_special_files_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    monkeypatch.chdir(tmp_path)  # the path of a socket may be short only
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
    assert outcome(list(walk(tmp_path))) == [
        ("link.jpg", "special file"),
        ("pipe.jpg", "special file"),
        ("socket.jpg", "special file"),
    ]


@pytest.mark.parametrize("pattern", ["a", "a/", "*/one.*", "one.jpg"])
def test_patterns_exclude_by_relative_path_and_by_name(tmp_path: Path, pattern: str) -> None:
    make(tmp_path, "a/one.jpg", "b/two.jpg")
    entries = outcome(list(walk(tmp_path, exclude=(pattern,))))
    assert [rule for _, rule in entries] == ["excluded", "file"]
    assert entries[1] == ("b/two.jpg", "file")


def test_an_excluded_folder_is_one_entry_and_is_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "a/one.jpg", "a/two.jpg")
    assert list(walk(tmp_path, exclude=("a",))) == [Skipped("a", "excluded", "folder")]


def test_the_database_and_its_side_files_are_never_given(tmp_path: Path) -> None:
    make(tmp_path, "case.db", "case.db-journal", "case.db-wal", "case.db-shm", "case.db.jpg")
    entries = outcome(list(walk(tmp_path, avoid=(tmp_path / "case.db",))))
    assert entries == [
        ("case.db", "our own database"),
        ("case.db-journal", "our own database"),
        ("case.db-shm", "our own database"),
        ("case.db-wal", "our own database"),
        ("case.db.jpg", "file"),
    ]


@posix
def test_the_database_is_known_through_a_linked_root(tmp_path: Path) -> None:
    make(tmp_path, "real/case.db")
    (tmp_path / "link").symlink_to("real")
    entries = outcome(list(walk(tmp_path / "link", avoid=(tmp_path / "real/case.db",))))
    assert entries == [("case.db", "our own database")]


def test_a_folder_that_cannot_be_listed_is_a_failure_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/one.jpg", "b/two.jpg")
    listing = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("a"):
            raise PermissionError(13, "Permission denied", path)
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    failure, two = list(walk(tmp_path))
    assert failure == Failure("a", "walk", "PermissionError", "Permission denied")
    assert outcome([two]) == [("b/two.jpg", "file")]


def test_a_root_that_cannot_be_listed_fails_with_an_empty_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> Any:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(walk(tmp_path)) == [Failure("", "walk", "OSError", "Input/output error")]


def test_an_entry_that_cannot_be_examined_is_a_failure_of_stage_stat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unreadable:
        name = "bad.jpg"
        path = str(tmp_path / "bad.jpg")

        def is_symlink(self) -> bool:
            return False

        def is_dir(self, *, follow_symlinks: bool) -> bool:
            return False

        def stat(self) -> os.stat_result:
            raise OSError(5, "Input/output error", self.path)

    class Listing(list[Any]):
        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *args: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", lambda path: Listing([Unreadable()]))
    monkeypatch.setattr(os, "supports_dir_fd", frozenset())
    assert list(walk(tmp_path)) == [Failure("bad.jpg", "stat", "OSError", "Input/output error")]


@pytest.mark.skipif(os.stat not in os.supports_dir_fd, reason="this system examines by path alone")
def test_an_entry_that_cannot_be_examined_within_its_folder_is_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.jpg").touch()
    examine = os.stat

    def refuse(path: Any, *, dir_fd: int | None = None, **options: Any) -> os.stat_result:
        if dir_fd is not None:
            raise OSError(5, "Input/output error", path)
        return examine(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "supports_dir_fd", frozenset([refuse]))
    assert list(walk(tmp_path)) == [Failure("bad.jpg", "stat", "OSError", "Input/output error")]


@pytest.mark.parametrize("by_path", [False, True])
@pytest.mark.parametrize("at_once", [1, 2, 256])
def test_a_folder_is_examined_in_parts_and_by_path_with_the_same_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, by_path: bool
) -> None:
    for name in ("a.jpg", "b/c.jpg", "b/d/e.jpg", "f.jpg", "g\u00fc/h.jpg", "i.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    if os.name != "nt":
        (tmp_path / "c.jpg").symlink_to("missing")
        (tmp_path / "e.jpg").symlink_to("b/c.jpg")
    expected = list(walk(tmp_path))
    assert len(expected) == (6 if os.name == "nt" else 8)
    monkeypatch.setattr("image_similarity.pictures.walk.ENTRIES_AT_ONCE", at_once)
    if by_path:
        monkeypatch.setattr(os, "supports_dir_fd", frozenset())
    assert list(walk(tmp_path)) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf8_work_for_files_and_folders(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/f\xff"
    os.mkdir(folder)  # noqa: PTH102 - pathlib takes no bytes
    with open(folder + b"/\xe9t\\\n.jpg", "wb") as file:  # noqa: PTH123
        file.write(b"12345")
    (entry,) = walk(tmp_path)
    assert isinstance(entry, FileEntry)
    assert entry.path == r"f\xff/\xe9t\\\u000a.jpg"
    assert Path(entry.os_path).read_bytes() == b"12345"


def test_nesting_deeper_than_the_recursion_limit_of_python_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = 300
    monkeypatch.chdir(tmp_path)
    (Path(*["d"] * depth)).mkdir(parents=True)
    Path(*["d"] * depth, "deep.jpg").write_bytes(b"")
    # Room for what pytest and the walk itself need, and not for a call per folder.
    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(used + 60)
    try:
        (entry,) = walk(Path())
    finally:
        sys.setrecursionlimit(before)
    assert outcome([entry]) == [("d/" * depth + "deep.jpg", "file")]


def test_the_walk_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/one.jpg", "two.jpg")
    really_open = os.open

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a file was opened")

    def open_folder(path: str, flags: int) -> int:
        # With this flag the system itself refuses whatever is no folder.
        return really_open(path, flags) if flags & os.O_DIRECTORY else refuse()

    monkeypatch.setattr(os, "open", open_folder)
    monkeypatch.setattr("builtins.open", refuse)
    assert len(list(walk(tmp_path))) == 2
