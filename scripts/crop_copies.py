"""Make many photographs of a few: random crops, written anew as JPEGs, the same ones each time.

    python scripts/crop_copies.py PHOTOS FOLDER --count 36500

For runs over as many files as a case has. FOLDER gets sub-folders of 1,000 files each, about 50 KiB a file.
"""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmark import pictures_below
from PIL import Image

WIDTH = 500


def write_copy(number: int, photos: list[Path], folder: Path) -> None:
    chance = random.Random(number)
    with Image.open(photos[number % len(photos)]) as opened:
        picture = opened.convert("RGB")
    share = chance.uniform(0.6, 1)
    width, height = int(picture.width * share), int(picture.height * share)
    left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
    crop = picture.crop((left, top, left + width, top + height))
    target = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    crop.resize((WIDTH, max(1, round(WIDTH * height / width)))).save(
        target, quality=chance.randint(75, 92)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="must be empty or new")
    parser.add_argument("--count", type=int, default=36_500)
    arguments = parser.parse_args()
    photos = pictures_below(arguments.photos)
    if arguments.folder.exists() and any(arguments.folder.iterdir()):
        parser.error(f"{arguments.folder} is not empty")
    copy = partial(write_copy, photos=photos, folder=arguments.folder)
    with ProcessPoolExecutor() as pool:
        list(pool.map(copy, range(arguments.count), chunksize=200))


if __name__ == "__main__":
    main()
