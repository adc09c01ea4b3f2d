"""The desk on which the tests of indexing work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from image_similarity.indexing import taskset
from image_similarity.pictures import read
from tests.indexing.desk import Desk, Misbehaving


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path, tiny_model: Path) -> Desk:
    """An empty folder of evidence and the path of a database beside it; where `location` says for who uses that."""
    asked = "location" in request.fixturenames
    return Desk(tmp_path, tiny_model, request.getfixturevalue("location") if asked else None)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Misbehaving]:
    """Put a network in place that a rule sees each batch of first, and may make fail."""

    def install(*given: Any) -> Misbehaving:
        misbehaving = Misbehaving(*given)
        monkeypatch.setattr(taskset, "Encoder", misbehaving)
        return misbehaving

    return install


@pytest.fixture
def an_hour_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine more than the two seconds of the program pass between the writing of a file and its reading."""
    monkeypatch.setattr(read, "_SETTLING_NS", 3_600_000_000_000)
