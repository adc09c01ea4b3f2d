"""A seeded slice of the campaign (scripts/campaign.py) that docs/reliability.md tells of: nothing of it breaks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARE = 0.002


@pytest.mark.skipif(
    sys.platform != "linux", reason="the campaign forks, mounts and limits as Linux does"
)
@pytest.mark.parametrize("part", ["faults", "pictures", "store", "together", "parsers"])
def test_a_slice_of_the_campaign_breaks_nothing(part: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "campaign.py"), "--only", part]
    command += ["--share", str(SHARE), "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / f"{part}.json").read_text("utf-8"))["rows"]
    assert len(rows) > 2
    assert all(row["times"] or "not tried" in row["tried"] for row in rows)


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
