"""Is "about y unrelated pictures expected as close" true? Predict on some pictures, count on others.

    python scripts/evaluate_strength.py --data MINIPLACES [--part heldout|val] [--searched 500 1000]
    python scripts/evaluate_strength.py --folder FOLDER [--searched 500 1000]

With --part heldout half of the pictures make the reference tail and the other half are the case; with
--part val the shipped table of the model predicts for pictures that it has never met, and with --folder
(a folder a class) for pictures of another kind. With --scenes N the case is all held-out pictures of N
scenes, drawn at random: one of few kinds of pictures. Each picture of
the case is a query among M of the others: the greatest distance is taken at which at most y unrelated
ones are expected, and the pictures of another scene within it are counted. Printed as Markdown, for
all pictures and behind the scene filter; docs/distances.md says how the table is read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "scripts"))

from measure_distances import BATCH, MAX_PIXELS, chosen_pictures  # noqa: E402

from image_similarity.calibration.files import read_table, table_path  # noqa: E402
from image_similarity.calibration.reference import measure_distances  # noqa: E402
from image_similarity.calibration.strength import COHORT, cohort_of, expected_false  # noqa: E402
from image_similarity.encoding import registry  # noqa: E402
from image_similarity.encoding.encoder import Encoder  # noqa: E402
from image_similarity.encoding.scenes import top_scenes  # noqa: E402
from image_similarity.pictures.prepared import decode_for  # noqa: E402
from image_similarity.ranking.scenes import likely_scenes  # noqa: E402
from image_similarity.values import DistanceTable, SceneScore  # noqa: E402

EXPECTED = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# Where a number is expected is looked for in steps of this distance.
STEP = 0.0025


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", type=Path, help="folder of MiniPlaces")
    where.add_argument("--folder", type=Path, help="any pictures, in a folder for each class")
    parser.add_argument("--model", default=registry.BUILTIN, help="name, or weights file")
    parser.add_argument("--part", choices=("heldout", "val"), default="heldout")
    parser.add_argument("--searched", type=int, nargs="+", default=[500, 1000], metavar="M")
    parser.add_argument("--scenes", type=int, metavar="N", help="the case is of N scenes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def pictures(arguments: argparse.Namespace) -> tuple[list[Path], np.ndarray]:
    """The pictures and what each shows: pictures of two labels are unrelated."""
    if arguments.folder is None:
        names, labels = chosen_pictures(arguments.data, arguments.part)
        return [arguments.data / name for name in names], labels
    paths = sorted(path for path in arguments.folder.glob("*/*") if path.is_file())
    classes = sorted({path.parent for path in paths})
    return paths, np.array([classes.index(path.parent) for path in paths])


def split(
    labels: np.ndarray, scenes: int | None, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the reference pictures and of the case: halves, or some scenes against all others."""
    if scenes is None:
        order = random.permutation(len(labels))
        return order[: len(order) // 2], order[len(order) // 2 :]
    chosen = np.isin(labels, random.choice(np.unique(labels), scenes, replace=False))
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def embed(encoder: Encoder, paths: Sequence[Path]) -> tuple[np.ndarray, list[list[tuple]]]:
    """Vectors (N, D) as the store keeps them, and the stored scenes of each picture."""
    wanted, vectors, scenes = encoder.spec.preprocess, [], []
    for start in range(0, len(paths), BATCH):
        pixels = [
            decode_for(path.read_bytes(), {wanted}, max_pixels=MAX_PIXELS)[1][wanted]
            for path in paths[start : start + BATCH]
        ]
        encoded = encoder.encode(np.stack(pixels))
        vectors.append(encoded.vectors.astype(np.float16))
        scenes += [top_scenes(each, encoder.info.scene_top_k) for each in encoded.scenes]
    return np.concatenate(vectors).astype(np.float64), scenes


def counted(
    table: DistanceTable,
    case: np.ndarray,
    truth: np.ndarray,
    chosen: np.ndarray,
    passes: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each query the numbers expected at rising distances, and the unrelated pictures within them."""
    grid = np.arange(STEP, 2.0, STEP)
    for query in range(len(case)):
        others = chosen[query]
        distances = np.linalg.norm(case[others] - case[query], axis=1)
        cohort = cohort_of(distances[:COHORT])
        expected = [expected_false(table, cohort, each, len(others)) for each in grid]
        false = (truth[others] != truth[query]) & passes[query, others]
        yield np.array(expected), np.searchsorted(np.sort(distances[false]), grid, side="right")


def report(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """One line: for each number asked for, the mean number expected where it ends, and the mean counted."""
    cells = []
    for wanted in EXPECTED:
        expected, seen = 0.0, 0.0
        for predicted, found in pairs:
            last = np.searchsorted(predicted, wanted, side="right") - 1
            if last >= 0:
                expected, seen = expected + predicted[last], seen + found[last]
        cells.append(
            f"{seen / len(pairs):.2f} / {expected / len(pairs):.2f} = {seen / expected:.2f}"
        )
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    spec = registry.get(arguments.model)
    encoder = Encoder.load(spec, device="cpu")
    paths, labels = pictures(arguments)
    vectors, scenes = embed(encoder, paths)
    random = np.random.default_rng(arguments.seed)
    if arguments.folder or arguments.part == "val":
        table = read_table(table_path(spec.weights))
        if table is None or not table.tail:
            raise SystemExit(f"{spec.name} has no reference table with a tail")
    else:
        reference, case = split(labels, arguments.scenes, random)
        table = measure_distances(
            vectors[reference], labels[reference], fingerprint=encoder.info.fingerprint, made_on="half"
        )  # fmt: skip
        vectors, labels, scenes = vectors[case], labels[case], [scenes[each] for each in case]
    held = np.zeros((len(vectors), len(spec.scenes)), dtype=bool)
    likely = held.copy()
    for row, scores in enumerate(scenes):
        held[row, [position for position, _ in scores]] = True
        named = [SceneScore(str(position), share) for position, share in scores]
        mass = likely_scenes(named, encoder.info.scene_mass)
        likely[row, [int(each) for each in mass]] = True
    behind = (likely.astype(np.int32) @ held.T.astype(np.int32)) > 0
    print(f"| searched | {' | '.join(f'y {each:g}' for each in EXPECTED)} |")
    print(f"|---|{'---|' * len(EXPECTED)}")
    for searched in arguments.searched:
        chosen = np.stack(
            [
                random.choice(np.delete(np.arange(len(vectors)), query), searched, replace=False)
                for query in range(len(vectors))
            ]
        )
        for name, passes in (("all", np.ones_like(behind)), ("behind the scene filter", behind)):
            report(f"{searched:,}, {name}", list(counted(table, vectors, labels, chosen, passes)))


if __name__ == "__main__":
    main()
