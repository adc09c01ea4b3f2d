"""The script that fetches weights takes exactly the file that a spec was written for."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from pathlib import Path
from types import ModuleType

import pytest

from image_similarity.encoding import registry

SCRIPT = Path(__file__).parents[2] / "scripts" / "fetch_weights.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch_weights", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [name for name in registry.model_names() if "/" in name])
def test_every_torchvision_model_has_an_address(script: ModuleType, name: str) -> None:
    address = script.published_address(name)
    assert address.startswith("https://")
    assert registry.describe(name).origin.endswith(address.rpartition("/")[2])


def test_a_file_is_stored_where_the_program_looks_for_it(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    address = f"https://example.org/resnet18-{digest[:8]}.pth"
    monkeypatch.setattr(script, "published_address", lambda name: address)
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(tmp_path / "new"))
    asked = []

    def opener(url: str) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(b"weights")

    path = script.fetch("torchvision/resnet18", tmp_path / "new", opener)
    assert asked == [address]
    assert registry.get("torchvision/resnet18").weights == path
    assert [each.name for each in path.parent.iterdir()] == ["torchvision-resnet18.pth"]
    assert capsys.readouterr().out == f"{digest}  {path}\n"


def test_a_file_with_another_hash_is_not_kept(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="f37072fd"):
        script.fetch("torchvision/resnet18", tmp_path, lambda url: io.BytesIO(b"something else"))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_ends_with_near_matches(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="Did you mean torchvision/resnet18"):
        script.main(["resnet18", "--folder", str(tmp_path)])
