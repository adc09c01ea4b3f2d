"""Evaluate the geometric check: does it tell the same room, seen from elsewhere, from another room?

    python scripts/evaluate_geometry.py [--photos FOLDER] [--houses 12] [--rooms 4]

Draws rooms (rendered_rooms.py), compares each one's first view with later views of it and of the others, and prints
tables in Markdown: inliers of the geometric check beside the distance of the built-in model, with 95 % intervals
resampled over rooms. With --photos also cut-outs and tilted copies of photographs. docs/matching.md has the result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rendered_rooms import make_room, recompressed, view
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from image_similarity.calibration.reference import share  # noqa: E402
from image_similarity.encoding import registry  # noqa: E402
from image_similarity.encoding.encoder import Encoder  # noqa: E402
from image_similarity.matching import geometry  # noqa: E402
from image_similarity.pictures.pixels import prepare  # noqa: E402

# Degrees between the two places, as seen from what both look at.
ANGLES = {"10 to 20": (10, 20), "25 to 35": (25, 35), "40 to 55": (40, 55)}
RESAMPLES = 1000
FALSE_SHARE = 0.01
SEED = 20261121
PHOTO_OTHERS = 20
COUNTS = (10, 15, 20, 30, 50)


@dataclass(frozen=True)
class Seen:
    """A picture as the two ways to compare see it."""

    features: geometry.Features
    vector: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures: the groups of either side, and how alike they are by inliers and by distance."""

    ones: np.ndarray
    others: np.ndarray
    inliers: np.ndarray
    nearness: np.ndarray


class Eye:
    """Looks at pictures."""

    def __init__(self) -> None:
        self._encoder = Encoder.load(registry.get(registry.BUILTIN), device="cpu")

    def see(self, picture: Image.Image) -> Seen:
        pixels = prepare(picture, self._encoder.spec.preprocess)
        encoded = self._encoder.encode(pixels[None])
        if encoded.vectors is None:
            raise SystemExit("the built-in model gave no vector")
        return Seen(
            geometry.features(prepare(picture, geometry.PREPROCESS)), encoded.vectors[0].copy()
        )


def compared(pairs: Sequence[tuple[int, Seen, int, Seen]]) -> Pairs:
    """Compare pairs (group, picture, group, picture) in both ways."""
    found = [
        (
            one_group,
            other_group,
            geometry.compare(one.features, other.features).inliers,
            -float(np.linalg.norm(one.vector - other.vector)),
        )
        for one_group, one, other_group, other in tqdm(pairs, disable=None, unit="pair")
    ]
    ones, others, inliers, nearness = (np.array(column) for column in zip(*found, strict=True))
    return Pairs(ones, others, inliers.astype(float), nearness)


def measures(
    same: np.ndarray, same_weights: np.ndarray, other: np.ndarray, other_weights: np.ndarray
) -> tuple[float, float]:
    """The area under the ROC curve (ties count half), and the recall where 1 % of the others pass."""
    levels = np.unique(np.concatenate([same, other]))
    right = np.bincount(np.searchsorted(levels, same), same_weights, len(levels))
    wrong = np.bincount(np.searchsorted(levels, other), other_weights, len(levels))
    right, wrong = right / right.sum(), wrong / wrong.sum()
    below = np.cumsum(wrong) - wrong
    area = float((right * (below + wrong / 2)).sum())
    passing_wrong, passing_right = np.cumsum(wrong[::-1])[::-1], np.cumsum(right[::-1])[::-1]
    allowed = passing_wrong <= FALSE_SHARE + 1e-12
    return area, float(passing_right[allowed].max(initial=0.0))


def with_intervals(same: Pairs, other: Pairs, by: str, groups: int) -> list[str]:
    """Both measures with percentile-bootstrap intervals over groups, as text."""
    random = np.random.default_rng(SEED)
    one, two = getattr(same, by), getattr(other, by)
    value = measures(one, np.ones(len(one)), two, np.ones(len(two)))
    drawn = []
    for _ in range(RESAMPLES):
        weights = np.bincount(random.integers(0, groups, groups), minlength=groups).astype(float)
        kept, wrong = weights[same.ones], weights[other.ones] * weights[other.others]
        if kept.sum() and wrong.sum():
            drawn.append(measures(one, kept, two, wrong))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return [
        f"{100 * value[0]:.1f} % ({100 * low[0]:.1f} to {100 * high[0]:.1f})",
        f"{100 * value[1]:.0f} % ({100 * low[1]:.0f} to {100 * high[1]:.0f})",
    ]


def table(rows: Sequence[tuple[str, Pairs, Pairs]], groups: int) -> None:
    print(
        "\n| pairs | AUC, inliers | AUC, distance | recall at 1 % false, inliers | the same, distance |"
    )
    print("|---|---|---|---|---|")
    for name, same, other in rows:
        area, recall = with_intervals(same, other, "inliers", groups)
        far_area, far_recall = with_intervals(same, other, "nearness", groups)
        print(f"| {name} | {area} | {far_area} | {recall} | {far_recall} |", flush=True)


def counts(rows: Sequence[tuple[str, Pairs]]) -> None:
    heads = " | ".join(f"{count} or more" for count in COUNTS)
    print(f"\n| pairs | number | median | most | {heads} |")
    print(f"|---|---|---|---|{'---|' * len(COUNTS)}")
    for name, pairs in rows:
        shares = " | ".join(f"{100 * (pairs.inliers >= count).mean():.1f} %" for count in COUNTS)
        print(
            f"| {name} | {len(pairs.inliers):,} | {np.median(pairs.inliers):.0f} | "
            f"{pairs.inliers.max():.0f} | {shares} |"
        )


