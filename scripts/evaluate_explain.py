"""Does a heat map show what carried a likeness? Hide its hottest fifth, and a fifth drawn at random.

    python scripts/evaluate_explain.py --data MINIPLACES [--pairs 100]

Each pair is a held-out picture and the nearest other one. In the query, then in the hit, the hottest 20 %
of the parts are hidden, and as many drawn at random; a map is right if the distance rises more by the
first. Prints one line of Markdown for each; docs/explain.md says how it is read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "scripts"))

from measure_distances import MAX_PIXELS, chosen_pictures, embed  # noqa: E402

from image_similarity.encoding import registry  # noqa: E402
from image_similarity.encoding.encoder import Encoder  # noqa: E402
from image_similarity.explain.occlusion import heat_of, hide, hottest  # noqa: E402
from image_similarity.pictures.prepared import decode_for  # noqa: E402

SHARE = 0.2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of MiniPlaces")
    parser.add_argument("--model", default=registry.BUILTIN, help="name, or weights file")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def rises(encoder: Encoder, here: np.ndarray, there: np.ndarray, draw: np.random.Generator):
    """By how much the distance rises with the hottest parts hidden, and with as many at random."""

    def vectors(batch: np.ndarray) -> np.ndarray:
        return encoder.encode(batch).vectors

    other = vectors(there[None])[0]
    heat = heat_of(vectors, here, other)
    hot = hottest(heat, SHARE)
    at_random = draw.permutation(hot.ravel()).reshape(hot.shape)
    views = np.stack([here, hide(here, hot), hide(here, at_random)])
    distances = np.linalg.norm(vectors(views) - other, axis=1)
    return distances[1:] - distances[0]


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    encoder = Encoder.load(registry.get(arguments.model), device="cpu")
    names, _ = chosen_pictures(arguments.data, "heldout")
    paths = [arguments.data / name for name in names]
    vectors = embed(encoder, paths)
    random = np.random.default_rng(arguments.seed)
    wanted = encoder.spec.preprocess

    def pixels(row: int) -> np.ndarray:
        return decode_for(paths[row].read_bytes(), {wanted}, max_pixels=MAX_PIXELS)[1][wanted]

    found: dict[str, list] = {"query": [], "hit": []}
    for query in tqdm(random.choice(len(paths), arguments.pairs, replace=False), disable=None):
        alike = vectors @ vectors[query]
        alike[query] = -np.inf
        one, other = pixels(int(query)), pixels(int(alike.argmax()))
        found["query"].append(rises(encoder, one, other, random))
        found["hit"].append(rises(encoder, other, one, random))
    print(
        "| map of | hottest 20 % raises more | mean rise, hottest | mean rise, random |\n|---|---|---|---|"
    )
    for which, pairs in found.items():
        hot, at_random = np.array(pairs).T
        print(
            f"| {which} | {(hot > at_random).sum()} of {len(pairs)} pairs "
            f"| {hot.mean():.3f} | {at_random.mean():.3f} |"
        )


if __name__ == "__main__":
    main()
