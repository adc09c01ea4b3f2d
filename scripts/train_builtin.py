"""Train the built-in model from random weights; run again to go on after an interruption.

    python scripts/train_builtin.py --data MINIPLACES --work .training --teachers TEACHERS

MINIPLACES holds train.txt, categories.txt and train/, or in its place tar files named by --shards.
WORK receives decoded pictures, teachers' outputs and checkpoints, about 4 GB. Without --teachers the
network learns from labels alone. Each start is a leg: it ends with the plan, after --minutes or at
--until-step, and writes the model and its held-out figures as they are then; the next one goes on.
`--export-only` writes the model of the last checkpoint. See docs/training_builtin.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BEGUN = time.monotonic()

import numpy as np  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from image_similarity.encoding.networks.multiscale import MultiscaleNet  # noqa: E402
from image_similarity.training import card as model_card  # noqa: E402
from image_similarity.training.adapt import (  # noqa: E402
    adapt_normalisation,
    centre_embedding,
    refit_scene_head,
    trunk_features,
)
from image_similarity.training.checkpoint import load_checkpoint  # noqa: E402
from image_similarity.training.data import (  # noqa: E402
    Listing,
    open_hash_cache,
    open_picture_cache,
    read_listing,
    read_scene_names,
    split_heldout,
)
from image_similarity.training.export import (  # noqa: E402
    fold_temperature,
    read_model,
    record_golden,
    sorted_hashes,
    write_model,
)
from image_similarity.training.legs import run_leg, seconds_spent  # noqa: E402
from image_similarity.training.loop import StepReport, Trainer, TrainingSet  # noqa: E402
from image_similarity.training.metrics import (  # noqa: E402
    Figures,
    fit_temperature,
    measure,
    run_network,
)
from image_similarity.training.plan import Plan, Stage  # noqa: E402
from image_similarity.training.probe import teach_probe  # noqa: E402
from image_similarity.training.shards import open_shard_cache  # noqa: E402
from image_similarity.training.teachers import (  # noqa: E402
    PROBE_TEMPERATURE,
    combine_teachers,
    open_online_teachers,
    open_teacher_cache,
)

CACHE_SIZE = 128
HELDOUT = ROOT / "scripts" / "builtin_heldout.txt"
WEIGHTS = ROOT / "image_similarity" / "encoding" / "weights" / "builtin.safetensors"
INTERRUPTED = 130
# The class itself has no defaults to read: its slots stand in their place.
USUAL = Plan(stages=())


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What is learned from: the listed pictures, which of them are held out, the hashes of their files."""

    listing: Listing
    data: TrainingSet
    heldout: np.ndarray
    hashes: np.ndarray


