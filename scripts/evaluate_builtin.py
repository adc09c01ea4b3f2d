"""Measure a model file on labelled pictures: a table on stderr, JSON on stdout.

    python scripts/evaluate_builtin.py --data MINIPLACES [--model FILE] [--part val|heldout]

Scenes: top-1 and top-5. Retrieval of the same scene, each picture asking all the others:
recall@1, precision@5, MAP@R. With --copies N, the first N pictures in every edit look for their
originals among all pictures: recall@1. `val` is for the final table only; every choice uses `heldout`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from image_similarity.encoding.networks.multiscale import MultiscaleNet  # noqa: E402
from image_similarity.training.data import (  # noqa: E402
    open_picture_cache,
    read_listing,
    split_heldout,
)
from image_similarity.training.edits import EDITS, edit_pictures  # noqa: E402
from image_similarity.training.export import Card, read_model, write_model  # noqa: E402
from image_similarity.training.metrics import copy_recall, measure, run_network  # noqa: E402

WEIGHTS = ROOT / "image_similarity" / "encoding" / "weights" / "builtin.safetensors"
HELDOUT = ROOT / "scripts" / "builtin_heldout.txt"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of MiniPlaces")
    parser.add_argument("--work", type=Path, default=ROOT / ".training", help="decoded pictures")
    parser.add_argument("--model", type=Path, default=WEIGHTS)
    parser.add_argument("--part", choices=["val", "heldout"], default="val")
    parser.add_argument("--copies", type=int, default=0, help="pictures to edit in every way")
    parser.add_argument("--size", type=int, help="try another picture size than the card's")
    parser.add_argument("--write", action="store_true", help="write the figures into the card")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def load_part(arguments: argparse.Namespace, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures, uint8 (N, size, size, 3), and their scene numbers."""
    listing = read_listing(arguments.data / ("val.txt" if arguments.part == "val" else "train.txt"))
    names, labels = listing.names, listing.labels
    if arguments.part == "heldout":
        _, rows = split_heldout(listing, HELDOUT.read_text(encoding="utf-8").split("\n")[:-1])
        names, labels = tuple(names[row] for row in rows), labels[rows]
    cache = arguments.work / "cache" / f"{arguments.part}-{size}-decoded.npy"
    return open_picture_cache(arguments.data, names, cache, size=size), labels


def copy_figures(
    network: MultiscaleNet, card: Card, pictures: np.ndarray, originals: torch.Tensor, count: int
) -> dict[str, float]:
    """Return by edit how many copies find their original first."""
    mean, std = tuple(card["preprocess"]["mean"]), tuple(card["preprocess"]["std"])
    found = {}
    for name in EDITS:
        edited = edit_pictures(pictures[:count], name, size=pictures.shape[1], seed=1)
        copies = run_network(network, edited, mean=mean, std=std).embeddings
        found[f"copy: {name}"] = copy_recall(copies, originals)
    return found


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    network, card = read_model(arguments.model)
    preprocess = card["preprocess"]
    pictures, labels = load_part(arguments, arguments.size or preprocess["size"])
    outputs = run_network(
        network, pictures, mean=tuple(preprocess["mean"]), std=tuple(preprocess["std"])
    )
    figures = dataclasses.asdict(measure(outputs, labels))
    if arguments.copies:
        figures |= copy_figures(network, card, pictures, outputs.embeddings, arguments.copies)
    for name, value in figures.items():
        print(
            f"{name:20} {value:8.4f}" if name != "pictures" else f"{name:20} {value:8}",
            file=sys.stderr,
        )
    rounded = {name: round(value, 4) for name, value in figures.items()}
    print(json.dumps({"model": card["name"], "part": arguments.part, **rounded}, sort_keys=True))
    if arguments.write:
        card["figures"][arguments.part] = rounded
        write_model(arguments.model, network, card)


if __name__ == "__main__":
    main()
