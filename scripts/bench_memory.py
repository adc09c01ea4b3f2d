"""Measure the peak memory of index runs over few and over many pictures: it must not grow with their number.

    python scripts/bench_memory.py --pictures PHOTOS [-m builtin] [--counts 1 500 5000] [--quick]

Each run is a `generate_embeddings` of its own; the system counts the peak of its resident memory.
Markdown on stdout.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark import copy_pictures, machine, table

COMMAND = "from image_similarity.cli.main import generate_embeddings; generate_embeddings()"
# getrusage counts in KiB, but in bytes on macOS.
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
MIB = 2**20


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures to copy")
    parser.add_argument("-m", "--model", default="builtin")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 500, 5000])
    parser.add_argument("--quick", action="store_true", help="1 and 20 pictures: a trial")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.counts = [1, 20]
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


def main() -> None:
    arguments = parse_arguments()
    rows = []
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as work:
            folder, database = Path(work, "pictures"), Path(work, "case.db")
            copies = copy_pictures(arguments.pictures, count, folder)
            size = sum(path.stat().st_size for path in copies)
            peak, seconds = index_in_child(folder, database, arguments.model)
            rows.append(
                [
                    f"{count:,}",
                    f"{size / MIB:,.0f} MiB",
                    f"{database.stat().st_size / MIB:.1f} MiB",
                    f"{seconds:.1f} s",
                    f"{peak / MIB:,.0f} MiB",
                ]
            )
    print(f"{machine()}; model {Path(arguments.model).stem}\n")
    print(table(["pictures", "files", "database", "run", "peak memory"], rows))


if __name__ == "__main__":
    main()
