"""Indexes of vectors on a server: how one is built, dropped, and what was measured of it is kept; see pgvector.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from image_similarity.errors import DatabaseError, InvalidSetting
from image_similarity.store.pgvector import index_name
from image_similarity.store.postgres import name_error
from image_similarity.values import ServerUrl

_LOOK_EVERY_S = 0.5


def keep_about(server: ServerUrl, model_id: int, about: Mapping[str, Any]) -> None:
    """Keep what was measured of an index with it, as `Index.about` reads it: as its comment."""
    with _bare(server) as connection:
        connection.execute(
            sql.SQL("COMMENT ON INDEX {} IS {}").format(
                sql.Identifier(index_name(model_id)), json.dumps(about, sort_keys=True)
            )
        )


def drop_index(server: ServerUrl, model_id: int) -> None:
    """Drop the index of a model, if there is one; searches go on meanwhile."""
    with _bare(server) as connection:
        name = sql.Identifier(index_name(model_id))
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(name))


def build_index(
    server: ServerUrl,
    model_id: int,
    dim: int,
    *,
    links: int,
    effort: int,
    memory: str | None,
    tell: Callable[[int], None],
) -> None:
    """Build the index of a model while others read and write; one that a killed build left is dropped first.

    `tell` is told how many vectors are in it. A graph that outgrows `memory` ("4GB"; the server's maintenance_work_mem)
    takes many times as long from there on.
    """
    drop_index(server, model_id)
    statement = (
        f"CREATE INDEX CONCURRENTLY {index_name(model_id)} ON embedding"
        f" USING hnsw ((vector::halfvec({int(dim)})) halfvec_l2_ops)"
        f" WITH (m = {int(links)}, ef_construction = {int(effort)}) WHERE model_id = {int(model_id)}"
    )
    with _bare(server) as builder, _bare(server) as watcher, ThreadPoolExecutor(1) as thread:
        if memory is not None:
            builder.execute("SELECT set_config('maintenance_work_mem', %s, false)", (memory,))
        pid = builder.info.backend_pid
        building = thread.submit(builder.execute, sql.SQL(statement))
        try:
            while not wait([building], timeout=_LOOK_EVERY_S).done:
                done = watcher.execute(
                    "SELECT tuples_done FROM pg_stat_progress_create_index WHERE pid = %s", (pid,)
                ).fetchone()
                if done is not None:
                    tell(done[0])
            building.result()
            # The planner reckons with how the rows are now.
            for table in ("embedding", "image_scene", "file", "image"):
                builder.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
        except BaseException:
            builder.cancel()
            raise


def memory_of(server: ServerUrl, memory: str | None) -> int:
    """The bytes that a build may take: of a setting ("4GB"), or of the server's own.

    Raises:
        InvalidSetting: The server does not understand it.
    """
    try:
        with _bare(server) as connection:
            if memory is not None:
                connection.execute(
                    "SELECT set_config('maintenance_work_mem', %s, false)", (memory,)
                )
            row = connection.execute(
                "SELECT setting::bigint * 1024 FROM pg_settings WHERE name = 'maintenance_work_mem'"
            ).fetchone()
    except DatabaseError as error:
        if memory is None:
            raise
        raise InvalidSetting(
            f"the server takes no {memory!r} as maintenance_work_mem", hint="write it as 4GB"
        ) from error
    return 0 if row is None else int(row[0])


@contextmanager
def _bare(server: ServerUrl) -> Iterator[psycopg.Connection]:
    """A connection of its own outside of any transaction: in one, no index can be built beside writers."""
    # Taken apart as the engine does it: libpq would read part of a password with a "/" as the host.
    url = make_url(server.url)
    arguments, settings = url.get_dialect()().create_connect_args(url)
    settings = {"application_name": "image_similarity", "connect_timeout": 10, **settings}
    try:
        with psycopg.connect(*arguments, **settings, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise name_error(error, server) from error
