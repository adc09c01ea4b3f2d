"""Training on own pictures from end to end: it learns, it repeats, it resumes, it refuses."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file, save_file

from image_similarity.encoding import registry
from image_similarity.encoding.card import read_card
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.networks.backbones import backbone
from image_similarity.encoding.training_hashes import read_training_hashes
from image_similarity.errors import InvalidSetting, TrainingRefused, WeightsRefused
from image_similarity.training import losses, own_training
from image_similarity.training.learners import WholeLearner
from image_similarity.training.own_training import CHECKPOINT, train
from image_similarity.training.recipe import Advance, Epoch, Event, Recipe, TrainingReport
from tests.tiny_model import tiny_card, tiny_state, write_tiny_model
from tests.training.own_pictures import make_places, write_small_multiscale

Train = Callable[..., TrainingReport]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_places(tmp_path_factory.mktemp("own") / "places")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("start") / "tiny.safetensors")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_multiscale(tmp_path_factory.mktemp("start") / "small.safetensors")


@pytest.fixture
def run(places: Path, tiny: Path, tmp_path: Path) -> Train:
    """A function that trains the tiny model; keywords are the recipe's, or those of `train`."""

    def call(name: str = "own.safetensors", **given: Any) -> TrainingReport:
        names = ("work", "anyway", "force", "on_event", "stop")
        options = {key: given.pop(key) for key in names if key in given}
        recipe = {"model": str(tiny), "epochs": 2, "near_duplicate": 1.01, "batch_size": 16}
        folder = given.pop("folder", places)
        return train(folder, tmp_path / name, Recipe(**(recipe | given)), device="cpu", **options)

    return call


def stop_after(steps: int) -> tuple[Callable[[], bool], Callable[[Event], None]]:
    """A stop that comes once so many steps were heard of, and the ear."""
    heard: list[Event] = []

    def hear(event: Event) -> None:
        if isinstance(event, Advance) and event.stage == "training":
            heard.append(event)

    return (lambda: len(heard) >= steps), hear


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


@pytest.mark.parametrize("head", [None, 12])
def test_loss_falls_and_recall_rises(run: Train, head: int | None) -> None:
    report = run(head=head, epochs=12, learning_rate=0.01, loss="batch-hard", margin=0.3)
    assert report.status == "done"
    assert report.start is not None
    best = report.epochs[report.best_epoch - 1]
    assert report.epochs[-1].loss < report.epochs[0].loss
    assert best.figures.recall_at_1 > report.start.recall_at_1 + 0.1
    assert best.figures.map_at_r > report.start.map_at_r + 0.1


