"""Cases with vectors chosen by the test, and manifests of searches in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from image_similarity.case import Case, manifest_writer, search_cases
from image_similarity.records.manifest import Manifest
from image_similarity.search import SearchRequest
from tests.search.synthetic import SCENES, Row, model_info, write_case

DIM = 8


def rows(count: int, seed: int = 0, prefix: str = "picture") -> list[Row]:
    """Contents with random unit vectors, one to three labels (some none), one or two places, some partial."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        vector = random.standard_normal(DIM)
        labels = [
            (SCENES[at], 0.5 / (rank + 1))
            for rank, at in enumerate(random.permutation(len(SCENES))[: random.integers(4)])
        ]
        name = f"{prefix}-{number:03d}"
        paths = [f"{name}.png", f"copies/{name}.png"][: 1 + number % 2]
        made.append(
            Row(name, (vector / np.linalg.norm(vector)).tolist(), labels, paths, number % 11 == 0)
        )
    return made


def case(path: Path, count: int = 60, seed: int = 0, **more: str) -> Path:
    """A database of so many contents."""
    return write_case(path, rows(count, seed), info=model_info("toy", DIM), **more)


def ask(databases: Sequence[Path], *names: str, **asked: object) -> Manifest:
    """The manifest of searches with stored contents, by name."""
    opened = [Case.open(path, read_only=True) for path in databases]
    filters = {
        key: asked[key]
        for key in ("sources", "under", "include_gone", "include_partial")
        if key in asked
    }
    writer = manifest_writer(opened, **filters)  # type: ignore[arg-type]
    for name in names:
        request = SearchRequest(sha256=Row(name, ()).sha256, with_basis=True, **asked)  # type: ignore[arg-type]
        writer.add(search_cases(opened, request))
    manifest = writer.manifest()
    for each in opened:
        each.close()
    return manifest
