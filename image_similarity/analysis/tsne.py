"""Positions in the plane for vectors: similar ones near each other, and the same for the same seed and machine.

t-SNE (van der Maaten and Hinton 2008; Barnes-Hut 2014) of scikit-learn, after a principal component analysis to 50
numbers, which is what its authors do. Only neighbourhoods mean something on such a map: how far apart two groups lie,
and how large they are, does not.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity.analysis import sklearn_import
from image_similarity.errors import DatabaseDamaged, InvalidSetting
from image_similarity.events import Listener, Progress, Started, ignore

Half = npt.NDArray[np.float16]
Single = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

FEWEST = 3
# Time grows a little faster than the number: 10,000 take some minutes beside other work. Of more, a sample is mapped.
MOST_MAPPED = 10_000
PERPLEXITY = 30.0
COMPONENTS = 50
# What is not in the sample goes between this many of its nearest that are.
NEIGHBOURS = 3
# Numbers that the components are learned from: 256 MB as float32, whatever the model's dimensions.
_LEARNED_FROM = 2**26
_AT_ONCE = 4096
_ITERATIONS = 1000
_ITERATION = re.compile(r"Iteration (\d+)")


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Where vectors lie: `xy` float32 (n, 2), and `mapped` bool (n,): by t-SNE itself, or by their nearest neighbours.

    `perplexity` is what t-SNE was given: less than was asked for where there are few vectors.
    """

    xy: Single
    mapped: npt.NDArray[np.bool_]
    perplexity: float


def check_perplexity(perplexity: float) -> None:
    """Refuse a perplexity below 1, or that is no number.

    Raises:
        InvalidSetting.
    """
    if not (math.isfinite(perplexity) and perplexity >= 1):
        raise InvalidSetting(
            f"a perplexity of {perplexity:g}", hint="give 1 or more; 5 to 50 are usual"
        )


def fitting_perplexity(perplexity: float, count: int) -> float:
    """Return the perplexity for so many vectors: three times as many neighbours must exist, as t-SNE looks at them."""
    return max(1.0, min(perplexity, (count - 1) / 3))


def positions(
    count: int,
    read: Callable[[Rows], Half],
    *,
    perplexity: float = PERPLEXITY,
    seed: int = 1,
    on_event: Listener = ignore,
) -> Positions:
    """Give a position to each of `count` vectors; near ones of one group lie together.

    Beyond `MOST_MAPPED` a sample drawn by the seed is mapped, and each of the others is placed at the median of its
    three nearest in the sample. In memory are 50 numbers of each vector and a block of them whole.

    Args:
        count: How many, 3 or more.
        read: Gives the vectors of some rows, float16 (n, dim); asked for a block at a time.
        perplexity: About how many neighbours count as near; made to fit small numbers.
        seed: Of all that is drawn at random; at least 0, below 2**32.
        on_event: Gets `Started` and `Progress`, counted in iterations.

    Raises:
        ExtraMissing: scikit-learn is not installed.
        InvalidSetting: A perplexity or seed out of its range, or fewer than 3 vectors.
        DatabaseDamaged: Some vectors are not numbers.
    """
    sklearn_import.require("a map")
    check_perplexity(perplexity)
    if not 0 <= seed < 2**32:
        raise InvalidSetting(f"a seed of {seed}", hint="give a whole number from 0 to 4294967295")
    if count < FEWEST:
        raise InvalidSetting(f"{count} vectors", hint=f"a map needs {FEWEST} or more")
    from threadpoolctl import threadpool_limits

    # A sum over several threads differs in its last digit from one machine to another, and t-SNE makes another map of
    # it; beside other work, threads that wait for each other were many times slower, too.
    with threadpool_limits(limits=1):
        reduced = _reduced(count, read, seed)
        chosen = _sample(count, seed)
        fitted = fitting_perplexity(perplexity, len(chosen))
        xy = _mapped(reduced[chosen], fitted, seed, on_event)
        mapped = np.zeros(count, dtype=np.bool_)
        mapped[chosen] = True
        return Positions(_with_others(xy, reduced, chosen, mapped), mapped, fitted)


