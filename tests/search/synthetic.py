"""A case written straight through the store: vectors and labels chosen by the test, no pictures and no network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from image_similarity.store import batch, models, runs
from image_similarity.store import catalog as stored
from image_similarity.store.catalog import Catalog
from image_similarity.values import Digests, ModelInfo, PictureFacts, Preprocess
from tests.postgres import Place

SCENES = ("bedroom", "kitchen", "street", "forest")


@dataclass(frozen=True)
class Row:
    """A content: its name (its SHA-256 follows from it), vector, labels, places, and when it says it was taken."""

    name: str
    vector: Sequence[float]
    labels: Sequence[tuple[str, float]] = ()
    paths: Sequence[str] = ()
    partial: bool = False
    taken: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()


def model_info(name: str = "toy", dim: int = 2, mass: float = 0.8) -> ModelInfo:
    return ModelInfo(
        name=name,
        fingerprint=hashlib.sha256(f"{name} {dim}".encode()).hexdigest(),
        architecture="tiny",
        weights_sha256="0" * 64,
        preprocess=Preprocess(size=32),
        dim=dim,
        scenes=SCENES,
        scene_mass=mass,
    )


def write_case(
    path: Place, rows: Sequence[Row], *, info: ModelInfo | None = None, source: str = "disk"
) -> Place:
    """Write rows as one finished run of a source whose root is /evidence/<source>."""
    info = info or model_info()
    catalog = Catalog.open(path, read_only=False)
    with catalog.writing() as connection:
        found = stored.find_source(connection, source)
        source_id = (
            found[0] if found else stored.add_source(connection, source, f"/evidence/{source}")
        )
        run_id = runs.begin(
            connection, runs.RunStart("index", source_id, {"models": [info.name]}, {})
        )
        model_id = models.register(connection, info)
        scene_ids = models.scene_ids(connection, model_id)
        known = batch.load_knowledge(connection, source_id, [model_id], [model_id])
        written = batch.BatchRows()
        for row in rows:
            digests = Digests(row.sha256, "1" * 40, "5" * 32)
            exif = {"date_time_original": row.taken} if row.taken else {}
            facts = PictureFacts(10, 10, "PNG", "image/png", exif=exif, partial=row.partial)
            written.contents.append(batch.NewContent(digests, 100, facts))
            written.files += [
                batch.SeenFile(p, row.sha256, 100, 1, None, None, True)
                for p in row.paths or [f"{row.name}.png"]
            ]
            vector = np.asarray(row.vector, dtype="<f2").tobytes()
            written.vectors.append((model_id, row.sha256, vector))
            if row.labels:
                labels = [(scene_ids[name], probability) for name, probability in row.labels]
                written.scenes.append((model_id, row.sha256, labels))
        batch.write_batch(connection, run_id, source_id, written, known)
        runs.save_account(connection, run_id, {}, "done")
    catalog.close()
    return path


def at_angle(degrees: float) -> list[float]:
    """A unit vector of two dimensions."""
    angle = np.radians(degrees)
    return [float(np.cos(angle)), float(np.sin(angle))]
