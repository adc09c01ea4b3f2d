"""What filtering by scene hides and what it loses: the figures behind its two constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FilterFigures:
    """Shares between 0 and 1: copies that the filter hides, and all pictures that it hides."""

    lost: float
    hidden: float


def stored_scenes(probabilities: Probabilities, top_k: int) -> Flags:
    """Return which scenes (N, C) are stored for each picture: its `top_k` most likely ones."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    flags = np.zeros(probabilities.shape, dtype=bool)
    np.put_along_axis(flags, order, True, axis=1)
    return flags


def asked_scenes(probabilities: Probabilities, top_k: int, mass: float) -> Flags:
    """Return which scenes (N, C) a query asks for.

    They are the fewest of its stored scenes, likeliest first, whose probabilities reach `mass`,
    or all stored ones if they do not reach it.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    ranked = np.take_along_axis(probabilities, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    flags = np.zeros(probabilities.shape, dtype=bool)
    np.put_along_axis(flags, order, before < mass, axis=1)
    return flags


def filter_figures(
    originals: Probabilities, copies: Probabilities, *, asked: tuple[int, float], stored: int
) -> FilterFigures:
    """Return what a filter loses and hides; row i of `copies` is an edit of original i.

    Both directions count: an edited copy asks for its original, and an original for its copy.

    Args:
        originals: scene probabilities (N, C).
        copies: scene probabilities (N, C).
        asked: top-K and mass of the query's side; (1, any) is the filter on the first label.
        stored: top-K of the gallery's side.
    """
    lost, hidden = [], []
    for queries, gallery in ((copies, originals), (originals, copies)):
        wanted = asked_scenes(queries, *asked)
        held = stored_scenes(gallery, stored)
        passes = wanted.astype(np.float32) @ held.astype(np.float32).T > 0
        lost.append(1 - passes.diagonal().mean())
        hidden.append(1 - passes.mean())
    return FilterFigures(lost=float(np.mean(lost)), hidden=float(np.mean(hidden)))
