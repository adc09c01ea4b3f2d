"""Measure what PDQ finds: edited and turned copies of photographs, and pictures that are no copies.

    python scripts/measure_pdq.py --photos FOLDER [--others FOLDER] [--stacks N ...]

Prints tables in Markdown: how many copies come within the limit, as stored hashes tell it; how many pairs of other
pictures do; and the processor time of a hash and of stacks of N random hashes. docs/matching.md has the result.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from image_similarity.calibration.reference import share  # noqa: E402
from image_similarity.matching import pdq  # noqa: E402
from image_similarity.pictures.pixels import prepare  # noqa: E402

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
Turn = Image.Transpose


def saved(picture: Image.Image, quality: int = 80) -> Image.Image:
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=quality)
    return Image.open(io.BytesIO(held.getvalue())).convert("RGB")


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


def trimmed(picture: Image.Image, share: float) -> Image.Image:
    x, y = round(picture.width * share), round(picture.height * share)
    return picture.crop((x, y, picture.width - x, picture.height - y))


def marked(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    box = (picture.width // 2, picture.height * 8 // 10, picture.width, picture.height * 9 // 10)
    picture.paste((255, 255, 255), box)
    return picture


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 30": lambda picture: saved(picture, 30),
    "half the size": lambda picture: saved(scaled(picture, 0.5)),
    "a quarter of the size": lambda picture: saved(scaled(picture, 0.25)),
    "brighter by 30 %": lambda picture: saved(ImageEnhance.Brightness(picture).enhance(1.3)),
    "a white bar in a corner": lambda picture: saved(marked(picture)),
    "2 % cut off each side": lambda picture: saved(trimmed(picture, 0.02)),
    "5 % cut off each side": lambda picture: saved(trimmed(picture, 0.05)),
    "10 % cut off each side": lambda picture: saved(trimmed(picture, 0.10)),
}
TURNS = {
    "mirrored left to right": Turn.FLIP_LEFT_RIGHT,
    "mirrored top to bottom": Turn.FLIP_TOP_BOTTOM,
    "turned by 180 degrees": Turn.ROTATE_180,
    "transposed": Turn.TRANSPOSE,
    "turned by 90 degrees clockwise": Turn.ROTATE_270,
    "turned by 90 degrees counterclockwise": Turn.ROTATE_90,
    "transposed and turned by 180 degrees": Turn.TRANSVERSE,
}


def hashed(picture: Image.Image) -> pdq.PdqHash:
    return pdq.hash_pixels(prepare(picture, pdq.PREPROCESS))


def bits(found: list[pdq.PdqHash]) -> np.ndarray:
    return np.frombuffer(b"".join(each.hash for each in found), np.uint8).reshape(-1, pdq.BYTES)


def pictures(folder: Path) -> list[Image.Image]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [Image.open(path).convert("RGB") for path in paths]


def row(name: str, own: list[pdq.PdqHash], copies: list[pdq.PdqHash], *, turned: bool) -> None:
    """Print how many copies of pictures of quality are near."""
    pairs = [
        (one, other)
        for one, other in zip(own, copies, strict=True)
        if min(one.quality, other.quality) >= pdq.MIN_QUALITY
    ]
    far = np.array(
        [int(pdq.nearest_orientation(a.hash, bits([b]), turned=turned)[0][0]) for a, b in pairs]
    )
    near = int((far <= pdq.MAX_DISTANCE).sum())
    found = share(near, len(far))
    interval = f"({100 * found.low:.0f} to {100 * found.high:.0f} %)"
    print(f"| {name} | {near} of {len(far)} {interval} | {np.median(far):.0f} | {far.max()} |")


def others(found: list[pdq.PdqHash], name: str) -> None:
    """Print how many pairs of different pictures are near."""
    good = bits([each for each in found if each.quality >= pdq.MIN_QUALITY])
    plain = turned = 0
    for at, one in enumerate(good):
        rest = good[at + 1 :]
        plain += int((pdq.distances(one.tobytes(), rest) <= pdq.MAX_DISTANCE).sum())
        far, _ = pdq.nearest_orientation(one.tobytes(), rest, turned=True)
        turned += int((far <= pdq.MAX_DISTANCE).sum())
    pairs = len(good) * (len(good) - 1) // 2
    print(
        f"\n{name}: {len(good)} of {len(found)} have a hash of quality; of {pairs:,} pairs {plain} are near, "
        f"{turned} in any orientation."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--others", type=Path, help="folder of pictures that are no copies")
    parser.add_argument("--stacks", type=int, nargs="*", default=[], metavar="N")
    arguments = parser.parse_args()
    photos = pictures(arguments.photos)
    began = time.process_time()
    own = [hashed(photo) for photo in photos]
    seconds = (time.process_time() - began) / len(photos)
    print("| copy | near | median bits | most bits |\n|---|---|---|---|")
    for name, edit in EDITS.items():
        row(name, own, [hashed(edit(photo)) for photo in photos], turned=False)
    for name, turn in TURNS.items():
        row(name, own, [hashed(saved(photo.transpose(turn))) for photo in photos], turned=True)
    others(own, "The photographs")
    if arguments.others:
        others([hashed(picture) for picture in pictures(arguments.others)], "The others")
    print(f"\n{1000 * seconds:.1f} ms of processor time a hash.")
    for count in arguments.stacks:
        random = np.random.default_rng(count).integers(0, 256, (count, pdq.BYTES), dtype=np.uint8)
        for turned in (False, True):
            began = time.process_time()
            pdq.stacks(random, turned=turned)
            seconds = time.process_time() - began
            print(f"{count:,} hashes, {'8 orientations' if turned else 'plain'}: {seconds:.1f} s")


if __name__ == "__main__":
    main()
