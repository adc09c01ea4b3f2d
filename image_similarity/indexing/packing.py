"""Packing: the packs that a database lacks, of every model that it holds; see `store.packs`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from image_similarity.ranking import codes
from image_similarity.store import models, pack_writing, packs
from image_similarity.store.catalog import Catalog

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Packs made in one transaction: readers wait at most about a second for it, and a kill loses no more.
PACKS_AT_ONCE = 16


def pack(catalog: Catalog) -> int:
    """Make all packs that are missing, some in each transaction; gives how many were made."""
    total = 0
    while True:
        with catalog.writing() as connection:
            made = pack_some(connection)
        total += made
        if made < PACKS_AT_ONCE:
            return total


def drop_wrong(catalog: Catalog) -> int:
    """Delete the packs that do not hold what their rows say, which are then missing; gives how many were deleted.

    Takes about as long as making all packs.
    """
    dropped = 0
    with catalog.writing() as connection:
        labelled = models.labelled_models(connection)
        for model_id, info in models.stored(connection).items():
            if info.dim is not None:
                size = packs.range_size(info.dim)
                found = packs.wrong_packs(connection, model_id, info.dim, codes.problem_of)
                wrong = [packs.stretch(number, size)[0] for number, _ in found]
                pack_writing.drop(connection, model_id, info.dim, wrong)
                dropped += len(wrong)
            if model_id in labelled:
                found = packs.wrong_scene_packs(connection, model_id)
                wrong = [packs.stretch(number, packs.LARGEST_RANGE)[0] for number, _ in found]
                pack_writing.drop_scenes(connection, model_id, wrong)
                dropped += len(wrong)
    return dropped


def pack_some(connection: Connection) -> int:
    """Make up to PACKS_AT_ONCE missing packs within the caller's transaction; gives how many were made."""
    made = 0
    labelled = models.labelled_models(connection)
    for model_id, info in models.stored(connection).items():
        if info.dim is not None:
            limit = PACKS_AT_ONCE - made
            made += pack_writing.build_missing(
                connection, model_id, info.dim, codes.encode, limit=limit
            )
        if model_id in labelled:
            limit = PACKS_AT_ONCE - made
            made += pack_writing.build_missing_scenes(connection, model_id, limit=limit)
    return made


def pack_completed(connection: Connection, image_ids: Collection[int]) -> None:
    """Make packs within the caller's transaction if these new contents completed a range."""
    size = packs.LARGEST_RANGE
    # The content before the first of them may have been the last of its range.
    if image_ids and (max(image_ids) - 1) // size > (min(image_ids) - 2) // size:
        pack_some(connection)