def _sample(count: int, seed: int) -> Rows:
    if count <= MOST_MAPPED:
        return np.arange(count)
    drawn = np.random.default_rng(seed).choice(count, MOST_MAPPED, replace=False)
    return np.sort(drawn)


def _reduced(count: int, read: Callable[[Rows], Half], seed: int) -> Single:
    """The vectors, float32 (count, at most 50): by their principal components if they are longer."""
    first = _numbers(read, np.arange(1))
    dim = first.shape[1]
    transform = None
    if dim > COMPONENTS:
        from sklearn.decomposition import PCA

        drawn = np.random.default_rng(seed).permutation(count)[: max(FEWEST, _LEARNED_FROM // dim)]
        learned = np.sort(drawn)
        components = min(COMPONENTS, len(learned))
        # Of vectors that are all alike the share of each component is 0 of 0, which is not asked for.
        with np.errstate(invalid="ignore", divide="ignore"):
            transform = PCA(components, random_state=seed).fit(_blocks(read, learned)).transform
    rows = np.arange(count)
    found = [
        _numbers(read, rows[start : start + _AT_ONCE], transform)
        for start in range(0, count, _AT_ONCE)
    ]
    reduced = np.concatenate(found)
    # The first positions are two components, so there must be two.
    return np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))


def _blocks(read: Callable[[Rows], Half], rows: Rows) -> Single:
    """The vectors of rows, float32, read in blocks."""
    return np.concatenate(
        [_numbers(read, rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE)]
    )


def _numbers(read: Callable[[Rows], Half], rows: Rows, transform: Any = None) -> Single:
    vectors = read(rows).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise DatabaseDamaged(
            "some stored vectors are not numbers", hint="see which: image-similarity db verify"
        )
    return vectors if transform is None else transform(vectors).astype(np.float32)


def _mapped(vectors: Single, perplexity: float, seed: int, on_event: Listener) -> Single:
    from sklearn.manifold import TSNE

    on_event(Started("map", "", _ITERATIONS, "iterations"))
    if np.ptp(vectors, axis=0).max() == 0:
        # All alike: there is nothing to lay out, and the first positions would be 0 divided by 0.
        xy = np.zeros((len(vectors), 2), dtype=np.float32)
    else:
        tsne = TSNE(
            perplexity=perplexity,
            init="pca",
            method="barnes_hut",
            max_iter=_ITERATIONS,
            random_state=seed,
            verbose=2,
        )
        with redirect_stdout(_Follower(on_event)):
            xy = tsne.fit_transform(vectors).astype(np.float32)
    on_event(Progress(_ITERATIONS, _ITERATIONS, 0, 0))
    return xy


class _Follower(io.TextIOBase):
    """Makes progress of what scikit-learn prints, which is all it tells; of lines it does not know it makes nothing."""

    def __init__(self, on_event: Listener) -> None:
        self._on_event = on_event

    def write(self, text: str) -> int:
        """Take some of the text."""
        if found := _ITERATION.search(text):
            done = min(int(found[1]), _ITERATIONS - 1)
            self._on_event(Progress(done, _ITERATIONS, 0, 0))
        return len(text)


def _with_others(
    xy: Single, reduced: Single, chosen: Rows, mapped: npt.NDArray[np.bool_]
) -> Single:
    """Positions of all: the median of three is one that some of them have, and so within the group of most of them."""
    if mapped.all():
        return xy
    from sklearn.neighbors import NearestNeighbors

    every = np.empty((len(reduced), 2), dtype=np.float32)
    every[chosen] = xy
    finder = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(reduced[chosen])
    others = np.flatnonzero(~mapped)
    for start in range(0, len(others), _AT_ONCE):
        rows = others[start : start + _AT_ONCE]
        near = finder.kneighbors(reduced[rows], return_distance=False)
        every[rows] = np.median(xy[near], axis=1)
    return every