def rooms(eye: Eye, houses: int, per_house: int) -> None:
    total = houses * per_house
    firsts, later = [], {name: [] for name in ANGLES}
    for number in tqdm(range(total), disable=None, unit="room"):
        room = make_room(*divmod(number, per_house))
        random = np.random.default_rng([SEED, number])
        start = random.uniform(-10, 10)
        firsts.append(eye.see(view(room, angle=start, seed=number * 10)))
        for at, (name, (low, high)) in enumerate(ANGLES.items(), start=1):
            # To the side on which the camera then stands nearer to the middle.
            angle = start - np.copysign(random.uniform(low, high), start)
            later[name].append(eye.see(view(room, angle=angle, seed=number * 10 + at)))
    middle = later["25 to 35"]
    numbers = range(total)
    elsewhere = compared(
        [(i, firsts[i], j, middle[j]) for i in numbers for j in numbers if i // per_house != j // per_house]
    )  # fmt: skip
    beside = compared(
        [
            (i, firsts[i], j, pictures[j])
            for pictures in later.values()
            for i in numbers
            for j in numbers
            if i != j and i // per_house == j // per_house
        ]
    )
    same = {
        name: compared([(i, firsts[i], i, pictures[i]) for i in numbers])
        for name, pictures in later.items()
    }
    print(f"\n{total} rooms of {houses} houses; against rooms of other houses:")
    table([(f"{name} degrees apart", pairs, elsewhere) for name, pairs in same.items()], total)
    print("\nAgainst other rooms of the same house:")
    table([(f"{name} degrees apart", pairs, beside) for name, pairs in same.items()], total)
    counts(
        [
            *((f"same room, {name} degrees", pairs) for name, pairs in same.items()),
            ("rooms of two houses", elsewhere),
            ("two rooms of a house", beside),
        ]
    )
    print("\n| the first of all rooms is the same room | by inliers | by distance |\n|---|---|---|")
    for name, pictures in later.items():
        found = compared([(i, firsts[i], j, pictures[j]) for i in numbers for j in numbers])
        shares = [
            share(int((ranked(getattr(found, by), total) == np.arange(total)).sum()), total)
            for by in ("inliers", "nearness")
        ]
        texts = [
            f"{each.count} of {total} ({100 * each.low:.0f} to {100 * each.high:.0f} %)"
            for each in shares
        ]
        print(f"| {name} degrees apart | {' | '.join(texts)} |")


def ranked(likeness: np.ndarray, total: int) -> np.ndarray:
    """The picture that stands first for each query."""
    first: np.ndarray = likeness.reshape(total, total).argmax(axis=1)
    return first


def cut_out(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """A part with a quarter to a half of the area, at its own size."""
    share = np.sqrt(random.uniform(0.25, 0.5))
    width, height = int(picture.width * share), int(picture.height * share)
    left = int(random.integers(0, picture.width - width + 1))
    top = int(random.integers(0, picture.height - height + 1))
    return recompressed(picture.crop((left, top, left + width, top + height)), 70)


def tilted(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """The picture as a print that is seen from 35 to 55 degrees to a side."""
    width, height = picture.size
    turn = np.radians(random.uniform(35, 55)) * random.choice([-1, 1])
    half = np.array([width / 2, height / 2])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    away = 1.6 * max(width, height)
    depth = away + corners[:, 0] * np.sin(turn)
    seen = np.stack([corners[:, 0] * np.cos(turn), corners[:, 1]], axis=1) * (away / depth)[:, None]
    seen -= seen.min(axis=0)
    size = tuple(int(side) for side in np.ceil(seen.max(axis=0)))
    rows = []
    for (x, y), (u, v) in zip(seen, corners + half, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]]
    system = np.array(rows)
    bent = np.linalg.solve(system[:, :8], system[:, 8])
    found = picture.transform(
        size, Image.Transform.PERSPECTIVE, bent.tolist(), Image.Resampling.BICUBIC, fillcolor=(96, 96, 96)
    )  # fmt: skip
    return recompressed(found, 70)


def photographs(eye: Eye, folder: Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    wholes, parts, prints = [], [], []
    for number, path in enumerate(tqdm(paths, disable=None, unit="photo")):
        random = np.random.default_rng([SEED, 3, number])
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((1024, 1024))
        wholes.append(eye.see(picture))
        parts.append(eye.see(cut_out(picture, random)))
        prints.append(eye.see(tilted(picture, random)))
    random = np.random.default_rng([SEED, 4])
    total = len(paths)
    rows, listed = [], []
    for name, edited in (("cut-outs", parts), ("tilted prints", prints)):
        same = compared([(i, wholes[i], i, edited[i]) for i in range(total)])
        pairs = [
            (i, wholes[i], int(j), edited[j])
            for i in range(total)
            for j in random.choice(np.delete(np.arange(total), i), PHOTO_OTHERS, replace=False)
        ]
        other = compared(pairs)
        rows.append((name, same, other))
        listed += [(f"{name}, same photograph", same), (f"{name}, two photographs", other)]
    print(f"\n{total} photographs:")
    table(rows, total)
    counts(listed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--houses", type=int, default=12)
    parser.add_argument("--rooms", type=int, default=4, help="of each house")
    arguments = parser.parse_args()
    eye = Eye()
    rooms(eye, arguments.houses, arguments.rooms)
    if arguments.photos:
        photographs(eye, arguments.photos)


if __name__ == "__main__":
    main()
