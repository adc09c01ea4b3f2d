"""A model's index on a server: built there, measured against the exact search, and named with its recall ever after."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from image_similarity.errors import IndexRefused, InvalidSetting, UsageError
from image_similarity.events import Listener, Notice, Progress, Started, ignore
from image_similarity.ranking import exhaustive
from image_similarity.ranking.bounded import Half
from image_similarity.search import choice, in_server
from image_similarity.search.sight import RECALL_AT, RECALL_QUERIES
from image_similarity.store import audit, pgvector
from image_similarity.store.catalog import Catalog
from image_similarity.store.pgvector import Vectors
from image_similarity.values import MeasuredRecall, ServerIndex, ServerUrl

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Draws the vectors that the recall is measured with.
SEED = 1


def make(
    catalog: Catalog,
    *,
    model: str | None = None,
    links: int = 16,
    effort: int = 64,
    memory: str | None = None,
    on_event: Listener = ignore,
) -> ServerIndex:
    """Build the index of a model's vectors on the server, in place of an earlier one, and measure its recall.

    Others may search and index meanwhile: vectors that are added later are in the index, too.

    Raises:
        UsageError: The database is a file.
        InvalidSetting: pgvector takes no such links or effort, or the server no such memory.
        IndexRefused: The vectors are too long for an index of pgvector, or there are none.
        AmbiguousModel, UnknownModel, DatabaseError.
    """
    if not 2 <= links <= 100:
        raise InvalidSetting(f"{links} links of each vector", hint="--links takes 2 to 100")
    if not max(4, 2 * links) <= effort <= 1000:
        raise InvalidSetting(
            f"an effort of {effort} while building",
            hint="--effort takes 4 to 1,000, and at least twice --links",
        )
    server = server_of(catalog, model)
    from image_similarity.store import pgvector_index

    with catalog.reading() as connection:
        vectors, chosen = _chosen(catalog, connection, model)
        total = pgvector.count(connection, vectors)
    if vectors.dim > pgvector.MOST_DIMENSIONS:
        raise IndexRefused(
            f"vectors of {vectors.dim:,} numbers are too long for an index of pgvector, which ends at "
            f"{pgvector.MOST_DIMENSIONS:,}",
            hint="search exactly, or reduce them: image-similarity analyse reduce",
        )
    allowed, needed = (
        pgvector_index.memory_of(server, memory),
        _graph_bytes(total, vectors.dim, links),
    )
    if needed > allowed:
        on_event(
            Notice(
                f"the index takes about {needed >> 20:,} MB while it is built, and the server allows "
                f"{allowed >> 20:,} MB: beyond these it takes many times as long; more with --memory"
            )
        )
    on_event(Started("index on the server", "", total, "vectors"))
    began = time.monotonic()
    pgvector_index.build_index(
        server,
        vectors.model_id,
        vectors.dim,
        links=links,
        effort=effort,
        memory=memory,
        tell=lambda done: on_event(Progress(min(done, total), total, 0, 0)),
    )
    on_event(Progress(total, total, 0, 0))
    seconds = time.monotonic() - began
    with catalog.reading() as connection:
        measured = pgvector.index_of(connection, vectors.model_id)
        recall = measure(connection, vectors)
        total = pgvector.count(connection, vectors)
    about = {
        "graph": measured and measured.graph,
        "fingerprint": chosen.info.fingerprint,
        "links": links,
        "effort": effort,
        "recall": asdict(recall),
        "vectors": total,
    }
    pgvector_index.keep_about(server, vectors.model_id, about)
    with catalog.reading() as connection:
        found = pgvector.index_of(connection, vectors.model_id)
    if found is None or not found.valid:
        raise IndexRefused("the index is not whole", hint="build it again")
    with catalog.writing() as connection:
        audit.append(connection, "index", {"did": "built", "model": chosen.info.name, **about})
    return ServerIndex(
        name=pgvector.index_name(vectors.model_id),
        model=chosen.info.name,
        fingerprint=chosen.info.fingerprint,
        vectors=total,
        dim=vectors.dim,
        links=links,
        effort=effort,
        seconds=seconds,
        size_bytes=found.size_bytes,
        recall=recall,
    )


def _graph_bytes(vectors: int, dim: int, links: int) -> int:
    """About how much memory pgvector takes for a graph: each vector, its links (twice as many below), and its node."""
    return vectors * (2 * dim + 2 * links * 24 + 200)


def drop(catalog: Catalog, *, model: str | None = None) -> str | None:
    """Drop the index of a model; gives its name, or None if there was none. Searches are exact from then on.

    Raises:
        UsageError: The database is a file.
        AmbiguousModel, UnknownModel, DatabaseError.
    """
    server = server_of(catalog, model)
    from image_similarity.store import pgvector_index

    with catalog.reading() as connection:
        vectors, chosen = _chosen(catalog, connection, model)
        found = pgvector.index_of(connection, vectors.model_id)
    if found is None:
        return None
    pgvector_index.drop_index(server, vectors.model_id)
    with catalog.writing() as connection:
        said = {"model": chosen.info.name, "fingerprint": chosen.info.fingerprint}
        audit.append(connection, "index", {"did": "dropped", **said})
    return pgvector.index_name(vectors.model_id)


def server_of(catalog: Catalog, model: str | None) -> ServerUrl:
    """Give where the database is.

    Raises:
        UsageError: It is a file.
    """
    if isinstance(catalog.path, ServerUrl):
        return catalog.path
    which = "" if model is None else f" -m {model}"
    raise UsageError(
        f"{catalog.path} is a file: only a server keeps an index of vectors in the database",
        hint=f"an index beside it makes: image-similarity analyse ann{which} -dp {catalog.path}",
    )


def _chosen(
    catalog: Catalog, connection: Connection, model: str | None
) -> tuple[Vectors, choice.Chosen]:
    chosen = choice.choose([catalog], [connection], model)
    model_id, dim = chosen.ids[0], chosen.info.dim
    assert model_id is not None and dim is not None  # noqa: S101 - `choose` saw to both
    return Vectors(model_id, dim), chosen


def measure(connection: Connection, vectors: Vectors) -> MeasuredRecall:
    """Try the index on stored vectors: how many of their ten nearest it finds, as a search without filters asks it.

    They are drawn with a fixed seed; the vector itself does not count, and one as near as the last of the ten does.
    """
    total = pgvector.count(connection, vectors)
    random = np.random.default_rng(SEED)
    drawn = np.sort(random.choice(total, min(RECALL_QUERIES, total), replace=False)).tolist()
    ids = np.array(pgvector.ids_at(connection, vectors, drawn), dtype=np.int64)
    found = wanted = 0
    for own, query in zip(ids.tolist(), pgvector.read(connection, vectors, ids), strict=True):
        others = vectors.that(~pgvector.one_of([own]))
        nearest = pgvector.nearest(connection, others, query, RECALL_AT, None)
        if not nearest:
            continue
        limit = nearest[-1][1] * (1 + 2 * pgvector.error_of(vectors.dim))
        met = pgvector.nearest_by_index(connection, vectors, query, in_server.CANDIDATES)
        near = _distances(connection, vectors, [id_ for id_ in met if id_ != own], query)
        found += min(len(nearest), sum(far <= limit for far in near))
        wanted += len(nearest)
    return MeasuredRecall(found, wanted, len(ids), RECALL_AT, total)


def _distances(
    connection: Connection, vectors: Vectors, image_ids: list[int], query: Half
) -> list[float]:
    stored = pgvector.read(connection, vectors, np.array(sorted(image_ids), dtype=np.int64))
    found: list[float] = exhaustive.exact_distances(stored, query).tolist()
    return found
