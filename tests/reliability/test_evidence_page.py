"""docs/evidence.md names tests that exist, and options that the program has."""

from __future__ import annotations

import re
from pathlib import Path

from image_similarity.cli.index import index

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "evidence.md").read_text("utf-8")


def test_each_source_of_error_has_a_mitigation_and_a_test_that_exists() -> None:
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(rows) > 15
    for row in rows[1:]:
        assert len(row) == 3, row
        named = re.findall(r"`(tests/[^`]+)`", row[2])
        assert named, row[0]
        for name in named:
            assert (ROOT / name).is_file(), name
            assert "def test_" in (ROOT / name).read_text("utf-8")


def test_the_recipes_index_with_options_that_there_are() -> None:
    known = {option for parameter in index.params for option in parameter.opts}
    commands = [line for line in PAGE.splitlines() if line.startswith("generate_embeddings")]
    assert commands
    for command in commands:
        assert set(re.findall(r" (--?[a-z]+)", command)) <= known


def test_every_mount_of_the_recipes_is_read_only() -> None:
    mounts = [line.split("#")[0] for line in PAGE.splitlines() if line.startswith("mount ")]
    assert len(mounts) >= 3
    assert all(re.search(r"-o ro\b", line) for line in mounts)
