"""Train the built-in model from random weights; run again to go on after an interruption.

    python scripts/train_builtin.py --data MINIPLACES --work .training --teachers TEACHERS

MINIPLACES holds train/, val/, train.txt, val.txt and categories.txt. WORK receives decoded
pictures, teachers' outputs and checkpoints, about 4 GB. Without --teachers the network learns
from labels alone. `--export-only` writes the model of the last checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from image_similarity.encoding.networks.multiscale import MultiscaleNet  # noqa: E402
from image_similarity.training import card as model_card  # noqa: E402
from image_similarity.training.adapt import (  # noqa: E402
    adapt_normalisation,
    refit_scene_head,
    trunk_features,
)
from image_similarity.training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from image_similarity.training.data import (  # noqa: E402
    Listing,
    open_picture_cache,
    read_listing,
    read_scene_names,
    split_heldout,
)
from image_similarity.training.export import (  # noqa: E402
    fold_temperature,
    read_model,
    write_model,
)
from image_similarity.training.loop import StepReport, Trainer, TrainingSet  # noqa: E402
from image_similarity.training.metrics import (  # noqa: E402
    Figures,
    fit_temperature,
    measure,
    run_network,
)
from image_similarity.training.plan import Plan, Stage  # noqa: E402
from image_similarity.training.probe import teach_probe  # noqa: E402
from image_similarity.training.teachers import combine_teachers, open_teacher_cache  # noqa: E402

CACHE_SIZE = 128
HELDOUT = ROOT / "scripts" / "builtin_heldout.txt"
WEIGHTS = ROOT / "image_similarity" / "encoding" / "weights" / "builtin.safetensors"
# Softens the teacher's opinion: its probe has seen the pictures that it judges.
PROBE_TEMPERATURE = 1.5


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of MiniPlaces")
    parser.add_argument("--work", type=Path, default=ROOT / ".training", help="caches, checkpoints")
    parser.add_argument("--teachers", type=Path, nargs="*", default=[], help="TorchScript files")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="model file to write")
    parser.add_argument("--trunk", default="regnet_x_400mf")
    parser.add_argument(
        "--stages", default="7x64,8x96,2x128", help="EPOCHSxSIZE, comma-separated, in order"
    )
    parser.add_argument("--size", type=int, default=CACHE_SIZE, help="side of the model's input")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--start-from", type=Path, help="model file to start from")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--new-plan", action="store_true", help="go on although the checkpoint had other settings"
    )
    parser.add_argument("--note", default="", help="what the card should add about the training")
    parser.add_argument(
        "--refit-head", action="store_true", help="teach the scene head once more at the end"
    )
    parser.add_argument("--export-only", action="store_true")
    return parser.parse_args()


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def parse_stages(text: str) -> tuple[Stage, ...]:
    pairs = (part.split("x") for part in text.split(","))
    return tuple(Stage(int(epochs), int(size)) for epochs, size in pairs)


def load_training_set(
    arguments: argparse.Namespace, listing: Listing
) -> tuple[TrainingSet, np.ndarray]:
    """Return the training set, taught by the teachers if any, and the held-out rows."""
    cache = arguments.work / "cache"
    pictures = open_picture_cache(
        arguments.data,
        listing.names,
        cache / f"train-{CACHE_SIZE}.npy",
        size=CACHE_SIZE,
        progress=say,
    )
    rows, heldout = split_heldout(listing, HELDOUT.read_text(encoding="utf-8").split("\n")[:-1])
    features = soft_labels = None
    if arguments.teachers:
        outputs = [
            open_teacher_cache(path, pictures, cache / f"train-{path.stem}.npy", progress=say)
            for path in arguments.teachers
        ]
        features = combine_teachers(outputs, rows)
        if not arguments.export_only:
            soft_labels = teach_soft_labels(features, listing, rows, heldout)
    # "c": copy on write, so that torch takes the map without a warning and nobody can alter it.
    mapped = np.load(cache / f"train-{CACHE_SIZE}.npy", mmap_mode="c")
    data = TrainingSet(torch.from_numpy(mapped), listing.labels, rows, features, soft_labels)
    if arguments.device != "cpu":
        data = dataclasses.replace(data, pictures=data.pictures.to(arguments.device))
    return data, heldout


def teach_soft_labels(
    features: torch.Tensor, listing: Listing, rows: np.ndarray, heldout: np.ndarray
) -> torch.Tensor:
    """Return the teacher's scene probabilities of every picture."""
    logits = teach_probe(features, listing.labels, rows)
    right = logits.argmax(dim=1).numpy() == listing.labels
    say(f"probe: {right[rows].mean():.3f} taught, {right[heldout].mean():.3f} held out")
    return (logits / PROBE_TEMPERATURE).softmax(dim=1)


