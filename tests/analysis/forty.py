"""A database of forty small pictures with the tiny model, for what is learned from many vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from image_similarity import Case
from image_similarity.settings import IndexOptions
from tests.conftest import draw_picture
from tests.tiny_model import write_tiny_model

PICTURES = 40


def make(base: Path, pictures: int = PICTURES) -> tuple[Path, Path, Path]:
    """Return database, folder and model, all below `base`."""
    folder = base / "evidence"
    folder.mkdir()
    for number in range(pictures):
        draw_picture(number, (48, 40)).save(folder / f"p{number:02d}.png")
    model = write_tiny_model(base / "tiny.safetensors")
    database = base / "case.db"
    with Case.open(database) as case:
        case.index(folder, options=IndexOptions(models=(str(model),)))
    return database, folder, model


def vectors(database: Path, fingerprint: str, dim: int) -> dict[str, np.ndarray]:
    """Return the stored vectors of a model by path, float16 (dim,)."""
    import sqlite3

    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    rows = connection.execute(
        "SELECT file.path, vector FROM embedding JOIN model ON model.id = model_id"
        " JOIN file ON file.image_id = embedding.image_id WHERE fingerprint = ?",
        (fingerprint,),
    ).fetchall()
    connection.close()
    return {path: np.frombuffer(vector, "<f2", dim) for path, vector in rows}
