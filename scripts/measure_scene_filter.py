"""Choose how many scenes the filter stores and asks for, on the held-out pictures.

    python scripts/measure_scene_filter.py --data MINIPLACES [--model FILE] [--sample N] [--write]

A query asks for the fewest of its top-K scenes that reach a probability mass; a picture passes if one of its own top-K
scenes is among them. For each K, the smallest mass is taken that loses at most 0.5 % of the copies under the easy edits
of `image-similarity evaluate`, and of these the K that hides most. Markdown on stdout; --write puts the choice in the
card. What the chosen filter does to other pictures, `image-similarity evaluate --edits easy` says.
"""

from __future__ import annotations

import argparse
import bisect
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from image_similarity.encoding.card import read_card  # noqa: E402
from image_similarity.evaluation.edits import EASY  # noqa: E402
from image_similarity.evaluation.embedders import load_embedders  # noqa: E402
from image_similarity.evaluation.reading import Account, embed_copies  # noqa: E402
from image_similarity.evaluation.scene_filter import FilterFigures, filter_figures  # noqa: E402
from image_similarity.evaluation.sources import read_pictures  # noqa: E402
from image_similarity.events import Progress  # noqa: E402
from image_similarity.training.export import rewrite_card  # noqa: E402

WEIGHTS = ROOT / "image_similarity" / "encoding" / "weights" / "builtin.safetensors"
HELDOUT = ROOT / "scripts" / "builtin_heldout.txt"
# At most 1 % of the copies may be lost; half of that is kept for pictures unlike MiniPlaces.
MAY_LOSE = 0.005
TOP_KS = (3, 4, 5, 6, 8, 10, 12)
MASSES = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.98, 0.99, 1.0)

Copies = dict[str, tuple[np.ndarray, np.ndarray]]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of MiniPlaces")
    parser.add_argument("--model", type=Path, default=WEIGHTS)
    parser.add_argument("--sample", type=int, help="use only so many of the pictures")
    parser.add_argument("--write", action="store_true", help="write the choice into the card")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def scene_probabilities(arguments: argparse.Namespace) -> Copies:
    """Return by edit the probabilities of the originals and of their copies, both (N, C) and in one order."""
    files, failures = read_pictures(HELDOUT, root=arguments.data)
    if failures:
        sys.exit(f"{len(failures)} held-out pictures are not in {arguments.data}")
    if arguments.sample:
        order = np.random.default_rng(arguments.seed).permutation(len(files))
        files = [files[row] for row in sorted(order[: arguments.sample])]

    def say(event: object) -> None:
        if isinstance(event, Progress) and (event.done // 32) % 50 == 0:
            print(f"{event.done} of {event.total}", file=sys.stderr, flush=True)

    embedders = load_embedders([str(arguments.model)], device="cpu")
    found = embed_copies(
        files,
        EASY,
        embedders,
        Account(say),
        what="held-out pictures",
        side=None,
        seed=arguments.seed,
    )
    originals, copies = found.originals[0].scenes, found.copies[0].scenes
    assert originals is not None and copies is not None  # noqa: S101 - the built-in model knows scenes
    place = {int(row): at for at, row in enumerate(found.rows)}
    names = np.array(found.edits)
    return {
        edit: (
            originals[[place[int(row)] for row in found.sources[names == edit]]],
            copies[names == edit],
        )
        for edit in EASY
    }


def mean_figures(copies: Copies, asked: tuple[int, float], stored: int) -> FilterFigures:
    each = [filter_figures(*pair, asked=asked, stored=stored) for pair in copies.values()]
    return FilterFigures(
        lost=float(np.mean([one.lost for one in each])),
        hidden=float(np.mean([one.hidden for one in each])),
    )


def choose(copies: Copies) -> tuple[int, float]:
    """Return the K and mass that hide most while at most 0.5 % of the copies are lost.

    Printed for every K: the smallest mass that keeps 99.5 % of the copies, or else the mass that loses least.
    """
    print("| K | mass | copies lost | gallery hidden |\n|---|---|---|---|")
    tried: list[tuple[FilterFigures, int, float]] = []
    for top_k in TOP_KS:
        # A larger mass asks for more scenes and so never loses more: the first one that will do is found by halving.
        place = bisect.bisect_left(
            MASSES,
            True,
            hi=len(MASSES) - 1,
            key=lambda mass: mean_figures(copies, (top_k, mass), top_k).lost <= MAY_LOSE,
        )
        found = mean_figures(copies, (top_k, MASSES[place]), top_k)
        print(f"| {top_k} | {MASSES[place]} | {found.lost:.2%} | {found.hidden:.1%} |", flush=True)
        tried.append((found, top_k, MASSES[place]))
    good = [each for each in tried if each[0].lost <= MAY_LOSE]
    if good:
        return max(good, key=lambda each: each[0].hidden)[1:]
    return min(tried, key=lambda each: each[0].lost)[1:]


def print_table(copies: Copies, top_k: int, mass: float) -> None:
    count = len(next(iter(copies.values()))[0])
    print(f"\nK = {top_k}, mass = {mass}, {count} pictures, each edited in every way.\n")
    print("| edit | auto: lost | auto: hidden | hard: lost | hard: hidden |\n|---|---|---|---|---|")
    for name, edits in {
        **{name: {name: pair} for name, pair in copies.items()},
        "mean": copies,
    }.items():
        auto = mean_figures(edits, (top_k, mass), top_k)
        hard = mean_figures(edits, (1, 1.0), 1)
        print(
            f"| {name} | {auto.lost:.2%} | {auto.hidden:.1%} | {hard.lost:.2%} | {hard.hidden:.1%} |"
        )


def main() -> None:
    arguments = parse_arguments()
    copies = scene_probabilities(arguments)
    top_k, mass = choose(copies)
    print_table(copies, top_k, mass)
    if arguments.write:
        card = read_card(arguments.model)
        assert card is not None  # noqa: S101 - it was loaded
        rewrite_card(arguments.model, card | {"scene_filter": {"top_k": top_k, "mass": mass}})


if __name__ == "__main__":
    main()
