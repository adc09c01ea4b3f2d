"""Measure what filtering by scene loses and hides, and choose its constants.

    python scripts/measure_scene_filter.py --data MINIPLACES [--model FILE] [--choose]

A query asks for the fewest of its top-K scenes that reach a probability mass; a picture passes if
one of its own top-K scenes is among them. With --choose, K and mass are tried on the held-out
pictures: the mass is the smallest with at most 0.5 % of the edited copies lost. Without it, the
constants of the model's card are measured. Markdown on stdout; --write puts the choice in the card.
"""

from __future__ import annotations

import argparse
import bisect
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from image_similarity.training.data import (  # noqa: E402
    open_picture_cache,
    read_listing,
    split_heldout,
)
from image_similarity.training.edits import EDITS, UNCHANGED, edit_pictures  # noqa: E402
from image_similarity.training.export import Card, read_model, write_model  # noqa: E402
from image_similarity.training.metrics import run_network  # noqa: E402
from image_similarity.training.scene_filter import FilterFigures, filter_figures  # noqa: E402

WEIGHTS = ROOT / "image_similarity" / "encoding" / "weights" / "builtin.safetensors"
HELDOUT = ROOT / "scripts" / "builtin_heldout.txt"
ORIGINAL_SIZE = 128
# At most 1 % of the copies may be lost; half of that is kept for pictures unlike MiniPlaces.
MAY_LOSE = 0.005
TOP_KS = (3, 4, 5, 6, 8, 10)
MASSES = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.98, 0.99, 1.0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of MiniPlaces")
    parser.add_argument("--work", type=Path, default=ROOT / ".training", help="decoded pictures")
    parser.add_argument("--model", type=Path, default=WEIGHTS)
    parser.add_argument("--part", choices=["val", "heldout"], default="heldout")
    parser.add_argument("--choose", action="store_true", help="try every K and mass")
    parser.add_argument("--write", action="store_true", help="write the choice into the card")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def load_originals(arguments: argparse.Namespace) -> np.ndarray:
    """Return the pictures, uint8 (N, 128, 128, 3)."""
    names = read_listing(arguments.data / f"{'val' if arguments.part == 'val' else 'train'}.txt")
    chosen = names.names
    if arguments.part == "heldout":
        _, rows = split_heldout(names, HELDOUT.read_text(encoding="utf-8").split("\n")[:-1])
        chosen = tuple(names.names[row] for row in rows)
    cache = arguments.work / "cache" / f"{arguments.part}-{ORIGINAL_SIZE}-decoded.npy"
    return open_picture_cache(arguments.data, chosen, cache, size=ORIGINAL_SIZE)


def scene_probabilities(network: torch.nn.Module, card: Card, pictures: np.ndarray) -> np.ndarray:
    preprocess = card["preprocess"]
    outputs = run_network(
        network, pictures, mean=tuple(preprocess["mean"]), std=tuple(preprocess["std"])
    )
    return outputs.logits.softmax(dim=1).numpy()


def mean_figures(
    originals: np.ndarray, copies: dict[str, np.ndarray], asked: tuple[int, float], stored: int
) -> FilterFigures:
    each = [filter_figures(originals, edit, asked=asked, stored=stored) for edit in copies.values()]
    return FilterFigures(
        lost=float(np.mean([one.lost for one in each])),
        hidden=float(np.mean([one.hidden for one in each])),
    )


def choose(originals: np.ndarray, copies: dict[str, np.ndarray]) -> tuple[int, float]:
    """Return the K and mass that hide most while at most 0.5 % of the copies are lost.

    Printed for every K: the smallest mass that keeps 99.5 % of the copies, or else the mass that
    loses least.
    """
    print("| K | mass | copies lost | gallery hidden |\n|---|---|---|---|")
    best: tuple[float, int, float] | None = None
    fallback: tuple[float, int, float] | None = None
    for top_k in TOP_KS:
        # A larger mass asks for more scenes and so never loses more: the first one that will do
        # is found by halving.
        place = bisect.bisect_left(
            MASSES,
            True,
            hi=len(MASSES) - 1,
            key=lambda mass: mean_figures(originals, copies, (top_k, mass), top_k).lost <= MAY_LOSE,
        )
        mass = MASSES[place]
        found = mean_figures(originals, copies, (top_k, mass), top_k)
        print(f"| {top_k} | {mass} | {found.lost:.2%} | {found.hidden:.1%} |", flush=True)
        if found.lost <= MAY_LOSE and (best is None or found.hidden > best[0]):
            best = (found.hidden, top_k, mass)
        if fallback is None or found.lost < fallback[0]:
            fallback = (found.lost, top_k, mass)
    chosen = best or fallback
    assert chosen is not None  # noqa: S101 - TOP_KS is not empty
    print()
    return chosen[1], chosen[2]


def print_table(
    originals: np.ndarray, copies: dict[str, np.ndarray], top_k: int, mass: float
) -> None:
    print(f"K = {top_k}, mass = {mass}, {len(originals)} pictures, each edited in every way.\n")
    print("| edit | auto: lost | auto: hidden | hard: lost | hard: hidden | off: lost, hidden |")
    print("|---|---|---|---|---|---|")
    rows = {name: {name: edit} for name, edit in copies.items()} | {"mean": copies}
    for name, edits in rows.items():
        auto = mean_figures(originals, edits, (top_k, mass), top_k)
        hard = mean_figures(originals, edits, (1, 1.0), 1)
        print(
            f"| {name} | {auto.lost:.2%} | {auto.hidden:.1%} "
            f"| {hard.lost:.2%} | {hard.hidden:.1%} | 0 %, 0 % |"
        )


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    network, card = read_model(arguments.model)
    size = card["preprocess"]["size"]
    pictures = load_originals(arguments)
    copies = {}
    for name in EDITS:
        edited = edit_pictures(pictures, name, size=size, seed=arguments.seed)
        copies[name] = scene_probabilities(network, card, edited)
        print(f"edited: {name}", file=sys.stderr, flush=True)
    originals = copies.pop(UNCHANGED)
    if arguments.choose:
        top_k, mass = choose(originals, copies)
    else:
        top_k, mass = card["scene_filter"]["top_k"], card["scene_filter"]["mass"]
    print_table(originals, copies, top_k, mass)
    if arguments.write:
        write_model(
            arguments.model, network, card | {"scene_filter": {"top_k": top_k, "mass": mass}}
        )


if __name__ == "__main__":
    main()
