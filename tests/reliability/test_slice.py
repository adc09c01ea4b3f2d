"""A seeded slice of the campaign (scripts/campaign.py) that docs/reliability.md tells of: nothing of it breaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARE = 0.001
# The longest first.
PARTS = ("faults", "pictures", "together", "store", "parsers")


@pytest.mark.skipif(sys.platform != "linux", reason="the campaign forks and limits as Linux does")
def test_a_slice_of_the_campaign_breaks_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(lambda part: broken(part, tmp_path), PARTS))
    assert told == [""] * len(PARTS)


def broken(part: str, results: Path) -> str:
    """Run a slice of one part in a process of its own; what broke, or ""."""
    command = [sys.executable, str(ROOT / "scripts" / "campaign.py"), "--only", part]
    command += ["--share", str(SHARE), "--results", str(results)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return f"{part}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    rows = json.loads((results / f"{part}.json").read_text("utf-8"))["rows"]
    wanting = [
        row["tried"] for row in rows if not row["counts"] and "not tried" not in row["tried"]
    ]
    return f"{part}: nothing tried of {wanting}" if wanting or len(rows) < 3 else ""


def test_the_table_of_the_page_is_of_all_parts_and_says_what_was_tried_how_often() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("campaign", ROOT / "scripts" / "campaign.py")
    assert spec is not None
    assert spec.loader is not None
    campaign = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(campaign)
    text = campaign.PAGE.read_text("utf-8")
    table = text.partition(campaign.BEGIN)[2].partition(campaign.END)[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert {row[0].removeprefix("| ") for row in rows} == set(campaign.PARTS)
    assert not any("broken" in row[3] for row in rows)
    assert sum(int(row[2].replace(",", "")) for row in rows) > 1000
