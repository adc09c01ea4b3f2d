"""An approximate index of one model's vectors: how it is built, what it finds, and how often that is the truth.

The index is a graph of near neighbours (HNSW, Malkov and Yashunin 2018, arXiv:1603.09320) over vectors at 8 bits a
dimension. A query walks through it towards nearer vectors; what it meets are candidates, whose exact distances the
caller computes from the stored vectors. The kernels are faiss's.

Why this one, measured (docs/benchmarks.md): on clustered random vectors an inverted file (IVF) answers twice as fast
and is built four times as fast, but on vectors of photographs it finds less than the graph even when it looks into a
tenth of its cells. usearch's graph at 8 bits takes as much room and is no faster to build or to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from image_similarity.errors import ExtraMissing, IndexRefused
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.search.sight import RECALL_AT
from image_similarity.store.gallery import Gallery
from image_similarity.values import AnnInfo

Half = npt.NDArray[np.float16]
Ids = npt.NDArray[np.int64]

# Below this an exact search takes a millisecond, and too few vectors could be held aside to say how good an index is.
FEWEST = 1_000
# Held aside for each of the two samples, that which chooses the effort and that which measures the recall.
QUERIES = 1_000
# Candidates whose distances are computed exactly, for the measured recall; 8-bit codes alone mix up near neighbours.
CANDIDATES = 40
# How much wider a filtered search looks before it is better done exactly.
WIDEST = 16
# Links of a vector (twice as many on the lowest level), and how many candidates for them are kept while building.
LINKS = 16
BUILD_EFFORT = 100
# How many candidates are kept while searching: tried in this order until the recall is reached.
EFFORTS = (32, 64, 128, 256, 512, 1024, 2048)
BLOCK = 16_384
# Queries whose candidates are compared at once: 16 MB at 256 dimensions.
PORTION = 100
# Two float32 squared distances of the same vectors differ by less, as a share of the query's squared length: a tie is
# no miss. Raw features may be thousands of times as long as a unit vector.
TIE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class AnnIndex:
    """An index that can be asked.

    `info` says what it is of and what it is worth; `image_ids` int64 (N,) whose vectors it holds, in the order in which
    `engine`, faiss's index, numbers them.
    """

    info: AnnInfo
    image_ids: Ids
    engine: Any


def load_faiss() -> Any:
    """Give the library.

    Raises:
        ExtraMissing: It is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ExtraMissing(
            "an approximate index needs the package faiss-cpu, which is not installed",
            hint='pip install "image_similarity[ann]"',
        ) from error
    return faiss


def nearest(index: AnnIndex, vectors: npt.ArrayLike, count: int, *, wider: int = 1) -> Ids:
    """Give the image ids of about the `count` nearest pictures to each vector, int64 (queries, count).

    Nearest first by distances at 8 bits: candidates, whose exact distances are the caller's to compute. Rows end in -1
    where fewer were met. `wider` makes the search that many times as thorough.
    """
    queries = np.ascontiguousarray(vectors, dtype=np.float32)
    parameters = load_faiss().SearchParametersHNSW(efSearch=index.info.effort * wider)
    found = index.engine.search(queries, count, params=parameters)[1]
    return np.where(found < 0, np.int64(-1), index.image_ids[found])


def nearest_passing(
    index: AnnIndex, vector: Half, count: int, passes: Callable[[Ids], npt.NDArray[np.bool_]]
) -> Ids | None:
    """Give candidates for the `count` nearest pictures that pass a filter, and those met beside them that do not.

    The search widens until twice `count` of the candidates pass. None means that hardly any do: so few pictures are
    better searched exactly, and an index would miss some of them.

    Args:
        index: The index.
        vector: The query, float16 (dim,).
        count: How many are wanted.
        passes: Says which of some image ids pass.
    """
    wanted, wider = max(CANDIDATES, 4 * count), 1
    while wider <= WIDEST:
        found: Ids = nearest(index, vector[None], wanted * wider, wider=wider)[0]
        found = found[found >= 0]
        if np.count_nonzero(passes(found)) >= 2 * count:
            return found
        wider *= 2
    return None


