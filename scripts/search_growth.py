"""Time, memory and size of searches from thousands to millions of pictures, for bench_search.py.

python scripts/search_growth.py DATABASE-COUNT.db    # what one process measures, as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark import ROOT, table
from search_asking import (
    FLOOR,
    Bench,
    command,
    in_turns,
    ms,
    numbers_for,
    opened,
    query_command,
    ranker,
    say,
)


def growth(bench: Bench) -> None:
    """Time, memory and size from small to large, each in a process of its own."""
    rows, found = [], []
    floor = in_turns(bench.sizes.processes, {"floor": command("-c", FLOOR)})["floor"]
    for count in bench.sizes.growth:
        database = bench.work.database("clustered", count)
        say(f"growth, {count:,}")
        measured = {**_measured(database, "exact"), **_measured(database, "approximate")}
        cold_query = query_command(database, count // 3, "--scene", "off")
        measured["cold"] = in_turns(min(5, bench.sizes.processes), {"cold": cold_query})["cold"]
        measured |= {"count": count, "bytes": database.stat().st_size}
        found.append(measured)
        rows.append(
            [
                f"{count:,}",
                f"{measured['cold'] / floor:.2f}",
                ms(measured["exact"]),
                ms(measured["approximate"]),
                f"{measured['peak_exact'] / 2**20:,.0f} MiB",
                f"{measured['peak_approximate'] / 2**20:,.0f} MiB",
                f"{measured['bytes'] / 2**20:,.0f} MiB",
                f"{measured['bytes'] / count:,.0f}",
            ]
        )
    peak = max(found[-1][key] for key in ("peak_exact", "peak_approximate")) / 1e9
    name = f"peak memory at {bench.sizes.growth[-1]:,} pictures"
    bench.goal(name, peak, 8, unit="GB", least=False)
    print(
        "### Growth\n\nClustered vectors; peak memory after one cold and 10 warm queries; warm is the ranking alone.\n"
    )
    print(
        table(
            ["pictures", "cold command, times the floor", "warm, exact", "warm, `--approximate`",
             "peak, exact", "peak, `--approximate`", "file", "bytes a picture"],
            rows,
        )
    )  # fmt: skip
    if bench.figures:
        draw(found, floor, bench.figures / "search_growth.png")
        print("![Time, memory and size from small to large](figures/search_growth.png)\n")


def _measured(database: Path, way: str) -> dict[str, float]:
    """Return what `measure` prints in a process of its own: a peak does not sink."""
    line = [sys.executable, __file__, str(database), way]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(database: Path, way: str) -> None:
    """Print as JSON what queries to a database take; this process does nothing else."""
    numbers = numbers_for(int(database.stem.rpartition("-")[2]), 11)
    with opened(database, approximate=way == "approximate") as searcher:
        ask = ranker(searcher, numbers)
        ask()  # the first reads from disk, and tries out the approximate search
        seconds = in_turns(9, {way: ask})[way]
    print(json.dumps({way: seconds, f"peak_{way}": peak_bytes()}))


def peak_bytes() -> int:
    """Return the most memory that this process had resident."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the system does not say how much memory a process had")


def draw(found: Sequence[Mapping[str, float]], floor: float, path: Path) -> None:
    """Draw time, memory and size over the number of pictures, both axes logarithmic."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    counts = [each["count"] for each in found]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    lines = (
        ("milliseconds a query", 1e3, {"cold": "cold command", "exact": "warm, exact",
                                       "approximate": "warm, approximate"}),
        ("peak memory, MB", 1e-6, {"peak_exact": "exact", "peak_approximate": "approximate"}),
        ("file, MB", 1e-6, {"bytes": "database"}),
    )  # fmt: skip
    for axis, (title, scale, names) in zip(figure.subplots(1, 3), lines, strict=True):
        for (key, name), colour in zip(
            names.items(), ("#0072B2", "#E69F00", "#009E73"), strict=False
        ):
            axis.loglog(
                counts, [each[key] * scale for each in found], "o-", color=colour, label=name
            )
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_xlabel("pictures", fontsize=8)
        for side in (axis.xaxis, axis.yaxis):
            side.set_minor_formatter(NullFormatter())
        axis.grid(which="major", color="#dddddd")
        axis.tick_params(labelsize=8)
        axis.legend(fontsize=8, frameon=False)
    figure.axes[0].axhline(floor * 1e3, color="#777777", lw=1, ls="--")
    figure.axes[0].annotate(
        "start of Python", (counts[0], floor * 1e3), fontsize=7, color="#555555", va="bottom"
    )
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    measure(Path(sys.argv[1]), sys.argv[2])
