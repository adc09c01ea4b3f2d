"""`train --classes`: the groups become classes with probabilities, measured on pictures that taught nothing."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from image_similarity.analysis.predict import Predictor
from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder
from image_similarity.errors import InvalidSetting
from image_similarity.training import classes
from image_similarity.training.own_training import train
from image_similarity.training.recipe import Recipe, TrainingReport
from image_similarity.values import Prediction
from tests.tiny_model import write_tiny_model
from tests.training.own_pictures import make_places, write_small_multiscale

Train = Callable[..., TrainingReport]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_places(tmp_path_factory.mktemp("classes") / "places")


@pytest.fixture
def run(places: Path, tmp_path: Path) -> Train:
    def call(start: Path | None = None, **given: Any) -> TrainingReport:
        start = start or write_tiny_model(tmp_path / "tiny.safetensors")
        settings = {"epochs": 1, "near_duplicate": 1.01, "batch_size": 16, "classes": True}
        recipe = Recipe(**{"model": str(start), **settings, **given})
        return train(places, tmp_path / "own.safetensors", recipe, device="cpu", anyway=True)

    return call


@pytest.mark.parametrize("head", [None, 8])
def test_the_model_predicts_the_folders_of_new_pictures(
    run: Train, places: Path, head: int | None
) -> None:
    report = run(head=head)
    assert report.model is not None
    assert report.classes is not None
    folders = sorted(each.name for each in places.iterdir())
    predictor = Predictor(str(report.model))
    assert list(predictor.info.scenes) == folders
    said = [each for each in predictor.predict([places], k=2) if isinstance(each, Prediction)]
    right = [Path(each.path).parent.name == each.labels[0].name for each in said]
    assert np.mean(right) > 2 / len(folders)
    assert all(0 <= label.probability <= 1 for each in said for label in each.labels)
    assert report.classes.classes == len(folders)
    assert report.classes.top_1 is not None
    assert 0 <= report.classes.top_1 <= (report.classes.top_5 or 0) <= 1


def test_vectors_and_probabilities_come_out_beside_each_other(
    run: Train,
) -> None:
    report = run(head=8)
    assert report.model is not None
    spec = registry.get(str(report.model))
    assert spec.architecture == "classified/tiny"
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    encoded = Encoder.load(spec).encode(pixels)
    assert encoded.vectors is not None
    assert encoded.scenes is not None
    assert encoded.vectors.shape == (3, 8)
    assert np.allclose(np.linalg.norm(encoded.vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(encoded.scenes.sum(axis=1), 1, atol=1e-5)


def test_a_model_with_an_embedding_layer_of_its_own_gets_classes_too(
    run: Train, tmp_path: Path
) -> None:
    small = write_small_multiscale(tmp_path / "small.safetensors")
    report = run(small, head=8, size=32)
    assert report.model is not None
    spec = registry.get(str(report.model))
    assert spec.architecture.startswith("classified/multiscale/")
    assert Encoder.load(spec).spec.dim == 8


def test_what_measures_the_classes_taught_nothing(run: Train) -> None:
    report = run(head=8)
    assert report.split is not None
    assert report.classes is not None
    with report.split.open(encoding="utf-8") as file:
        parts = [row["part"] for row in csv.DictReader(file)]
    held = parts.count("held aside for the classes")
    assert held > 0
    assert report.training == parts.count("training")
    assert report.classes.taught < report.training + report.validation
    assert report.classes.taught + report.classes.measured == len(parts)
    assert report.left_out == 0


def test_a_share_of_each_group_is_held_aside_and_none_of_small_ones() -> None:
    groups = ["a"] * 10 + ["b"] * 3 + ["c"] * 2
    held = classes.hold_aside(groups, ["training"] * 15, Recipe())
    assert [int(held[rows].sum()) for rows in (slice(0, 10), slice(10, 13), slice(13, 15))] == [
        2, 1, 0,
    ]  # fmt: skip
    assert (held == classes.hold_aside(groups, ["training"] * 15, Recipe())).all()
    none = classes.hold_aside(groups, ["near-duplicate"] * 15, Recipe())
    assert not none.any()


def test_copies_of_what_teaches_do_not_measure(tmp_path: Path) -> None:
    start = write_tiny_model(tmp_path / "tiny.safetensors")
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 2, 0]]
    held = np.array([False, False, True, True])
    teach, measure = classes.divide(
        held, ["training"] * 4, ["aa" * 32, "bb" * 32, "cc" * 32, "dd" * 32], vectors,
        Recipe(model=str(start)),
    )  # fmt: skip
    assert (teach.tolist(), measure.tolist()) == ([0, 1], [2])


def test_the_temperature_makes_too_sure_logits_honest() -> None:
    torch.manual_seed(0)
    truth = torch.randint(4, (2_000,))
    honest = torch.randn(2_000, 4)
    honest[torch.arange(2_000), truth] += 1.0
    assert classes.best_temperature(honest * 5, truth) == pytest.approx(
        5 * classes.best_temperature(honest, truth), rel=0.05
    )
    assert classes.best_temperature(honest[:0], truth[:0]) == 1


def test_separable_classes_are_learned() -> None:
    units = torch.nn.functional.normalize(torch.eye(5).repeat(20, 1) + 0.01, dim=1)
    weight, bias = classes.fit(units, torch.arange(5).repeat(20), 5)
    assert (units @ weight.T + bias).argmax(dim=1).tolist() == list(range(5)) * 20


def test_groups_that_cannot_be_classes_are_refused_before_any_work(
    run: Train, places: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSetting, match="cannot be called"):
        classes.check_names(["plain", "with\ttab"])
    with pytest.raises(InvalidSetting, match="unlabelled pictures have none"):
        Recipe(classes=True, unlabelled=True).check()
    report = run(head=8)
    with pytest.raises(InvalidSetting, match="has classes already"):
        train(places, tmp_path / "more.safetensors", Recipe(model=str(report.model)))