def parse_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_argument_group("files")
    where.add_argument("--data", type=Path, required=True, help="folder of MiniPlaces")
    where.add_argument("--shards", type=Path, nargs="+", help="tar files that hold train/")
    where.add_argument("--work", type=Path, default=ROOT / ".training", help="caches, checkpoints")
    where.add_argument("--teachers", type=Path, nargs="*", default=[], help="TorchScript files")
    where.add_argument("--heldout", type=Path, default=HELDOUT, help="names never trained on")
    where.add_argument("--out", type=Path, default=WEIGHTS, help="model file to write")
    where.add_argument("--figures", type=Path, help="JSON to write; WORK/figures.json by default")
    what = parser.add_argument_group("the training")
    what.add_argument("--trunk", default="regnet_x_400mf")
    what.add_argument(
        "--stages", default="7x64,8x96,2x128", help="EPOCHSxSIZE, comma-separated, in order"
    )
    what.add_argument("--size", type=int, default=CACHE_SIZE, help="side of the model's input")
    what.add_argument("--decoded-size", type=int, default=CACHE_SIZE, help="side of the pictures")
    what.add_argument("--batch-scenes", type=int, default=USUAL.scenes_per_batch)
    what.add_argument("--scene-pictures", type=int, default=USUAL.pictures_per_scene)
    what.add_argument("--second-views", type=int, default=USUAL.second_views)
    what.add_argument("--seed", type=int, default=1)
    what.add_argument("--learning-rate", type=float, default=2e-3)
    what.add_argument("--start-from", type=Path, help="model file to start from")
    what.add_argument(
        "--online-teachers", action="store_true", help="ask the teachers about every view"
    )
    what.add_argument(
        "--teacher-side", type=int, default=CACHE_SIZE, help="smaller views are enlarged for them"
    )
    what.add_argument(
        "--new-plan", action="store_true", help="go on although the checkpoint had other settings"
    )
    leg = parser.add_argument_group("this leg")
    leg.add_argument("--device", default="cpu")
    leg.add_argument("--threads", type=int, default=2)
    leg.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="decode at a time")
    leg.add_argument("--minutes", type=float, help="stop training so long after the start")
    leg.add_argument("--until-step", type=int, help="stop training at this step")
    leg.add_argument("--export-only", action="store_true")
    end = parser.add_argument_group("the model")
    end.add_argument(
        "--adapt-normalisation", action="store_true", help="statistics of plain pictures"
    )
    end.add_argument("--refit-head", action="store_true", help="teach the scene head once more")
    end.add_argument("--centre", action="store_true", help="take the mean off the embedding")
    end.add_argument("--note", default="", help="what the card should add about the training")
    return parser.parse_args(given)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def parse_stages(text: str) -> tuple[Stage, ...]:
    pairs = (part.split("x") for part in text.split(","))
    return tuple(Stage(int(epochs), int(size)) for epochs, size in pairs)


def open_pictures(arguments: argparse.Namespace) -> tuple[Listing, np.ndarray, np.ndarray]:
    """Return the listed pictures, uint8 (N, S, S, 3), and the hashes of their files, uint8 (N, 8)."""
    listing, cache = read_listing(arguments.data / "train.txt"), arguments.work / "cache"
    size, workers = arguments.decoded_size, arguments.workers
    if arguments.shards:
        return open_shard_cache(
            arguments.shards, listing, cache, size=size, workers=workers, progress=say
        )
    file = cache / f"train-{size}.npy"
    pictures = open_picture_cache(
        arguments.data, listing.names, file, size=size, workers=workers, progress=say
    )
    hashes = open_hash_cache(arguments.data, listing.names, cache / "train-sha256.npy")
    return listing, pictures, hashes


def load_lesson(arguments: argparse.Namespace) -> Lesson:
    """Return the pictures, on the device, with a teacher if any is named."""
    listing, pictures, hashes = open_pictures(arguments)
    names = arguments.heldout.read_text(encoding="utf-8").split("\n")[:-1]
    if arguments.shards:
        # Some of the shards hold some of the pictures; all other names must be in the list.
        names = sorted(set(names) & set(listing.names))
    rows, heldout = split_heldout(listing, names)
    # "c": copy on write, so that torch takes the map without a warning and nobody can alter it.
    mapped = np.load(pictures.filename, mmap_mode="c")
    data = TrainingSet(torch.from_numpy(mapped), listing.labels, rows)
    if arguments.device != "cpu":
        data = dataclasses.replace(data, pictures=data.pictures.to(arguments.device))
    if arguments.teachers:
        data = take_teachers(arguments, listing, data, heldout)
    return Lesson(listing, data, heldout, hashes)