def test_the_file_is_a_model_that_gives_what_was_measured(run: Train, tmp_path: Path) -> None:
    report = run(head=8, anyway=True)
    assert report.model == tmp_path / "own.safetensors"
    spec = registry.get(str(report.model))
    assert (spec.name, spec.dim, spec.architecture) == ("own", 8, "tiny")
    assert spec.scenes == ("bedroom", "kitchen", "street", "forest")
    encoder = Encoder.load(spec, device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    first, second = encoder.encode(picture), encoder.encode(picture)
    assert first.vectors is not None and second.vectors is not None
    np.testing.assert_array_equal(first.vectors, second.vectors)
    np.testing.assert_allclose(np.linalg.norm(first.vectors, axis=1), 1, atol=1e-5)


def test_a_whole_network_keeps_its_kind_and_loses_the_scenes_that_it_no_longer_knows(
    run: Train,
) -> None:
    report = run(anyway=True)
    spec = registry.get(str(report.model))
    assert (spec.dim, spec.scenes) == (16, ())
    Encoder.load(spec, device="cpu")


def test_the_card_tells_where_the_model_comes_from_and_names_no_picture_nor_path(
    run: Train, places: Path, tiny: Path, small: Path
) -> None:
    report = run(head=8, anyway=True, teacher=str(small), licence="for our laboratory only")
    assert report.model is not None
    card = read_card(report.model)
    assert card is not None
    fingerprint = registry.info(registry.get(str(tiny))).fingerprint
    assert card["training"]["started_from"] == f"tiny ({fingerprint})"
    assert card["training"]["pictures"] == 32
    assert card["training"]["validation_pictures"] == 8
    assert card["training"]["recipe"]["seed"] == 1
    assert card["training"]["split"] == "own.split.csv"
    assert card["licence"] == "for our laboratory only"
    assert set(card["figures"]["validation"]) == {"recall_at_1", "map_at_r"}
    assert (card["training"]["recipe"]["model"], card["training"]["recipe"]["teacher"]) == (
        "tiny",
        "small",
    )
    for path in (places, tiny.parent, small.parent):
        assert str(path) not in str(card)
    assert "place-0" not in str(card)


def test_the_split_and_the_hashes_say_what_was_trained_on(run: Train) -> None:
    report = run(head=8, anyway=True)
    assert report.split is not None and report.model is not None
    with report.split.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    parts = {
        part: {row["group"] for row in rows if row["part"] == part}
        for part in ("training", "validation")
    }
    assert len(rows) == 40
    assert (len(parts["training"]), len(parts["validation"])) == (8, 2)
    assert not parts["training"] & parts["validation"]
    hashes = read_training_hashes(report.model)
    assert hashes is not None and hashes.shape == (32, 8)


def test_a_model_trained_on_a_trained_one_names_the_pictures_of_both(
    run: Train, tmp_path: Path
) -> None:
    first = run("first.safetensors", anyway=True)
    others = make_places(tmp_path / "others", places=22, each=3)
    for place in range(10):
        shutil.rmtree(others / f"place-{place:02d}")  # these are in the first training
    second = run("second.safetensors", folder=others, model=str(first.model), anyway=True)
    assert first.model is not None and second.model is not None
    earlier, later = read_training_hashes(first.model), read_training_hashes(second.model)
    assert earlier is not None and later is not None
    assert {row.tobytes() for row in earlier} < {row.tobytes() for row in later}


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"head": 8},
        {"loss": "classification"},
        {"loss": "proxy-anchor"},
        {"unlabelled": True, "loss": "nt-xent"},
    ],
    ids=str,
)
@pytest.mark.parametrize("steps", [1, 3])
def test_a_resumed_training_equals_an_undisturbed_one(
    run: Train, tmp_path: Path, kind: dict[str, Any], steps: int
) -> None:
    whole = run("whole.safetensors", anyway=True, **kind)
    stop, hear = stop_after(steps)
    halted = run("halted.safetensors", anyway=True, stop=stop, on_event=hear, **kind)
    assert halted.status == "interrupted"
    assert halted.checkpoint.is_file()
    assert not (tmp_path / "halted.safetensors").exists()
    resumed = run("halted.safetensors", anyway=True, **kind)
    assert resumed.epochs == whole.epochs
    expected, found = (
        weights(tmp_path / "whole.safetensors"),
        weights(tmp_path / "halted.safetensors"),
    )
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key
    assert not resumed.checkpoint.parent.exists()


def test_a_checkpoint_of_other_settings_or_pictures_is_refused_and_kept(
    run: Train, tmp_path: Path, places: Path
) -> None:
    stop, hear = stop_after(1)
    halted = run(stop=stop, on_event=hear)
    before = halted.checkpoint.read_bytes()
    with pytest.raises(WeightsRefused, match="other settings"):
        run(margin=0.2)
    with pytest.raises(WeightsRefused, match="other settings"):
        run(folder=make_places(tmp_path / "more", places=11))
    assert halted.checkpoint.read_bytes() == before


def test_a_picture_that_is_gone_makes_the_checkpoint_one_of_another_training(
    run: Train, tmp_path: Path
) -> None:
    folder = make_places(tmp_path / "pictures")
    stop, hear = stop_after(1)
    halted = run(folder=folder, stop=stop, on_event=hear)
    (folder / "place-03" / "1.png").unlink()
    with pytest.raises(WeightsRefused, match="pictures"):
        run(folder=folder)
    assert halted.checkpoint.is_file()


