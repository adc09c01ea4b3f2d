"""Measure the peak memory of index runs: it must grow neither with the number of pictures nor beyond the largest.

    python scripts/bench_memory.py --pictures PHOTOS [-m builtin] [--counts 1 500 5000] [--quick]

Each run is a `generate_embeddings` of its own; the system counts the peak of its resident memory. The
second table is of four large pictures of each kind, photos enlarged to 12 and 50 megapixels.
Markdown on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark import ROOT, copy_pictures, machine, table

COMMAND = "from image_similarity.cli.main import generate_embeddings; generate_embeddings()"
# getrusage counts in KiB, but in bytes on macOS.
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
MIB = 2**20
# In a process of its own: pictures made in this one would count as the memory of its children.
ENLARGE = """
import json, sys
from pathlib import Path
from benchmark import SUFFIXES, enlarge_pictures
folder, target, count, megapixels, suffix, options = sys.argv[1:]
originals = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
saved = json.loads(options)
enlarge_pictures(originals, int(count), float(megapixels), Path(target), suffix=suffix, distinct=1, **saved)
"""
KINDS = (
    ("JPEG", ".jpg", {}),
    ("progressive JPEG", ".jpg", {"progressive": True}),
    ("PNG", ".png", {"compress_level": 1}),
)
LARGE = 4


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures to copy")
    parser.add_argument("-m", "--model", default="builtin")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 500, 5000])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12, 50])
    parser.add_argument("--quick", action="store_true", help="few and small pictures: a trial")
    arguments = parser.parse_args()
    # The large pictures are made by a process that works in another folder.
    arguments.pictures = arguments.pictures.resolve()
    if arguments.quick:
        arguments.counts, arguments.megapixels = [1, 20], [1]
    return arguments


def index_in_child(folder: Path, database: Path, model: str) -> tuple[int, float]:
    """Index a folder in a process of its own; return its peak resident memory in bytes and the seconds."""
    options = ["-m", model, "--scenes", model, "-ip", folder, "-dp", database, "-q"]
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, options)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    # Popen must not wait for it again.
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"generate_embeddings ended with exit code {child.returncode}")
    return usage.ru_maxrss * MAXRSS_UNIT, time.perf_counter() - began


def measured(name: str, folder: Path, database: Path, model: str) -> list[str]:
    """Return the row of one run."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    peak, seconds = index_in_child(folder, database, model)
    return [
        name,
        f"{size / MIB:,.0f} MiB",
        f"{database.stat().st_size / MIB:.1f} MiB",
        f"{seconds:.1f} s",
        f"{peak / MIB:,.0f} MiB",
    ]


def main() -> None:
    arguments = parse_arguments()
    many, large = [], []
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as work:
            folder, database = Path(work, "pictures"), Path(work, "case.db")
            copy_pictures(arguments.pictures, count, folder)
            many.append(measured(f"{count:,}", folder, database, arguments.model))
    for megapixels in arguments.megapixels:
        for kind, suffix, saved in KINDS:
            with tempfile.TemporaryDirectory() as work:
                folder, database = Path(work, "pictures"), Path(work, "case.db")
                given = [arguments.pictures, folder, LARGE, megapixels, suffix, json.dumps(saved)]
                subprocess.run(
                    [sys.executable, "-c", ENLARGE, *map(str, given)],
                    check=True,
                    cwd=ROOT / "scripts",
                )
                name = f"{megapixels:g} megapixels, {kind}"
                large.append(measured(name, folder, database, arguments.model))
    print(f"{machine()}; model {Path(arguments.model).stem}\n")
    print(table(["pictures", "files", "database", "run", "peak memory"], many))
    print(f"{LARGE} large pictures each:\n")
    print(table(["pictures", "files", "database", "run", "peak memory"], large))


if __name__ == "__main__":
    main()
