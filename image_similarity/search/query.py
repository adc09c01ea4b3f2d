"""A query, made comparable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from image_similarity.values import Digests, SceneScore


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A query: its vector, float16 (dim,), as it would be stored, its scenes, and where it lies on disk, if it does.

    `made` says in words what of the picture was looked at; empty for all of it. `digests` are its hashes, where they
    are known.
    """

    label: str
    sha256: str
    vector: npt.NDArray[np.float16]
    scenes: tuple[SceneScore, ...]
    own_path: str | None
    was_stored: bool
    made: str = ""
    digests: Digests | None = None