@pytest.mark.parametrize("damage", ["cut off", "a bit"])
def test_a_checkpoint_that_was_damaged_is_never_gone_on_from(run: Train, damage: str) -> None:
    stop, hear = stop_after(1)
    checkpoint = run(stop=stop, on_event=hear).checkpoint
    whole = checkpoint.read_bytes()
    for place in range(len(whole) // 16, len(whole), len(whole) // 8):
        content = bytearray(whole)
        if damage == "cut off":
            del content[place:]
        else:
            content[place] ^= 1
        checkpoint.write_bytes(content)
        with pytest.raises(WeightsRefused, match="cannot be read as a checkpoint"):
            run()
    checkpoint.write_bytes(whole)
    assert run(anyway=True).resumed_at == 1


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_a_corrupt_checkpoint_is_refused_and_kept(
    run: Train, tmp_path: Path, content: bytes
) -> None:
    checkpoint = tmp_path / "work" / CHECKPOINT
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(content)
    with pytest.raises(WeightsRefused, match="checkpoint"):
        run(work=checkpoint.parent)
    assert checkpoint.read_bytes() == content


def test_a_foreign_checkpoint_is_refused(run: Train, tmp_path: Path) -> None:
    checkpoint = tmp_path / "work" / CHECKPOINT
    checkpoint.parent.mkdir()
    for content in (
        {"state_dict": {"a": torch.zeros(2)}},
        [1, 2],
        {"kind": "image-similarity own training"},
    ):
        torch.save(content, checkpoint)
        with pytest.raises(WeightsRefused):
            run(work=checkpoint.parent)


def test_gradients_reach_every_branch(small: Path) -> None:
    encoder = Encoder.load(registry.get(str(small)), device="cpu")
    views = np.random.default_rng(0).integers(0, 256, (6, 43, 43, 3)).astype(np.uint8)
    learner = WholeLearner(encoder, views, teacher=None, frozen_statistics=True)
    batch = learner.batch(torch.arange(6), torch.Generator().manual_seed(1))
    vectors = learner.embed(batch.inputs)
    (vectors[0] - vectors[1:].mean(dim=0)).square().sum().backward()
    for name, weight in learner.module.named_parameters():
        if name.startswith("scene_head."):
            assert weight.grad is None
        else:
            assert weight.grad is not None and weight.grad.abs().sum() > 0, name


def test_statistics_stay_as_they_are_in_a_trained_network_and_move_in_one_from_scratch(
    run: Train, small: Path, tmp_path: Path
) -> None:
    start = weights(small)
    statistics = [key for key in start if key.endswith("running_mean")]
    assert statistics
    run("tuned.safetensors", model=str(small), epochs=1, anyway=True)
    tuned = weights(tmp_path / "tuned.safetensors")
    assert all(torch.equal(tuned[key], start[key]) for key in statistics)
    assert not torch.equal(tuned["embedding.weight"], start["embedding.weight"])
    run("fresh.safetensors", model=str(small), epochs=1, from_scratch=True, anyway=True)
    fresh = weights(tmp_path / "fresh.safetensors")
    assert not any(torch.equal(fresh[key], start[key]) for key in statistics)


def test_a_head_leaves_all_below_it_as_it_was(run: Train, small: Path, tmp_path: Path) -> None:
    run(model=str(small), head=8, anyway=True)
    before, after = weights(small), weights(tmp_path / "own.safetensors")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"embedding.weight", "embedding.bias"}
    spec = registry.get(str(tmp_path / "own.safetensors"))
    assert (spec.dim, spec.config["dim"], len(spec.scenes)) == (8, 8, 4)
    Encoder.load(spec, device="cpu")


def test_no_better_epoch_means_no_model_until_it_is_wanted(run: Train, tmp_path: Path) -> None:
    report = run(learning_rate=1e-9)
    assert (report.status, report.model, report.split) == ("no better", None, None)
    assert [each.name for each in tmp_path.iterdir()] == ["own.work"]
    seen: list[Event] = []
    assert run(learning_rate=1e-9, anyway=True, on_event=seen.append).status == "done"
    assert not any(isinstance(each, Epoch) for each in seen)  # nothing was trained again


def test_a_training_that_came_to_nothing_does_not_stand_in_the_way_of_the_next(run: Train) -> None:
    assert run(learning_rate=1e-9).status == "no better"
    report = run(learning_rate=1e-8, anyway=True)
    assert (report.status, report.resumed_at, len(report.epochs)) == ("done", 0, 2)


