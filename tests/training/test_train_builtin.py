"""The built-in model's recipe, from tar files to a model, on a dozen small pictures: what a GPU gets is proved here."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from image_similarity import golden
from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.training_hashes import read_training_hashes
from image_similarity.training import legs
from image_similarity.training.data import open_hash_cache, read_listing
from image_similarity.training.loop import StepReport
from image_similarity.training.shards import open_shard_cache
from image_similarity.training.teachers import open_online_teachers
from tests.training.training_samples import PER_SCENE, SCENES, sample_pictures, sample_trainer

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
Train = Callable[..., Any]

# TorchScript is deprecated, but is what the teachers came in.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")


class Glance(nn.Module):
    """A teacher: the picture's mean colours in 4 x 4 cells, as a unit vector."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        cells = nn.functional.adaptive_avg_pool2d(pictures, (4, 4)).flatten(1)
        return nn.functional.normalize(cells, dim=1)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MiniPlaces of 32 pictures: folders, the same in two shards, lists, and a teacher."""
    root = tmp_path_factory.mktemp("places")
    pictures, labels = sample_pictures()
    lines = []
    for row, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        name = f"train/s/scene{label}/{row:04d}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / name)
        lines.append(f"{name} {label}")
    (root / "train.txt").write_text("\n".join(lines) + "\n")
    (root / "categories.txt").write_text("".join(f"/s/scene{n} {n}\n" for n in range(SCENES)))
    heldout = [line.split()[0] for line in lines[::PER_SCENE] + lines[1::PER_SCENE]]
    (root / "heldout.txt").write_text("\n".join(sorted(heldout)) + "\n")
    # Shuffled across scenes, as the real ones are, with one that no list names.
    names = [line.split()[0] for line in lines]
    for number in range(2):
        with tarfile.open(root / f"train-{number}.tar", "w") as shard:
            for name in [*names[number::2], "train/s/scene0/unlisted.png"]:
                data = (root / names[0] if "unlisted" in name else root / name).read_bytes()
                member = tarfile.TarInfo(name)
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    torch.jit.script(Glance()).save(str(root / "glance.ts"))
    return root


@pytest.fixture
def train(places: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """A function `train(work, *options)` that runs a tiny setting of scripts/train_builtin.py."""
    monkeypatch.syspath_prepend(SCRIPTS)
    script = importlib.import_module("train_builtin")
    threads = torch.get_num_threads()
    monkeypatch.setattr(script, "BEGUN", legs.time.monotonic())

    def run(work: Path, *options: object) -> None:
        files = ["--data", places, "--heldout", places / "heldout.txt", "--work", work]
        tiny = ["--stages", "3x32", "--size", "32", "--decoded-size", "32", "--seed", "3"]
        batch = ["--batch-scenes", "4", "--scene-pictures", "2", "--second-views", "2"]
        rest = ["--out", work / "model.safetensors", "--workers", "1", "--threads", str(threads)]
        script.main([str(each) for each in (*files, *tiny, *batch, *rest, *options)])

    return run


def from_shards(places: Path) -> list[object]:
    shards = ["--shards", places / "train-0.tar", places / "train-1.tar"]
    teacher = ["--teachers", places / "glance.ts", "--online-teachers", "--teacher-side", "48"]
    return [*shards, *teacher]


def state_of(work: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(work / "builtin.checkpoint", weights_only=True)["state"]
    return content


def test_legs_from_shards_with_online_teachers_equal_one_undisturbed_training(
    train: Train, places: Path, tmp_path: Path
) -> None:
    options = from_shards(places)
    train(tmp_path / "whole", *options)
    train(tmp_path / "legs", *options, "--minutes", "0")
    assert state_of(tmp_path / "legs")["step"] == 0
    train(tmp_path / "legs", *options, "--until-step", "4", "--centre")
    assert state_of(tmp_path / "legs")["step"] == 4
    figures = json.loads((tmp_path / "legs" / "figures.json").read_text())
    assert (figures["step"], figures["steps"], figures["heldout"]["pictures"]) == (4, 9, 8)
    train(tmp_path / "legs", *options)
    whole, parts = state_of(tmp_path / "whole"), state_of(tmp_path / "legs")
    assert parts["step"] == whole["step"] == 9
    for kept in ("network", "average", "projector"):
        assert all(torch.equal(whole[kept][name], parts[kept][name]) for name in whole[kept]), kept
    first, second = ((tmp_path / each / "model.safetensors") for each in ("whole", "legs"))
    assert read_training_hashes(first).tolist() == read_training_hashes(second).tolist()


def test_a_leg_leaves_a_model_that_works_and_says_what_it_was_taught(
    train: Train, places: Path, tmp_path: Path
) -> None:
    train(tmp_path, *from_shards(places), "--until-step", "1", "--centre", "--refit-head")
    spec = registry.get(str(tmp_path / "model.safetensors"))
    encoder = Encoder.load(spec, device="cpu")
    assert golden.check(encoder) == len(golden.FILES) + 1
    assert spec.scenes == ("scene0", "scene1", "scene2", "scene3")
    listing = read_listing(places / "train.txt")
    heldout = set((places / "heldout.txt").read_text().split())
    names = [name for name in listing.names if name not in heldout]
    wanted = open_hash_cache(places, names, tmp_path / "wanted.npy")
    found = read_training_hashes(tmp_path / "model.safetensors")
    assert found is not None
    assert [bytes(row) for row in found] == sorted(bytes(row) for row in wanted)


def test_folders_and_shards_give_the_same_training(
    train: Train, places: Path, tmp_path: Path
) -> None:
    teacher = ["--teachers", places / "glance.ts", "--until-step", "2"]
    train(tmp_path / "folder", *teacher)
    train(tmp_path / "shards", *teacher, *from_shards(places)[:3])
    folder, shards = state_of(tmp_path / "folder"), state_of(tmp_path / "shards")
    assert all(torch.equal(folder["network"][n], shards["network"][n]) for n in folder["network"])


def test_only_exporting_trains_no_step(train: Train, places: Path, tmp_path: Path) -> None:
    train(tmp_path, "--until-step", "1")
    (tmp_path / "model.safetensors").unlink()
    train(tmp_path, "--export-only")
    assert state_of(tmp_path)["step"] == 1
    assert read_training_hashes(tmp_path / "model.safetensors") is not None


# --- shards ---------------------------------------------------------------------------------


def test_one_shard_gives_its_part_of_the_list_in_the_lists_order(
    places: Path, tmp_path: Path
) -> None:
    listing = read_listing(places / "train.txt")
    part, pictures, hashes = open_shard_cache(
        [places / "train-1.tar"], listing, tmp_path, size=32, workers=1
    )
    assert part.names == listing.names[1::2]
    assert np.array_equal(part.labels, listing.labels[1::2])
    assert np.array_equal(pictures, sample_pictures()[0][1::2])
    assert np.array_equal(hashes, open_hash_cache(places, part.names, tmp_path / "hashes.npy"))


def test_several_processes_decode_the_same_once(places: Path, tmp_path: Path) -> None:
    listing, said = read_listing(places / "train.txt"), []
    shards = [places / "train-0.tar", places / "train-1.tar"]
    for _ in range(2):
        _, pictures, _ = open_shard_cache(
            shards, listing, tmp_path, size=32, workers=2, progress=said.append
        )
        assert np.array_equal(pictures, sample_pictures()[0])
    assert said == ["decoded 32 of 32 pictures"]
    assert not list(tmp_path.glob("*.partial"))


def test_shards_of_another_set_are_refused(places: Path, tmp_path: Path) -> None:
    listing = read_listing(places / "train.txt")
    other = dataclasses.replace(listing, names=tuple(f"other/{name}" for name in listing.names))
    with pytest.raises(ValueError, match="none of the listed"):
        open_shard_cache([places / "train-0.tar"], other, tmp_path, size=32)


# --- teachers that see every view -----------------------------------------------------------


def test_an_online_teacher_is_centred_and_knows_the_scenes(places: Path, tmp_path: Path) -> None:
    pictures, labels = sample_pictures()
    rows = np.arange(len(labels), dtype=np.int64)
    options = {"cache": tmp_path / "kept.safetensors", "side": 32}
    teachers = [places / "glance.ts", places / "glance.ts"]
    teacher = open_online_teachers(teachers, torch.from_numpy(pictures), labels, rows, **options)
    views = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    features, soft_labels = teacher(views)
    assert features.shape == (len(labels), teacher.width) == (len(labels), 96)
    assert torch.allclose(features.norm(dim=1), torch.ones(len(labels)), atol=1e-5)
    assert features.mean(dim=0).norm() < 0.3
    assert torch.allclose(soft_labels.sum(dim=1), torch.ones(len(labels)), atol=1e-5)
    before = (tmp_path / "kept.safetensors").stat().st_mtime_ns
    again = open_online_teachers(teachers, torch.from_numpy(pictures), labels, rows, **options)
    assert (tmp_path / "kept.safetensors").stat().st_mtime_ns == before
    assert torch.equal(again(views)[1], soft_labels)
    open_online_teachers(teachers, torch.from_numpy(pictures), labels, rows[:16], **options)
    assert (tmp_path / "kept.safetensors").stat().st_mtime_ns > before


# --- legs -----------------------------------------------------------------------------------


def test_a_checkpoint_is_written_every_two_minutes_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(
        legs, "save_checkpoint", lambda path, trainer: saved.append(trainer.step_number)
    )
    now = [0.0]

    def on_step(report: StepReport) -> None:
        now[0] += 50

    trainer = sample_trainer()
    hours = legs.run_leg(
        trainer, tmp_path / "a.checkpoint", until=7, on_step=on_step, clock=lambda: now[0]
    )
    assert saved == [3, 6, 7]
    assert hours == pytest.approx(350 / 3600)
    # Without a checkpoint the time on record belongs to another training.
    assert legs.seconds_spent(tmp_path / "a.checkpoint") == 0
    (tmp_path / "a.checkpoint").touch()
    assert legs.seconds_spent(tmp_path / "a.checkpoint") == 350


def test_a_stopped_training_ends_between_two_steps() -> None:
    trainer = sample_trainer()
    trainer.run(stop=lambda: trainer.step_number == 2)
    assert trainer.step_number == 2
