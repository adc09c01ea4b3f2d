"""What the system says of the mount on which evidence lies."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from image_similarity.pictures import mount


@pytest.mark.skipif(
    not hasattr(os, "ST_NOATIME"), reason="only Linux says how access times are kept"
)
@pytest.mark.parametrize(
    ("flags", "read_only", "access_times"),
    [
        ("ST_RDONLY", True, "on"),
        ("ST_RDONLY ST_NOATIME", True, "off"),
        ("ST_RELATIME", False, "relative"),
        ("ST_NOATIME ST_RELATIME", False, "off"),
        ("", False, "on"),
    ],
)
def test_the_flags_of_the_mount_are_read(
    flags: str, read_only: bool, access_times: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = 0
    for name in flags.split():
        value |= getattr(os, name)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=value))
    found = mount.state(tmp_path)
    assert found is not None
    assert (found.read_only, found.access_times) == (read_only, access_times)


def test_the_mount_point_is_the_nearest_one_above(tmp_path: Path) -> None:
    found = mount.state(tmp_path / ".")
    assert found is not None
    assert os.path.ismount(found.point) and tmp_path.resolve().is_relative_to(found.point)


def test_a_system_that_does_not_say_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mount.state(tmp_path / "missing") is None
    monkeypatch.delattr(os, "statvfs")
    assert mount.state(tmp_path) is None
