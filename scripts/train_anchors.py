"""Train three architectures alike and briefly, to compare the built-in model's with others.

    python scripts/train_anchors.py --data MINIPLACES --work .training --out ANCHORS

Each starts from random weights and sees the same views in the same order for two epochs at 128 px:
the built-in model's network, the same with a ResNet18 trunk, and DeepRanking as widely copied. The
model files in ANCHORS go into `image-similarity evaluate -m FILE`. `--pictures` takes a part of the
training pictures, as DeepRanking multiplies forty times as often as the built-in network.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from train_builtin import CACHE_SIZE, HELDOUT, say, teach_soft_labels  # noqa: E402

from image_similarity.encoding.networks.deepranking import DeepRankingNet  # noqa: E402
from image_similarity.encoding.networks.multiscale import MultiscaleNet  # noqa: E402
from image_similarity.training.data import (  # noqa: E402
    open_picture_cache,
    read_listing,
    read_scene_names,
    split_heldout,
)
from image_similarity.training.export import write_model  # noqa: E402
from image_similarity.training.loop import StepReport, Trainer, TrainingSet  # noqa: E402
from image_similarity.training.plan import Plan, Stage  # noqa: E402
from image_similarity.training.teachers import combine_teachers, open_teacher_cache  # noqa: E402

SIDE = 128
# Architecture, network, learning rate: VGG16 has no normalisation layers and diverges at the others' rate.
ANCHORS: dict[str, tuple[str, Callable[[], Any], float]] = {
    "ours": ("multiscale/regnet_x_400mf", MultiscaleNet, 2e-3),
    "resnet18": ("multiscale/resnet18", lambda: MultiscaleNet("resnet18"), 2e-3),
    "deepranking": ("deepranking", DeepRankingNet, 2e-4),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of MiniPlaces")
    parser.add_argument("--work", type=Path, default=ROOT / ".training", help="caches")
    parser.add_argument("--teacher", type=Path, required=True, help="TorchScript file")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model files")
    parser.add_argument("--only", choices=sorted(ANCHORS), action="append")
    parser.add_argument("--pictures", type=int, default=57_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def load(arguments: argparse.Namespace) -> TrainingSet:
    """Return the built-in model's training set, cut to the same share of every scene."""
    listing = read_listing(arguments.data / "train.txt")
    heldout = HELDOUT.read_text(encoding="utf-8").split("\n")[:-1]
    rows, held = split_heldout(listing, heldout)
    cache = arguments.work / "cache"
    pictures = open_picture_cache(
        arguments.data,
        listing.names,
        cache / f"train-{CACHE_SIZE}.npy",
        size=CACHE_SIZE,
        progress=say,
    )
    teacher = arguments.teacher
    outputs = open_teacher_cache(teacher, pictures, cache / f"train-{teacher.stem}.npy")
    features = combine_teachers([outputs], rows)
    soft_labels = teach_soft_labels(features, listing, rows, held)
    scenes = np.unique(listing.labels)
    share = arguments.pictures // len(scenes)
    chosen = np.concatenate([rows[listing.labels[rows] == scene][:share] for scene in scenes])
    mapped = np.load(cache / f"train-{CACHE_SIZE}.npy", mmap_mode="c")
    return TrainingSet(
        torch.from_numpy(mapped), listing.labels, np.sort(chosen), features, soft_labels
    )


def train(name: str, data: TrainingSet, arguments: argparse.Namespace) -> None:
    """Train one architecture and write its model file."""
    architecture, build, rate = ANCHORS[name]
    plan = Plan(stages=(Stage(arguments.epochs, SIDE),), learning_rate=rate)
    steps = arguments.epochs * len(data.rows) // (plan.scenes_per_batch * plan.pictures_per_scene)
    plan = dataclasses.replace(plan, warm_up_steps=min(plan.warm_up_steps, steps // 8 + 1))
    torch.manual_seed(plan.seed)
    begun = time.monotonic()

    def on_step(report: StepReport) -> None:
        if report.step % 10 == 0:
            total = sum(report.losses.values())
            say(f"{name} step {report.step}/{report.steps}: loss {total:.3f}")

    trainer = Trainer(build(), data, plan)
    trainer.run(on_step=on_step)
    minutes = (time.monotonic() - begun) / 60
    views = trainer.step_number * (
        plan.scenes_per_batch * plan.pictures_per_scene + plan.second_views
    )
    card = {
        "format": 1,
        "name": f"anchor-{name}",
        "architecture": architecture,
        "config": dict(trainer.network.config),
        "dim": trainer.network.config["dim"],
        "preprocess": {"size": SIDE, "mean": list(plan.mean), "std": list(plan.std)},
        "scenes": list(read_scene_names(arguments.data / "categories.txt")),
        "origin": f"scripts/train_anchors.py: {views} views of {len(data.rows)} pictures",
        "training": {"recipe": dataclasses.asdict(plan), "minutes": round(minutes, 1)},
    }
    write_model(arguments.out / f"{name}.safetensors", trainer.average, card)
    say(f"{name}: {views} views in {minutes:.1f} minutes, {views / minutes / 60:.0f} views/s")


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    data = load(arguments)
    for name in arguments.only or ANCHORS:
        train(name, data, arguments)


if __name__ == "__main__":
    main()
