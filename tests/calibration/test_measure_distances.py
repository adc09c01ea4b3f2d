"""The script that makes a reference table."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from image_similarity.calibration.files import read_table, table_path
from image_similarity.encoding import registry
from tests.conftest import PictureFactory

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "measure_distances.py"


def test_the_script_shows_a_table_and_writes_it_beside_the_weights(
    tmp_path: Path, tiny_model: Path, picture_factory: PictureFactory
) -> None:
    model = shutil.copyfile(tiny_model, tmp_path / "own.safetensors")
    before = model.read_bytes()
    names = [f"val/{number}.png" for number in range(12)]
    for number, name in enumerate(names):
        picture_factory(tmp_path / name, seed=number)
    listing = "".join(f"{name} {number % 3}\n" for number, name in enumerate(names))
    (tmp_path / "val.txt").write_text(listing)
    arguments = ["--data", tmp_path, "--model", model, "--part", "val", "--write"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments, "--device", "cpu"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "| 0.00 | 0 of " in done.stdout
    table = read_table(table_path(model))
    assert table is not None
    assert table.fingerprint == registry.info(registry.get(str(model))).fingerprint
    assert (table.pictures, table.same_scene[-1]) == (12, 6)
    assert table.made_on == "the 12 pictures of MiniPlaces val, 100 scenes"
    assert model.read_bytes() == before
