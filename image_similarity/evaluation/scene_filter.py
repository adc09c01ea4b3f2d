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


def lost_shares(
    originals: Probabilities, copies: Probabilities, *, asked: tuple[int, float], stored: int
) -> NDArray[np.float64]:
    """Return for each row whether the filter hides a copy from its original and the other way: 0, 0.5 or 1.

    Args:
        originals: scene probabilities (N, C).
        copies: scene probabilities (N, C); row i is of an edit of original i.
        asked: top-K and mass of the query's side; (1, any) is the filter on the first label.
        stored: top-K of the gallery's side.
    """
    there = (asked_scenes(copies, *asked) & stored_scenes(originals, stored)).any(axis=1)
    back = (asked_scenes(originals, *asked) & stored_scenes(copies, stored)).any(axis=1)
    passed: NDArray[np.float64] = np.mean(np.stack([there, back]), axis=0)
    return 1 - passed


def hidden_shares(
    queries: Probabilities, gallery: Probabilities, *, asked: tuple[int, float], stored: int
) -> NDArray[np.float64]:
    """Return for each query (N, C) the share of the gallery (M, C) that the filter hides from it."""
    held = stored_scenes(gallery, stored).astype(np.float32).T
    wanted = asked_scenes(queries, *asked).astype(np.float32)
    return np.array(
        [
            share
            for start in range(0, len(wanted), 512)
            for share in 1 - (wanted[start : start + 512] @ held > 0).mean(axis=1)
        ],
        dtype=np.float64,
    )


def filter_figures(
    originals: Probabilities, copies: Probabilities, *, asked: tuple[int, float], stored: int
) -> FilterFigures:
    """Return what a filter loses and hides among originals and their copies, asked in both directions.

    See `lost_shares` for the arguments.
    """
    hidden = [
        hidden_shares(queries, gallery, asked=asked, stored=stored).mean()
        for queries, gallery in ((copies, originals), (originals, copies))
    ]
    lost = lost_shares(originals, copies, asked=asked, stored=stored)
    return FilterFigures(lost=float(lost.mean()), hidden=float(np.mean(hidden)))
