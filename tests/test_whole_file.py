"""Files of a training are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from image_similarity.whole_file import writing


def test_the_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"older")
    with writing(path) as file:
        file.write(b"newer")
        assert path.read_bytes() == b"older"
    assert path.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("by_torch", [True, False])
def test_a_full_disk_is_said_with_the_file_and_leaves_the_older_one(
    tmp_path: Path, by_torch: bool
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"older")
    # What is written to this name ends on a device that is always full.
    (tmp_path / "file.bin.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught, writing(path) as file:
        if by_torch:
            torch.save(torch.from_numpy(np.zeros(1_000_000)), file)
        else:
            file.write(bytes(1_000_000))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == os.fspath(path)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_writer_passes_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), writing(tmp_path / "file.bin"):
        raise ValueError("mine")
    assert list(tmp_path.iterdir()) == []