def build(
    gallery: Gallery, known: AnnInfo, *, target: float, on_event: Listener = ignore
) -> AnnIndex:
    """Build an index of all vectors of a gallery and measure how often it finds the true nearest ones.

    Two samples are held aside while it is built. With the first the least effort is found at which recall@10 reaches
    the target; the second, which chose nothing, measures the recall. Both are added at the end.

    Args:
        gallery: The vectors, float16 (N, dim).
        known: What the index is of; its `seed` draws the samples. The rest is filled in.
        target: Recall@10 to choose the effort by, in (0, 1].
        on_event: Gets `Started` and `Progress` in vectors.

    Raises:
        ExtraMissing: faiss is not installed.
        IndexRefused: There are too few vectors, or some are not numbers.
    """
    total = len(gallery.image_ids)
    if total < FEWEST:
        raise IndexRefused(
            f"{total} vectors are too few for an approximate index",
            hint=f"an index is worth its while far above {FEWEST:,}; search exactly",
        )
    if not np.isfinite(gallery.vectors).all():
        raise IndexRefused(
            "some stored vectors are not numbers", hint="see which: image-similarity db verify"
        )
    on_event(Started("approximate index", "", total, "vectors"))
    random = np.random.default_rng(known.seed)
    half = min(QUERIES, total // 20)
    aside = random.choice(total, 2 * half, replace=False)
    engine = new_engine(known.dim)
    engine.train(gallery.vectors[random.choice(total, FEWEST, replace=False)].astype(np.float32))
    added, border = _add(engine, gallery, aside, on_event)
    index = AnnIndex(
        replace(known, vectors=total, queries=half, effort=EFFORTS[-1]),
        gallery.image_ids[added],
        engine,
    )
    index = _least_effort(index, gallery, aside[:half], border[:half], target)
    recall = _recall(index, gallery, aside[half:], border[half:])
    engine.add(gallery.vectors[aside].astype(np.float32))
    on_event(Progress(total, total, 0, 0))
    image_ids = np.concatenate([index.image_ids, gallery.image_ids[aside]])
    return AnnIndex(replace(index.info, recall=recall), image_ids, engine)


def new_engine(dim: int) -> Any:
    """Give an empty index of faiss."""
    faiss = load_faiss()
    engine = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, LINKS, faiss.METRIC_L2)
    engine.hnsw.efConstruction = BUILD_EFFORT
    return engine


def _add(
    engine: Any, gallery: Gallery, aside: npt.NDArray[np.int64], on_event: Listener
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Add all but those held aside.

    Returns:
        The positions added, and for each held aside the squared distance of the 10th nearest of these.
    """
    faiss = load_faiss()
    queries = gallery.vectors[aside].astype(np.float32)
    added = np.delete(np.arange(len(gallery.image_ids)), aside)
    best = np.full((len(aside), RECALL_AT), np.inf, dtype=np.float32)
    for start in range(0, len(added), BLOCK):
        block = gallery.vectors[added[start : start + BLOCK]].astype(np.float32)
        engine.add(block)
        near, _ = faiss.knn(queries, block, min(RECALL_AT, len(block)))
        best = np.sort(np.concatenate([best, near], axis=1), axis=1)[:, :RECALL_AT]
        on_event(Progress(start + len(block), len(gallery.image_ids), 0, 0))
    return added, best[:, -1]


def _least_effort(
    index: AnnIndex,
    gallery: Gallery,
    queries: npt.NDArray[np.int64],
    border: npt.NDArray[np.float32],
    target: float,
) -> AnnIndex:
    """The index with the least effort at which its recall reaches the target, else the greatest."""
    for effort in EFFORTS:
        tried = replace(index, info=replace(index.info, effort=effort))
        if _recall(tried, gallery, queries, border) >= target:
            return tried
    return index


def _recall(
    index: AnnIndex,
    gallery: Gallery,
    queries: npt.NDArray[np.int64],
    border: npt.NDArray[np.float32],
) -> float:
    """The share of the true nearest that are among the candidates; as near as the last of them counts as one."""
    hits = 0
    for start in range(0, len(queries), PORTION):
        part = queries[start : start + PORTION]
        wanted = gallery.vectors[part].astype(np.float32)
        found = nearest(index, wanted, CANDIDATES)
        # In place of a missing candidate stands some vector, at an infinite distance.
        met = np.where(found < 0, gallery.image_ids[0], found)
        vectors = gallery.vectors[np.searchsorted(gallery.image_ids, met)].astype(np.float32)
        squared = ((vectors - wanted[:, None]) ** 2).sum(axis=2)
        squared[found < 0] = np.inf
        tie = TIE * np.maximum(1, np.einsum("qd,qd->q", wanted, wanted))
        near = squared <= (border[start : start + len(part)] + tie)[:, None]
        hits += int(np.minimum(near.sum(axis=1), RECALL_AT).sum())
    return hits / (RECALL_AT * len(queries))
