"""Try to break the program in every way that docs/reliability.md lists, and write its table.

    python scripts/campaign.py [--quick] [--only PART ...] [--seed N] [--share X] [--minutes N] [--write]

Each part runs in a process of its own; its rows go to .campaign/PART.json as soon as they are there, so that a broken
campaign goes on with the parts that are missing, and one that --minutes ended goes on where it ended, as long as the
program is the same (--again forgets them). With --write the table of all parts takes the place of the one in
docs/reliability.md. The exit code is 1 if anything broke.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

PARTS = ("faults", "store", "pictures", "names", "together", "models", "parsers", "evidence")
ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- the table begins -->", "<!-- the table ends -->"
QUICK_SHARE = 0.01


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one in a hundred of everything")
    parser.add_argument("--share", type=float, default=1.0, help="how much of the full counts")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--odd", type=Path, help="a folder of odd pictures to take as well")
    parser.add_argument("--results", type=Path, default=ROOT / ".campaign")
    parser.add_argument("--minutes", type=float, default=0, help="at most, for each part")
    parser.add_argument("--again", action="store_true", help="forget earlier results")
    parser.add_argument("--write", action="store_true", help="write the table to the docs")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.share = QUICK_SHARE
    return arguments


def main() -> int:
    arguments = parse_arguments()
    if arguments.part:
        return run_part(arguments)
    arguments.results.mkdir(exist_ok=True)
    for part in arguments.only:
        target = arguments.results / f"{part}.json"
        if arguments.again:
            target.unlink(missing_ok=True)
        if not is_finished(target):
            start_part(part, arguments)
    found = [
        {"part": part, **json.loads((arguments.results / f"{part}.json").read_text("utf-8"))}
        for part in PARTS
        if (arguments.results / f"{part}.json").exists()
    ]
    table = as_table(found)
    print(table)
    if arguments.write:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{rest.partition(END)[2]}", "utf-8")
    broken = [text for part in found for row in part["rows"] for text in row["broken"]]
    for text in broken:
        print("BROKEN:", text, file=sys.stderr)
    return 1 if broken or len(found) < len(arguments.only) else 0


def start_part(part: str, arguments: argparse.Namespace) -> None:
    """Run one part in another process; the faults' needs something preloaded."""
    print(f"{part} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix=f"campaign-{part}-") as work:
        environment = dict(os.environ)
        if part == "faults":
            from campaign_faults import preload

            environment |= preload(Path(work))
        command = [sys.executable, __file__, "--part", part, "--work", work]
        command += ["--seed", str(arguments.seed), "--share", str(arguments.share)]
        command += ["--minutes", str(arguments.minutes)]
        command += ["--results", str(arguments.results)]
        command += ["--odd", str(arguments.odd)] if arguments.odd else []
        subprocess.run(command, check=False, env=environment)


def run_part(arguments: argparse.Namespace) -> int:
    from campaign_ground import Settings

    began = time.monotonic()
    settings = Settings(
        arguments.seed, arguments.share, arguments.work, arguments.odd, arguments.minutes
    )
    target = arguments.results / f"{arguments.part}.json"
    earlier = json.loads(target.read_text("utf-8")) if target.exists() else None
    settings.done = earlier["done"] if earlier else 0
    rows = import_module(f"campaign_{arguments.part}").run(settings)
    told = merged(earlier["rows"] if earlier else [], [asdict(row) for row in rows])
    result = {
        "seed": arguments.seed,
        "share": arguments.share,
        "seconds": round(time.monotonic() - began) + (earlier["seconds"] if earlier else 0),
        "done": settings.done,
        "python": platform.python_version(),
        "rows": told,
    }
    target.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


def is_finished(target: Path) -> bool:
    """Whether a part was done whole; one that its time ended goes on."""
    if not target.exists():
        return False
    return all(times(row) >= row["total"] for row in json.loads(target.read_text("utf-8"))["rows"])


def times(row: dict) -> int:
    return sum(row["counts"].values())


def merged(earlier: list[dict], rows: list[dict]) -> list[dict]:
    """The rows of two calls, each what it tried once."""
    found = {row["tried"]: row for row in earlier}
    for row in rows:
        before = found.get(row["tried"])
        if before is not None:
            row["counts"] = dict(Counter(before["counts"]) + Counter(row["counts"]))
            row["broken"] = [*before["broken"], *row["broken"]]
        found[row["tried"]] = row
    return list(found.values())


def line(row: dict) -> str:
    """One line of the table; a row whose time ended says what its tries were drawn from."""
    tried = row["tried"]
    if times(row) < row["total"]:
        tried = re.sub(", (each|[0-9]+) of ([0-9]+) in turn", r", drawn from \2", tried)
    said = [
        f"{count:,} {outcome}"
        for outcome, count in sorted(row["counts"].items(), key=lambda x: -x[1])
    ]
    said += [row["note"]] if row["note"] else []
    return f"| {row['part']} | {tried} | {times(row):,} | {'; '.join(said)} |"


def as_table(parts: list[dict]) -> str:
    lines = ["| part | what was tried | times | outcome |", "|---|---|---:|---|"]
    lines += [line(row) for part in parts for row in part["rows"]]
    took = ", ".join(
        f"{part['part']} {part['seconds']:,} s (seed {part['seed']})" for part in parts
    )
    return "\n".join([*lines, "", f"Time taken: {took}.", ""])


if __name__ == "__main__":
    sys.exit(main())
