"""What the tests of explanations share: pictures with texture, some of them indexed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_similarity.case import Case
from image_similarity.settings import IndexOptions


@dataclass(frozen=True)
class Indexed:
    """Four textured pictures, indexed as the source "evidence", and a part of the first beside them."""

    folder: Path
    database: Path
    part: Path


def textured(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture with corners at several scales, as a photograph has."""
    random = np.random.default_rng(seed)
    picture = np.zeros((size[1], size[0], 3))
    for side in (8, 16, 40):
        coarse = random.integers(0, 256, (size[1] // side + 1, size[0] // side + 1, 3))
        grown = Image.fromarray(coarse.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        picture += np.asarray(grown, dtype=np.float64) / 3
    return Image.fromarray(picture.astype(np.uint8))


@pytest.fixture(scope="session")
def explained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Indexed:
    base = tmp_path_factory.mktemp("explain")
    folder = base / "evidence"
    folder.mkdir()
    for number in range(4):
        textured(number).save(folder / f"{number}.png")
    part = base / "part.png"
    textured(0).crop((40, 30, 300, 220)).save(part)
    with Case.open(base / "case.db") as case:
        case.index(folder, options=IndexOptions(models=(str(tiny_model),), scenes=str(tiny_model)))
    return Indexed(folder, base / "case.db", part)
