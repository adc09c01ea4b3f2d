"""What a query sees of a database through an approximate index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from image_similarity.ranking import bounded
from image_similarity.ranking.bounded import Half
from image_similarity.search import ann
from image_similarity.search.ann import AnnIndex, Ids
from image_similarity.search.shelf import Mask, Shelf
from image_similarity.search.sight import Sight, Wanted, sight_of

if TYPE_CHECKING:
    from sqlalchemy import Connection


def look(
    connection: Connection,
    shelf: Shelf,
    index: AnnIndex,
    query: Half,
    counting: Mask,
    passing: Mask,
    wanted: Wanted,
) -> Sight | None:
    """Look at the candidates of an index, by their stored vectors; None if too few of them pass the filters.

    Masks (N,) say which rows exist for the search, and which of them pass. Of those that do not, only the ones met on
    the way are seen: what an answer counts as hidden and nearer is then the least that it can be.
    """

    def passes(image_ids: Ids) -> Mask:
        mask: Mask = passing[shelf.rows_of(image_ids)]
        return mask

    found = ann.nearest_passing(index, query, wanted.count, passes)
    if found is None:
        return None
    rows = np.unique(shelf.rows_of(found))
    rows = rows[counting[rows]]
    bounds = bounded.bounds_of_rows(shelf.vectors(connection, rows), query)
    return sight_of(rows, bounds, counting, passing)
