"""Make the reference table of a model's distances: how often different pictures come as close as a hit.

    python scripts/measure_distances.py --data MINIPLACES [--model NAME|FILE] [--part heldout|val] [--write]

Reads the held-out pictures as the program itself does, pairs them at random so that none stands in
two pairs of a kind, and prints the table as Markdown. --write puts it beside the weights, as
WEIGHTS.distances.json, so that these keep their fingerprint. docs/distances.md says how it is read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from image_similarity.calibration.files import table_path, write_table  # noqa: E402
from image_similarity.calibration.reference import as_close, measure_distances  # noqa: E402
from image_similarity.encoding import registry  # noqa: E402
from image_similarity.encoding.encoder import Encoder  # noqa: E402
from image_similarity.pictures.prepared import decode_for  # noqa: E402
from image_similarity.reports.meaning import as_close_text, reference_text  # noqa: E402
from image_similarity.training.data import read_listing, split_heldout  # noqa: E402
from image_similarity.values import DistanceTable  # noqa: E402

HELDOUT = ROOT / "scripts" / "builtin_heldout.txt"
MADE_ON = {
    "heldout": "{} held-out pictures of MiniPlaces train, 100 scenes",
    "val": "the {} pictures of MiniPlaces val, 100 scenes",
}
BATCH = 64
MAX_PIXELS = 10_000_000


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of MiniPlaces")
    parser.add_argument("--model", default=registry.BUILTIN, help="name, or weights file")
    parser.add_argument("--part", choices=sorted(MADE_ON), default="heldout")
    parser.add_argument("--write", action="store_true", help="put the table beside the weights")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing of pairs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def chosen_pictures(data: Path, part: str) -> tuple[Sequence[str], np.ndarray]:
    """Return names and scenes of the pictures that the model was not trained on."""
    listing = read_listing(data / f"{'val' if part == 'val' else 'train'}.txt")
    if part == "val":
        return listing.names, listing.labels
    _, rows = split_heldout(listing, HELDOUT.read_text(encoding="utf-8").split("\n")[:-1])
    return [listing.names[row] for row in rows], listing.labels[rows]


def embed(encoder: Encoder, paths: Sequence[Path]) -> np.ndarray:
    """Return the vectors (N, D) of picture files, prepared as for a database."""
    wanted = encoder.spec.preprocess
    vectors = []
    for start in tqdm(range(0, len(paths), BATCH), unit_scale=BATCH, unit="picture", disable=None):
        pixels = [
            decode_for(path.read_bytes(), {wanted}, max_pixels=MAX_PIXELS)[1][wanted]
            for path in paths[start : start + BATCH]
        ]
        encoded = encoder.encode(np.stack(pixels))
        if encoded.vectors is None or not encoded.finite.all():
            raise SystemExit(f"{encoder.spec.name} gives no vector for some of the pictures")
        vectors.append(encoded.vectors)
    return np.concatenate(vectors)


def print_table(table: DistanceTable, model: str) -> None:
    """Print every fifth hundredth, up to where all unrelated pairs are nearer."""
    print(f"{reference_text(table, model)}.\n\n| distance | what it means |\n|---|---|")
    for step in range(0, 201, 5):
        found = as_close(table, step / 100)
        print(f"| {step / 100:.2f} | {as_close_text(found)} |")
        if found.unrelated.count == found.unrelated.pairs:
            break


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    spec = registry.get(arguments.model)
    encoder = Encoder.load(spec, device=arguments.device)
    names, labels = chosen_pictures(arguments.data, arguments.part)
    table = measure_distances(
        embed(encoder, [arguments.data / name for name in names]),
        labels,
        fingerprint=encoder.info.fingerprint,
        made_on=MADE_ON[arguments.part].format(f"{len(names):,}"),
        seed=arguments.seed,
    )
    print_table(table, spec.name)
    if arguments.write and spec.weights is not None:
        target = table_path(spec.weights)
        write_table(target, table)
        print(f"written: {target}", file=sys.stderr)


if __name__ == "__main__":
    main()