def heldout_figures(
    network: MultiscaleNet, data: TrainingSet, heldout: np.ndarray, *, plan: Plan, size: int
) -> tuple[Figures, torch.Tensor]:
    """Return the figures on the held-out pictures, and their scene logits."""
    device = next(network.parameters()).device
    rows = torch.from_numpy(heldout)
    pictures = data.pictures[rows.to(data.pictures.device)].cpu()
    outputs = run_network(
        network, pictures, mean=plan.mean, std=plan.std, size=size, device=str(device)
    )
    return measure(outputs, data.labels[heldout]), outputs.logits


def finish(trainer: Trainer, *, size: int, refit: bool) -> MultiscaleNet:
    """Return the averaged network, fitted to pictures of `size`, on the CPU."""
    network = MultiscaleNet(**trainer.network.config)
    network.load_state_dict(trainer.average.state_dict())
    network.to(memory_format=torch.channels_last)
    data, plan = trainer.data, trainer.plan
    adapt_normalisation(network, data.pictures, data.rows, size=size, plan=plan)
    if refit:
        features = trunk_features(network, data.pictures, data.rows, size=size, plan=plan)
        refit_scene_head(network, features, torch.from_numpy(data.labels[data.rows]))
    return network


def export(
    trainer: Trainer, heldout: np.ndarray, arguments: argparse.Namespace, hours: float
) -> None:
    """Fit and calibrate the averaged network, and write it with its card."""
    plan, data = trainer.plan, trainer.data
    network = finish(trainer, size=arguments.size, refit=arguments.refit_head)
    _, logits = heldout_figures(network, data, heldout, plan=plan, size=arguments.size)
    temperature = fit_temperature(logits, data.labels[heldout])
    fold_temperature(network, temperature)
    figures, _ = heldout_figures(network, data, heldout, plan=plan, size=arguments.size)
    card = model_card.make_card(
        network,
        plan,
        size=arguments.size,
        scenes=read_scene_names(arguments.data / "categories.txt"),
        training=model_card.describe_training(
            trainer,
            teachers=[path.stem for path in arguments.teachers],
            temperature=temperature,
            hours=hours,
            started_from=arguments.start_from.name if arguments.start_from else None,
            note=arguments.note,
        ),
        heldout=figures,
    )
    write_model(arguments.out, network, card)
    written = arguments.out.stat().st_size
    say(f"wrote {arguments.out.name}: {written} bytes, temperature {temperature}, {figures}")


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    listing = read_listing(arguments.data / "train.txt")
    data, heldout = load_training_set(arguments, listing)
    plan = Plan(
        stages=parse_stages(arguments.stages),
        seed=arguments.seed,
        learning_rate=arguments.learning_rate,
    )
    torch.manual_seed(plan.seed)
    network = MultiscaleNet(arguments.trunk, scenes=int(listing.labels.max()) + 1)
    if arguments.start_from:
        network, _ = read_model(arguments.start_from)
    trainer = Trainer(network, data, plan, device=arguments.device)
    checkpoint = arguments.work / "builtin.checkpoint"
    clock = arguments.work / "builtin.seconds"
    if checkpoint.exists():
        load_checkpoint(checkpoint, trainer, other_plan=arguments.new_plan)
        say(f"going on from step {trainer.step_number} of {trainer.steps}")
    spent = float(clock.read_text()) if checkpoint.exists() and clock.exists() else 0.0
    begun = time.monotonic()

    def on_step(report: StepReport) -> None:
        if report.step % 50 == 0:
            parts = " ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
            say(f"epoch {report.epoch} {report.size} px step {report.step}/{report.steps}: {parts}")
        at_end = report.step % trainer.steps_per_epoch == 0
        if at_end or report.step % 200 == 0:
            save_checkpoint(checkpoint, trainer)
            clock.write_text(str(spent + time.monotonic() - begun))
        if at_end:
            figures, _ = heldout_figures(
                trainer.average, data, heldout, plan=plan, size=report.size
            )
            say(f"held out at {report.size} px after epoch {report.epoch}: {figures}")

    if not arguments.export_only:
        trainer.run(on_step=on_step)
    export(trainer, heldout, arguments, (spent + time.monotonic() - begun) / 3600)


if __name__ == "__main__":
    main()
