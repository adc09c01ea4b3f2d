"""The demonstration: what it counts, and what it never deletes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "scripts" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hit(query: str, rank: int, path: str) -> dict[str, Any]:
    return {"query": f"edits/{query}.jpg", "rank": rank, "path": f"gallery/{path}", "distance": 0.5}


def test_every_photograph_is_really_inside_an_installed_package(demo: ModuleType) -> None:
    for package, inside, licence in demo.PHOTOGRAPHS:
        assert (demo.package_folder(package) / inside).is_file()
        assert licence


def test_five_edits_of_every_picture_differ_from_it(demo: ModuleType, tmp_path: Path) -> None:
    picture = Image.linear_gradient("L").convert("RGB")
    demo.write_edits(picture, "slope", tmp_path)
    names = sorted(file.stem for file in tmp_path.iterdir())
    assert names == [f"slope-{edit}" for edit in ("crop", "dark", "overlay", "recompress", "turn")]
    for file in tmp_path.iterdir():
        with Image.open(file) as edit:
            assert edit.convert("RGB").tobytes() != picture.tobytes()


def test_an_edit_counts_when_its_original_ranks_first_and_an_unanswered_one_does_not(
    demo: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        hit("clock_motion-crop", 2, "coffee.png"),
        hit("clock_motion-crop", 1, "clock_motion.png"),
        hit("coffee-dark", 1, "clock_motion.png"),
        hit("coffee-dark", 2, "coffee.png"),
    ]
    assert demo.show(lines) == (1, len(demo.PHOTOGRAPHS) * 5)
    printed = capsys.readouterr().out.splitlines()
    assert [line.endswith("MISSED") for line in printed[-2:]] == [False, True]


def test_a_folder_that_is_no_demonstration_is_never_emptied(
    demo: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(SystemExit, match="was not made by this script"):
        demo.remove_earlier_demo(tmp_path)
    assert (tmp_path / "letter.txt").exists()