def take_teachers(
    arguments: argparse.Namespace, listing: Listing, data: TrainingSet, heldout: np.ndarray
) -> TrainingSet:
    """Return the training set with teachers that see every view, or with what they said of the plain pictures."""
    cache, names = arguments.work / "cache", [path.stem for path in arguments.teachers]
    if arguments.online_teachers:
        teacher = open_online_teachers(
            arguments.teachers,
            data.pictures,
            listing.labels,
            data.rows,
            cache / f"online-{'-'.join(names)}.safetensors",
            side=arguments.teacher_side,
            progress=say,
        )
        return dataclasses.replace(data, teacher=teacher)
    plain = data.pictures.cpu().numpy()
    part = "" if arguments.shards is None else f"{len(plain)}-"
    outputs = [
        open_teacher_cache(path, plain, cache / f"train-{part}{path.stem}.npy", progress=say)
        for path in arguments.teachers
    ]
    features = combine_teachers(outputs, data.rows)
    soft_labels = None
    if not arguments.export_only:
        soft_labels = teach_soft_labels(features, listing, data.rows, heldout)
    return dataclasses.replace(data, features=features, soft_labels=soft_labels)


def teach_soft_labels(
    features: torch.Tensor, listing: Listing, rows: np.ndarray, heldout: np.ndarray
) -> torch.Tensor:
    """Return the teacher's scene probabilities of every picture."""
    logits = teach_probe(features, listing.labels, rows)(features)
    right = logits.argmax(dim=1).numpy() == listing.labels
    say(f"probe: {right[rows].mean():.3f} taught, {right[heldout].mean():.3f} held out")
    return (logits / PROBE_TEMPERATURE).softmax(dim=1)


def make_trainer(arguments: argparse.Namespace, data: TrainingSet) -> Trainer:
    """Return the trainer at the step of its last checkpoint, or at the first."""
    plan = Plan(
        stages=parse_stages(arguments.stages),
        seed=arguments.seed,
        learning_rate=arguments.learning_rate,
        scenes_per_batch=arguments.batch_scenes,
        pictures_per_scene=arguments.scene_pictures,
        second_views=arguments.second_views,
    )
    torch.manual_seed(plan.seed)
    scenes = len(read_scene_names(arguments.data / "categories.txt"))
    network = MultiscaleNet(arguments.trunk, scenes=scenes)
    if arguments.start_from:
        network, _ = read_model(arguments.start_from)
    trainer = Trainer(network, data, plan, device=arguments.device)
    if checkpoint_of(arguments).exists():
        load_checkpoint(checkpoint_of(arguments), trainer, other_plan=arguments.new_plan)
        say(f"going on from step {trainer.step_number} of {trainer.steps}")
    return trainer


def checkpoint_of(arguments: argparse.Namespace) -> Path:
    return arguments.work / "builtin.checkpoint"


def heldout_figures(
    network: MultiscaleNet, lesson: Lesson, plan: Plan, *, size: int
) -> tuple[Figures, torch.Tensor]:
    """Return the figures on the held-out pictures, and their scene logits."""
    device = next(network.parameters()).device
    rows = torch.from_numpy(lesson.heldout)
    pictures = lesson.data.pictures[rows.to(lesson.data.pictures.device)].cpu().numpy()
    outputs = run_network(
        network, pictures, mean=plan.mean, std=plan.std, size=size, device=str(device)
    )
    return measure(outputs, lesson.data.labels[lesson.heldout]), outputs.logits


def train(trainer: Trainer, lesson: Lesson, arguments: argparse.Namespace) -> float:
    """Train one leg; return the hours of all legs so far."""
    end = BEGUN + 60 * arguments.minutes if arguments.minutes is not None else None
    interrupted, earlier = [], signal.getsignal(signal.SIGINT)

    def interrupt(*_: Any) -> None:
        # The step is finished and kept; a second Ctrl-C ends it at once.
        interrupted.append(True)
        signal.signal(signal.SIGINT, earlier)

    signal.signal(signal.SIGINT, interrupt)
    hours = run_leg(
        trainer,
        checkpoint_of(arguments),
        until=arguments.until_step,
        stop=lambda: bool(interrupted) or (end is not None and time.monotonic() >= end),
        on_step=reporter(trainer, lesson),
    )
    signal.signal(signal.SIGINT, earlier)
    if interrupted:
        say(f"interrupted at step {trainer.step_number}; the same command goes on from there")
        raise SystemExit(INTERRUPTED)
    return hours


