"""The desk on which the tests of indexing work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.indexing.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, tiny_model: Path) -> Desk:
    """An empty folder of evidence and the path of a database beside it."""
    return Desk(tmp_path, tiny_model)
