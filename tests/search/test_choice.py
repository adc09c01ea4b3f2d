"""The network of a recorded model is found wherever its file lies now, and a message says where it was looked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from image_similarity import Case
from image_similarity.encoding.torchvision_import import import_torchvision
from image_similarity.errors import ExtraMissing, WeightsMissing
from image_similarity.settings import IndexOptions
from tests import keras_file
from tests.conftest import draw_picture
from tests.tiny_model import write_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    folder.mkdir()
    for number in range(3):
        draw_picture(number, (48, 40)).save(folder / f"p{number}.png")
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A picture that is not stored, so that the network must look at it."""
    path = tmp_path / "new.png"
    draw_picture(9, (48, 40)).save(path)
    return path


def indexed(database: Path, folder: Path, **options: object) -> Path:
    with Case.open(database) as case:
        case.index(folder, options=IndexOptions(scenes=None, **options))  # type: ignore[arg-type]
    return database


def names(database: Path, picture: Path, model: str | None = None) -> list[str]:
    with Case.open(database, read_only=True) as case:
        return [hit.place.path for hit in case.search(picture, k=1, model=model).hits]


def test_a_model_whose_file_was_moved_is_named_with_the_place_where_it_was(
    folder: Path, new: Path, tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "own.safetensors")
    database = indexed(tmp_path / "case.db", folder, models=(str(model),))
    model.rename(tmp_path / "moved.safetensors")
    with pytest.raises(WeightsMissing, match=r"model tiny@.*looked for in .*own\.safetensors") as e:
        names(database, new)
    assert "-m FILE" in e.value.hint
    assert names(database, new, str(tmp_path / "moved.safetensors"))
    assert names(database, folder / "p1.png"), "a stored picture needs no network"


def test_a_model_whose_file_was_replaced_is_not_used(
    folder: Path, new: Path, tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "own.safetensors")
    database = indexed(tmp_path / "case.db", folder, models=(str(model),))
    write_tiny_model(model, seed=1)
    with pytest.raises(WeightsMissing, match="not found as it was"):
        names(database, new)


def test_weights_that_were_given_with_a_name_are_found_again_for_a_new_picture(
    folder: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(tmp_path / "empty"))
    torch.manual_seed(0)
    weights = tmp_path / "mine.pth"
    torch.save(import_torchvision().models.resnet18(weights=None).state_dict(), weights)
    name = "torchvision/resnet18"
    database = indexed(tmp_path / "case.db", folder, models=(name,), weights=weights)
    assert names(database, new)
    weights.unlink()
    with pytest.raises(WeightsMissing, match=name):
        names(database, new)


def test_a_package_that_another_model_needs_is_not_asked_for(
    folder: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny_model(tmp_path / "own.safetensors")
    keras = keras_file.write(tmp_path / "narrow.h5")
    database = indexed(tmp_path / "case.db", folder, models=(str(model),))
    indexed(database, folder, models=(str(keras),))
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "image_similarity.encoding.keras_h5.find_spec",
        lambda name: None if name == "h5py" else found(name),
    )
    assert names(database, new, "tiny")
    with pytest.raises(ExtraMissing, match="h5py"):
        names(database, new, "narrow")
