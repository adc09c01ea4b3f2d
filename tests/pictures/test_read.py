"""One read of one file, and what can go wrong with it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.read import Contents, Left, read_file
from image_similarity.values import Digests

OLD_NS = 1_500_000_000_000_000_000


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A JPEG of more than one head's size, written long ago."""
    target = io.BytesIO()
    Image.effect_noise((200, 150), 80).convert("RGB").save(target, "JPEG", quality=95)
    path = tmp_path / "photo.jpg"
    path.write_bytes(target.getvalue())
    os.utime(path, ns=(OLD_NS, OLD_NS))
    return path


def failure_of(path: Path | str, **options: Any) -> tuple[str, str, str]:
    with pytest.raises(PictureError) as caught:
        read_file(str(path), **options)
    return caught.value.stage, caught.value.error, caught.value.message


def test_a_picture_comes_with_all_bytes_and_their_three_hashes(photo: Path) -> None:
    data = photo.read_bytes()
    found = read_file(str(photo))
    assert isinstance(found, Contents)
    assert found.data == data
    assert found.digests == Digests(
        hashlib.sha256(data).hexdigest(),
        hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        hashlib.md5(data, usedforsecurity=False).hexdigest(),
    )
    assert (found.size, found.mtime_ns, found.settled) == (len(data), OLD_NS, True)
    assert found.kind.mime == "image/jpeg"


def test_a_file_is_opened_once_for_reading_only(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = os.open

    def count(path: str, flags: int, *args: Any) -> int:
        descriptor = real(path, flags, *args)
        opened.append(flags)
        return descriptor

    monkeypatch.setattr(os, "open", count)
    read_file(str(photo))
    assert len(opened) == 1
    assert opened[0] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) == 0


def test_reading_leaves_the_file_as_it_was(photo: Path) -> None:
    before = photo.stat()
    read_file(str(photo))
    after = photo.stat()
    assert (before.st_mtime_ns, before.st_size, before.st_mode) == (
        after.st_mtime_ns,
        after.st_size,
        after.st_mode,
    )


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="Linux only")
def test_reading_leaves_no_new_access_time_where_that_is_permitted(photo: Path) -> None:
    os.utime(photo, ns=(1, OLD_NS))  # older than the modification: even "relatime" would renew it
    read_file(str(photo))
    assert photo.stat().st_atime_ns == 1


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="Linux only")
def test_a_file_of_another_owner_is_read_all_the_same(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str, flags: int, *args: Any) -> int:
        if flags & os.O_NOATIME:
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        return real(path, flags, *args)

    monkeypatch.setattr(os, "open", refuse)
    assert isinstance(read_file(str(photo)), Contents)


def test_of_a_file_that_is_no_picture_only_the_head_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(100_000))
    os.utime(path, ns=(OLD_NS, OLD_NS))
    taken = 0
    real = os.read

    def count(descriptor: int, size: int) -> bytes:
        nonlocal taken
        chunk = real(descriptor, size)
        taken += len(chunk)
        return chunk

    monkeypatch.setattr(os, "read", count)
    found = read_file(str(path))
    assert isinstance(found, Left)
    assert (found.kind.kind, found.size, found.mtime_ns) == ("video", 100_012, OLD_NS)
    assert taken <= 4096


def test_reads_that_return_less_than_asked_are_put_together(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: real(descriptor, min(size, 1000)))
    found = read_file(str(photo))
    assert isinstance(found, Contents)
    assert found.data == photo.read_bytes()


@pytest.mark.parametrize("field", [stat.ST_SIZE, stat.ST_MTIME])
def test_a_file_that_changes_while_it_is_read_is_a_failure(
    photo: Path, monkeypatch: pytest.MonkeyPatch, field: int
) -> None:
    real, calls = os.fstat, 0

    def changing(descriptor: int) -> os.stat_result:
        nonlocal calls
        calls += 1
        if calls == 2:
            if field == stat.ST_SIZE:
                with photo.open("ab") as file:
                    file.write(b"more")
                os.utime(photo, ns=(OLD_NS, OLD_NS))
            else:
                os.utime(photo, ns=(OLD_NS, OLD_NS + 1_000_000_000))
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", changing)
    assert failure_of(photo) == ("read", "Changed", "the file changed while it was read")


@pytest.mark.parametrize(("age_ns", "settled"), [(60, True), (3, True), (1, False), (-3600, False)])
def test_a_time_of_the_last_two_seconds_or_the_future_is_not_settled(
    photo: Path, age_ns: int, settled: bool
) -> None:
    moment = time.time_ns() - age_ns * 1_000_000_000
    os.utime(photo, ns=(moment, moment))
    found = read_file(str(photo))
    assert isinstance(found, Contents)
    assert found.settled is settled


def test_an_empty_file_with_a_pictures_name_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert failure_of(tmp_path / "empty.jpg") == ("read", "Empty", "the file has zero bytes")


def test_an_empty_file_with_another_name_is_left(tmp_path: Path) -> None:
    (tmp_path / "empty.dat").touch()
    found = read_file(str(tmp_path / "empty.dat"))
    assert isinstance(found, Left)
    assert found.kind.kind == "empty"


def test_a_file_over_the_size_limit_is_a_failure_that_names_both_sizes(photo: Path) -> None:
    size = photo.stat().st_size
    assert failure_of(photo, size_limit=size - 1) == (
        "read",
        "TooLarge",
        f"{size} bytes; the limit is {size - 1} bytes",
    )
    assert isinstance(read_file(str(photo), size_limit=size), Contents)


def test_a_missing_file_is_a_failure_whose_message_does_not_name_the_path(tmp_path: Path) -> None:
    assert failure_of(tmp_path / "absent.jpg") == (
        "read",
        "FileNotFoundError",
        "No such file or directory",
    )


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (PermissionError(13, "Permission denied", "/secret/path"), "PermissionError"),
        (OSError(5, "Input/output error", "/secret/path"), "OSError"),
        (OSError("odd"), "OSError"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_whatever_the_system_refuses_is_a_failure_of_stage_read(
    photo: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, name: str
) -> None:
    def refuse(*args: Any) -> Any:
        raise error

    monkeypatch.setattr(os, "read", refuse)
    stage, found, message = failure_of(photo)
    assert (stage, found) == ("read", name)
    assert message
    assert "/secret/path" not in message


@pytest.mark.skipif(os.name == "nt", reason="no FIFO there")
def test_a_fifo_in_the_files_place_does_not_hold_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photo.jpg")
    assert failure_of(tmp_path / "photo.jpg")[:2] == ("read", "NotAFile")


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be opened there")
def test_a_folder_in_the_files_place_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").mkdir()
    assert failure_of(tmp_path / "photo.jpg")[:2] == ("read", "NotAFile")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux only")
def test_no_descriptor_stays_open_whatever_happens(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        read_file(str(photo))
        failure_of(tmp_path / "empty.jpg")
        failure_of(tmp_path / "absent.jpg")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_message_is_one_printable_line() -> None:
    error = PictureError(
        "decode", "ValueError", "two\nlines\x1b[31m and\tmore\u2028end " + "x" * 900
    )
    assert error.message.isprintable()
    assert len(error.message) <= 500
    assert PictureError("decode", "ValueError", "\n").message == "ValueError"
