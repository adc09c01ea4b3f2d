"""Shows a search on real photographs: edits of pictures must find the picture that they were made from.

    python scripts/demo.py [--dir FOLDER] [--keep] [--model NAME]

The gallery is made of photographs that scikit-image and scikit-learn carry inside their wheels, each free
to use (see PHOTOGRAPHS). Each is cropped, turned, compressed, darkened and written over; the edits are the
queries and are not in the gallery. Everything runs through the commands that a user would type. Exit code
0 means that at least 90 % of the edits found their original in first place.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageEnhance

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
GOAL = 0.90

# (package, file inside it, licence as the package states it)
PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png", "public domain, NASA"),
    ("skimage", "data/brick.png", "CC0, CC0Textures"),
    ("skimage", "data/camera.png", "CC0, Lav Varshney"),
    ("skimage", "data/chelsea.png", "CC0, Stefan van der Walt"),
    ("skimage", "data/clock_motion.png", "public domain, Stefan van der Walt"),
    ("skimage", "data/coffee.png", "CC0, Rachel Michetti"),
    ("skimage", "data/coins.png", "no known restrictions, Brooklyn Museum"),
    ("skimage", "data/grass.png", "CC0, linolafett"),
    ("skimage", "data/gravel.png", "CC0, CC0Textures"),
    ("skimage", "data/hubble_deep_field.jpg", "public domain, NASA"),
    ("skimage", "data/retina.jpg", "CC0, Mikael Häggström"),
    ("skimage", "data/rocket.jpg", "public domain, SpaceX"),
    ("sklearn", "datasets/images/china.jpg", "CC BY 2.0, danielbuechele"),
    ("sklearn", "datasets/images/flower.jpg", "CC BY 2.0, vultilion"),
)


def main() -> int:
    arguments = parse_arguments()
    folder: Path = arguments.dir
    if folder.exists() and not arguments.keep:
        remove_earlier_demo(folder)
    gallery, edits = make_pictures(folder)
    database, sheet = folder / "demo.db", folder / "demo.html"
    print(run("generate_embeddings", "-m", arguments.model, "-ip", gallery, "-dp", database))
    answer = run(
        "image-similarity", "query", edits, "-dp", database,
        "-k", "3", "--format", "json", "--report", sheet, "--force",
    )  # fmt: skip
    found, asked = show([json.loads(line) for line in answer.splitlines()])
    print(f"\nContact sheet: {sheet}")
    print(f"{found} of {asked} edits found their original first ({found / asked:.0%})")
    return 0 if found >= GOAL * asked else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, default=ROOT / ".demo", help="default: .demo")
    parser.add_argument("--keep", action="store_true", help="go on with an earlier demonstration")
    parser.add_argument("--model", default="builtin")
    return parser.parse_args()


def remove_earlier_demo(folder: Path) -> None:
    """Empty the folder if an earlier demonstration made it, and nothing else ever."""
    if not (folder / "SOURCES.txt").exists() and any(folder.iterdir()):
        sys.exit(f"demo: {folder} was not made by this script; name another folder with --dir")
    shutil.rmtree(folder)


def make_pictures(
    folder: Path, photographs: Sequence[tuple[str, str, str]] = PHOTOGRAPHS
) -> tuple[Path, Path]:
    """Write the photographs and five edits of each, and return the two folders."""
    gallery, edits = folder / "gallery", folder / "edits"
    gallery.mkdir(parents=True, exist_ok=True)
    edits.mkdir(exist_ok=True)
    sources = []
    for package, inside, licence in photographs:
        original = package_folder(package) / inside
        shutil.copyfile(original, gallery / original.name)
        sources.append(f"{original.name}: {package}, {licence}")
        with Image.open(original) as opened:
            write_edits(opened.convert("RGB"), original.stem, edits)
    (folder / "SOURCES.txt").write_text("\n".join(sources) + "\n", encoding="utf-8")
    return gallery, edits


def package_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        sys.exit("demo: its photographs are not installed; run ./setup_env.sh demo")
    return Path(spec.origin).parent


def write_edits(picture: Image.Image, name: str, folder: Path) -> None:
    """Write what happens to pictures on their way: cropped, turned, compressed, darkened, written over."""
    width, height = picture.size
    box = (width // 8, height // 8, width - width // 8, height - height // 8)
    overlay = picture.copy()
    pen = ImageDraw.Draw(overlay)
    pen.rectangle((0, height * 4 // 5, width, height), fill="white")
    pen.text(
        (width // 20, height * 17 // 20), "copied 2026-11-21", fill="black", font_size=height // 12
    )
    small = picture.resize((max(1, width // 3), max(1, height // 3)))
    picture.crop(box).save(folder / f"{name}-crop.jpg", quality=90)
    picture.rotate(90, expand=True).save(folder / f"{name}-turn.jpg", quality=90)
    small.save(folder / f"{name}-recompress.jpg", quality=20)
    ImageEnhance.Brightness(picture).enhance(0.55).save(folder / f"{name}-dark.jpg", quality=90)
    overlay.save(folder / f"{name}-overlay.jpg", quality=90)


def run(command: str, *arguments: str | Path) -> str:
    """Run one of our commands as a user would, and return what it printed."""
    words = [command, *map(str, arguments)]
    print("$", " ".join(words), flush=True)
    done = subprocess.run([BIN / command, *words[1:]], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}demo: {command} ended with exit code {done.returncode}")
    return done.stdout


def show(lines: list[dict[str, Any]]) -> tuple[int, int]:
    """Print the ranking of every edit; return how many found their original first, and of how many."""
    hits_of = defaultdict(list)
    for line in lines:
        hits_of[Path(line["query"]).stem].append(line)
    found = 0
    print(f"\n{'query':<30}{'1st':<25}{'2nd':<25}3rd")
    for query, hits in sorted(hits_of.items()):
        hits.sort(key=lambda hit: hit["rank"])
        right = Path(hits[0]["path"]).stem == query.rpartition("-")[0]
        found += right
        cells = (f"{hit['distance']:.3f} {Path(hit['path']).stem}" for hit in hits[:3])
        line = f"{query:<30}" + "".join(f"{cell:<25}" for cell in cells)
        print(line.rstrip() if right else f"{line}MISSED")
    # An edit without any answer is a miss, so what was made counts, not what came back.
    return found, len(PHOTOGRAPHS) * 5


if __name__ == "__main__":
    sys.exit(main())