def reporter(trainer: Trainer, lesson: Lesson) -> Callable[[StepReport], None]:
    """Return what is done after each step: now and then the losses, after each epoch the figures."""
    last = [trainer.step_number, time.monotonic()]

    def on_step(report: StepReport) -> None:
        if report.step % 50 == 0:
            parts = " ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
            now = time.monotonic()
            rate = (report.step - last[0]) / (now - last[1])
            last[:] = [report.step, now]
            left = (report.steps - report.step) / rate / 60
            where = f"epoch {report.epoch} {report.size} px step {report.step}/{report.steps}"
            say(f"{where}: {parts}; {rate:.2f} steps/s, {left:.0f} min left")
        if report.step % trainer.steps_per_epoch == 0:
            figures, _ = heldout_figures(trainer.average, lesson, trainer.plan, size=report.size)
            say(f"held out at {report.size} px after epoch {report.epoch}: {figures}")

    return on_step


def finish(trainer: Trainer, arguments: argparse.Namespace) -> MultiscaleNet:
    """Return the averaged network, fitted to pictures of the model's size, on the CPU."""
    network = MultiscaleNet(**trainer.network.config)
    network.load_state_dict(trainer.average.state_dict())
    network.to(trainer.device, memory_format=torch.channels_last)
    data, plan, size = trainer.data, trainer.plan, arguments.size
    if arguments.adapt_normalisation:
        adapt_normalisation(network, data.pictures, data.rows, size=size, plan=plan)
    if arguments.refit_head:
        features = trunk_features(network, data.pictures, data.rows, size=size, plan=plan)
        labels = torch.from_numpy(data.labels[data.rows]).to(features.device)
        refit_scene_head(network, features, labels)
    if arguments.centre:
        centre_embedding(network, data.pictures, data.rows, size=size, plan=plan)
    return network.cpu()


def export(trainer: Trainer, lesson: Lesson, arguments: argparse.Namespace, hours: float) -> None:
    """Fit and calibrate the averaged network, and write it with its card and its figures."""
    plan, size = trainer.plan, arguments.size
    network = finish(trainer, arguments)
    _, logits = heldout_figures(network, lesson, plan, size=size)
    temperature = fit_temperature(logits, lesson.data.labels[lesson.heldout])
    fold_temperature(network, temperature)
    figures, _ = heldout_figures(network, lesson, plan, size=size)
    training = model_card.describe_training(
        trainer,
        heldout=len(lesson.heldout),
        teachers=[path.stem for path in arguments.teachers],
        temperature=temperature,
        hours=hours,
        started_from=arguments.start_from.name if arguments.start_from else None,
        centred=arguments.centre,
        note=arguments.note,
    )
    scenes = read_scene_names(arguments.data / "categories.txt")
    card = model_card.make_card(
        network, plan, size=size, scenes=scenes, training=training, heldout=figures
    )
    hashes = sorted_hashes(bytes(row) for row in lesson.hashes[lesson.data.rows])
    write_model(arguments.out, network, card, training_sha256=hashes)
    record_golden(arguments.out)
    written = {
        "step": trainer.step_number,
        "steps": trainer.steps,
        "hours": round(hours, 3),
        "size": size,
        "temperature": temperature,
        "heldout": model_card.rounded(figures),
    }
    target = arguments.figures or arguments.work / "figures.json"
    target.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    say(f"wrote {arguments.out.name}: {arguments.out.stat().st_size} bytes, {written}")


def main(given: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(given)
    torch.set_num_threads(arguments.threads)
    if arguments.device != "cpu":
        # TF32 for what autocast leaves in float32, and the fastest kernels for sizes that stay.
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    lesson = load_lesson(arguments)
    trainer = make_trainer(arguments, lesson.data)
    if arguments.export_only:
        hours = seconds_spent(checkpoint_of(arguments)) / 3600
    else:
        hours = train(trainer, lesson, arguments)
    export(trainer, lesson, arguments, hours)


if __name__ == "__main__":
    main()