def test_a_network_without_a_last_layer_of_ours_gets_a_head_of_its_own(
    run: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    network = backbone("resnet18")
    torch.save(network.state_dict(), tmp_path / "torchvision-resnet18.pth")
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", str(tmp_path))
    report = run(model="torchvision/resnet18", size=32, head=8, epochs=1, anyway=True)
    spec = registry.get(str(report.model))
    assert (spec.architecture, spec.dim) == ("headed/torchvision/resnet18", 8)
    encoder = Encoder.load(spec, device="cpu")
    assert encoder.encode(np.zeros((2, 32, 32, 3), np.uint8)).finite.all()
    with pytest.raises(InvalidSetting, match="has a head already"):
        run("twice.safetensors", model=str(report.model), head=8)


def test_a_loss_that_is_no_number_ends_the_training(
    run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "triplet_loss", lambda *given, **more: torch.tensor(torch.nan))
    with pytest.raises(TrainingRefused, match="no number"):
        run()


def test_unlabelled_pictures_are_validated_by_their_edited_copies(run: Train) -> None:
    report = run(unlabelled=True, anyway=True)
    assert (report.groups, report.training, report.validation) == (40, 32, 8)
    assert report.start is not None and 0 < report.start.recall_at_1 <= 1


def test_a_teacher_changes_what_is_learned(run: Train, small: Path, tmp_path: Path) -> None:
    for head in (None, 8):
        alone = run("alone.safetensors", head=head, anyway=True, force=True)
        taught = run("taught.safetensors", head=head, teacher=str(small), anyway=True, force=True)
        assert taught.epochs[0].loss > alone.epochs[0].loss
        one, other = (
            weights(tmp_path / "alone.safetensors"),
            weights(tmp_path / "taught.safetensors"),
        )
        assert not torch.equal(one["embedding.weight"], other["embedding.weight"])


def test_copies_across_the_parts_are_taken_out_of_the_validation(
    run: Train, tmp_path: Path, places: Path
) -> None:
    folder = make_places(tmp_path / "pictures", places=12)
    shown = (folder / "place-00" / "0.png").read_bytes()
    for place in folder.iterdir():
        (place / "same.png").write_bytes(shown)
    report = run(folder=folder, head=8, anyway=True)
    assert report.split is not None
    with report.split.open(encoding="utf-8", newline="") as file:
        parts = [row["part"] for row in csv.DictReader(file)]
    assert parts.count("exact copy") == report.left_out > 0


def test_a_network_from_scratch_does_not_judge_what_is_a_near_duplicate(
    run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[np.ndarray] = []
    real = own_training.parts_of

    def scan(validates: Any, sha256: Any, vectors: np.ndarray, **given: Any) -> Any:
        scanned.append(vectors)
        return real(validates, sha256, vectors, **given)

    monkeypatch.setattr(own_training, "parts_of", scan)
    tuned = run("tuned.safetensors", epochs=1, anyway=True)
    fresh = run("fresh.safetensors", epochs=1, anyway=True, from_scratch=True)
    np.testing.assert_array_equal(scanned[0], scanned[1])
    assert fresh.start != tuned.start  # that is measured of the random weights


def test_when_the_scan_leaves_nothing_to_validate_on_the_training_is_refused(run: Train) -> None:
    with pytest.raises(TrainingRefused, match="near-duplicates"):
        run(near_duplicate=0.0)


def test_too_few_groups_are_refused(run: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="too few"):
        run(folder=make_places(tmp_path / "few", places=3))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"epochs": 0}, "epochs"),
        ({"loss": "nonsense"}, "no loss"),
        ({"size": 40}, "multiple of 32"),
        ({"head": 8, "from_scratch": True}, "head"),
        ({"unlabelled": True, "loss": "arcface"}, "needs groups"),
        ({"unlabelled": True, "groups": Path("g.csv")}, "not both"),
        ({"head": 300}, "longer than"),
        ({"margin": float("nan")}, "margin"),
    ],
)
def test_settings_out_of_range_are_refused_with_their_name(
    run: Train, wrong: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSetting, match=reason):
        run(**wrong)


def test_an_output_that_exists_or_lies_among_the_pictures_is_refused_before_any_work(
    run: Train, tmp_path: Path, places: Path, tiny: Path
) -> None:
    (tmp_path / "own.safetensors").write_bytes(b"precious")
    with pytest.raises(InvalidSetting, match="exists"):
        run()
    assert (tmp_path / "own.safetensors").read_bytes() == b"precious"
    with pytest.raises(InvalidSetting, match="safetensors"):
        run("own.pth")
    with pytest.raises(InvalidSetting, match="pictures' folder"):
        train(places, places / "own.safetensors", Recipe(model=str(tiny)))
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(InvalidSetting, match="is a folder"):
        run("folder.safetensors", force=True)
    (tmp_path / "new.split.csv").write_text("path,group\n")
    with pytest.raises(InvalidSetting, match="list of groups"):
        run("new.safetensors", groups=tmp_path / "new.split.csv")
    assert (tmp_path / "new.split.csv").read_text() == "path,group\n"


