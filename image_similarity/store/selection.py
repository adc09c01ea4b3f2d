"""What a report reads: which contents it holds, what the database covers of the evidence, and what it does not."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, true

from image_similarity.store import audit, facts, gallery, marks, runs
from image_similarity.store.schema import (
    failure_table,
    file_table,
    image_scene_table,
    image_table,
    scene_table,
)
from image_similarity.values import Coverage, DatabaseStatus, Selection

# What these formats are read by gives the first of several frames or pages.
SEVERAL_FRAMES = ("AVIF", "GIF", "HEIF", "MPO", "PNG", "TIFF", "WEBP")


def place_filter(selection: Selection) -> gallery.PlaceFilter:
    """The places that a report of this selection names."""
    return gallery.PlaceFilter(
        sources=selection.sources, under=selection.under, include_gone=selection.include_gone
    )


def image_ids(connection: Connection, selection: Selection) -> list[int]:
    """The ids of the contents that meet a selection, whose `sha256s` are complete, in the order of their indexing."""
    placed = select(file_table.c.image_id).where(gallery.counting(place_filter(selection)))
    statement = select(image_table.c.id).where(image_table.c.id.in_(placed))
    if selection.tags:
        statement = statement.where(image_table.c.id.in_(marks.tagged(selection.tags)))
    if selection.scenes:
        shown = (
            select(image_scene_table.c.image_id)
            .join(scene_table, scene_table.c.id == image_scene_table.c.scene_id)
            .where(image_scene_table.c.rank == 1, scene_table.c.name.in_(selection.scenes))
        )
        statement = statement.where(image_table.c.id.in_(shown))
    if selection.sha256s:
        statement = statement.where(image_table.c.sha256.in_(selection.sha256s))
    return list(connection.execute(statement.order_by(image_table.c.id)).scalars())


def scene_names(connection: Connection) -> set[str]:
    """The scenes that any scene model of the database knows."""
    return set(connection.execute(select(scene_table.c.name).distinct()).scalars())


def coverage(connection: Connection, status: DatabaseStatus) -> Coverage:
    """What the database covers and what not; `status` is what `Catalog.status` gives."""
    by_stage = (
        select(failure_table.c.stage, func.count())
        .where(failure_table.c.resolved_run_id.is_(None))
        .group_by(failure_table.c.stage)
    )
    by_format = (
        select(image_table.c.format, func.count())
        .where(image_table.c.format.in_(SEVERAL_FRAMES))
        .group_by(image_table.c.format)
    )
    partial = select(func.count()).where(image_table.c.partial == true())
    return Coverage(
        facts=facts.read(connection),
        status=status,
        runs=tuple(runs.reports(connection)),
        failed={stage: count for stage, count in connection.execute(by_stage)},
        partial=connection.execute(partial).scalar_one(),
        several_frames={name: count for name, count in connection.execute(by_format)},
        head=audit.head(connection),
    )
