"""Vectors as those of photographs lie, in clusters, and scenes that follow the clusters: where a filtered index fails.

Scenes are as frequent as words are (the n-th one 1/n as often as the first), and four fifths of the pictures of a
cluster have the cluster's. Who searches a scene among pictures of another has its whole neighbourhood filtered away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Table

from image_similarity.store import catalog as stored
from image_similarity.store import models, runs
from image_similarity.store.catalog import Catalog
from image_similarity.store.postgres import copy_in
from image_similarity.store.schema import (
    embedding_table,
    file_table,
    image_scene_table,
    image_table,
)
from image_similarity.values import ModelInfo, ServerUrl
from tests.search.synthetic import model_info

SCENES = 100


@dataclass(frozen=True)
class Clustered:
    """Vectors float16 (n, dim), and the number of the one scene of each, int64 (n,)."""

    vectors: npt.NDArray[np.float16]
    scenes: npt.NDArray[np.int64]

    def scene_of_share(self, share: float) -> int:
        """The scene whose share of the pictures is next to this one."""
        shares = np.bincount(self.scenes, minlength=SCENES) / len(self.scenes)
        return int(np.abs(np.log(np.maximum(shares, 1e-9) / share)).argmin())


def make(count: int, dim: int, *, clusters: int, intrinsic: int, seed: int = 1) -> Clustered:
    random = np.random.default_rng(seed)
    axes = random.normal(size=(intrinsic, dim)) / np.sqrt(dim)
    centres = random.normal(size=(clusters, intrinsic))
    share = 1 / np.arange(1, SCENES + 1)
    own = random.choice(SCENES, clusters, p=share / share.sum())
    of = random.integers(clusters, size=count)
    vectors = np.empty((count, dim), dtype=np.float16)
    for start in range(0, count, 100_000):
        part = of[start : start + 100_000]
        points = centres[part] + 0.5 * random.normal(size=(len(part), intrinsic))
        wide = points @ axes
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
        vectors[start : start + len(part)] = wide
    other = random.choice(SCENES, count, p=share / share.sum())
    scenes = np.where(random.random(count) < 0.8, own[of], other)
    return Clustered(vectors, scenes)


def name(scene: int) -> str:
    return f"scene {scene:03d}"


def info(dim: int) -> ModelInfo:
    return replace(model_info(dim=dim), scenes=tuple(map(name, range(SCENES))), scene_mass=0.5)


def sha256_of(number: int) -> str:
    return hashlib.sha256(f"picture {number}".encode()).hexdigest()


def write_on_server(server: ServerUrl, made: Clustered) -> None:
    """Write a picture for each vector, by COPY: the rows of twenty thousand in a second or two."""
    dim, count = made.vectors.shape[1], len(made.vectors)
    catalog = Catalog.open(server, read_only=False)
    with catalog.writing() as connection:
        source = stored.add_source(connection, "disk", "/evidence/disk")
        run = runs.begin(connection, runs.RunStart("index", source, {"models": ["toy"]}, {}))
        model = models.register(connection, info(dim))
        scene_ids = models.scene_ids(connection, model)

        def copy(table: Table, columns: str, rows: Iterable[Sequence[Any]]) -> None:
            copy_in(connection, table, columns.split(), rows)

        ids = range(1, count + 1)
        copy(
            image_table,
            "id sha256 sha1 md5 size width height format mime partial exif first_run_id",
            (
                (
                    id_,
                    sha256_of(id_ - 1),
                    "1" * 40,
                    "5" * 32,
                    9,
                    9,
                    9,
                    "PNG",
                    "image/png",
                    False,
                    "{}",
                    run,
                )
                for id_ in ids
            ),
        )
        copy(
            file_table,
            "id source_id path image_id size mtime_ns settled first_run_id",
            ((id_, source, f"{id_ - 1}.png", id_, 9, 1, True, run) for id_ in ids),
        )
        vectors = zip(ids, made.vectors, strict=True)
        copy(
            embedding_table,
            "id model_id image_id run_id vector",
            ((id_, model, id_, run, vector.astype("<f2").tobytes()) for id_, vector in vectors),
        )
        labels = zip(ids, made.scenes.tolist(), strict=True)
        copy(
            image_scene_table,
            "image_id scene_id probability rank",
            ((id_, scene_ids[name(scene)], 0.9, 1) for id_, scene in labels),
        )
        runs.save_account(connection, run, {}, "done")
    catalog.close()