def test_the_checkpoint_is_not_written_among_the_pictures(run: Train, places: Path) -> None:
    before = sorted(places.rglob("*"))
    with pytest.raises(InvalidSetting, match="pictures' folder"):
        run(work=places / "work")
    assert sorted(places.rglob("*")) == before


def test_where_nothing_can_be_written_no_picture_is_read(
    run: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**given: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    seen: list[Event] = []
    with pytest.raises(InvalidSetting, match=r"Nothing can be written to .*: Read-only"):
        run(on_event=seen.append)
    with pytest.raises(InvalidSetting, match="Nothing can be written"):
        run(work=tmp_path / "to" / "be" / "made")
    assert seen == []


def test_pictures_that_the_start_model_was_taught_do_not_validate(run: Train) -> None:
    first = run("first.safetensors", anyway=True)
    again = run("again.safetensors", model=str(first.model), anyway=True)
    assert again.left_out == 0  # the same seed, the same split
    with pytest.raises(TrainingRefused, match="8 are known to the start model") as caught:
        run("other.safetensors", model=str(first.model), seed=2)
    assert "--seed" in caught.value.hint
    fresh = run("other.safetensors", model=str(first.model), seed=2, from_scratch=True, anyway=True)
    assert fresh.left_out == 0


@pytest.mark.parametrize("stage", ["scanning", "validating", "describing"])
def test_it_can_be_stopped_before_the_first_step(run: Train, tmp_path: Path, stage: str) -> None:
    heard: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Advance):
            heard.append(event.stage)

    report = run(head=8, on_event=hear, stop=lambda: stage in heard)
    assert (report.status, heard[-1]) == ("interrupted", stage)
    assert list(tmp_path.iterdir()) == []


def test_it_tells_loss_and_figures_as_it_goes(run: Train) -> None:
    seen: list[Event] = []
    run(anyway=True, on_event=seen.append)
    steps = [each for each in seen if isinstance(each, Advance) and each.stage == "training"]
    epochs = [each for each in seen if isinstance(each, Epoch)]
    assert all(step.loss is not None for step in steps)
    assert steps[-1].done == steps[-1].total
    assert [epoch.number for epoch in epochs] == [1, 2]


@pytest.mark.parametrize("head", [None, 4])
@pytest.mark.parametrize("architecture", ["derived/pca", "derived/words", "onnx"])
def test_what_has_no_network_of_its_own_is_refused_before_it_is_loaded(
    run: Train, tmp_path: Path, architecture: str, head: int | None
) -> None:
    name = "start.onnx" if architecture == "onnx" else "start.safetensors"
    card = {
        **{key: tiny_card()[key] for key in ("format", "preprocess", "dim")},
        "name": "start",
        "architecture": architecture,
        "config": {} if architecture == "onnx" else {"base": "tiny", "base_fingerprint": "0" * 64},
    }
    start = tmp_path / name
    save_file({"x": torch.zeros(1)}, start, metadata={"card": json.dumps(card)})
    start.with_name(f"{name}.json").write_text(json.dumps(card))
    said = "cannot be trained" if architecture == "onnx" else "begin with tiny"
    with pytest.raises(InvalidSetting, match=said):
        run(model=str(start), head=head)
    assert not (tmp_path / "own.safetensors").exists()


def test_a_model_of_raw_vectors_is_trained_at_length_1(run: Train, tmp_path: Path) -> None:
    """Long vectors would all be near duplicates of each other, as products of two are above any cosine."""
    state = {key: each * 100 for key, each in tiny_state().items()}
    card = json.dumps(tiny_card() | {"normalisation": "none"})
    save_numpy(state, tmp_path / "raw.safetensors", metadata={"card": card})
    report = run(model=str(tmp_path / "raw.safetensors"), anyway=True, near_duplicate=0.9999)
    assert report.validation > 0
    assert registry.get(str(tmp_path / "own.safetensors")).normalisation == "l2"
