"""What queries see of a database whose vectors, or codes of them, come here: of a file, or of a server if need be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from image_similarity.ranking import bounded
from image_similarity.ranking.bounded import Half, Rows
from image_similarity.search import excluded
from image_similarity.search import sight as sights
from image_similarity.search.query import Query
from image_similarity.search.seen import Asked, Opened
from image_similarity.search.shelf import Mask, Mode
from image_similarity.search.sight import Sight
from image_similarity.store import gallery
from image_similarity.values import Excluded, MeasuredRecall, SearchKind


@dataclass(frozen=True, slots=True, eq=False)
class OnShelf:
    """What queries see of one database, as `seen.Seen`: a sight of each, how it was had, the contents near to it."""

    opened: Opened
    asked: Asked
    queries: Sequence[Query]
    kinds: Sequence[SearchKind]
    near: Sequence[list[tuple[int, float]]]
    sights: Sequence[Sight]
    left: Sequence[excluded.Left]

    def excluded(self, number: int) -> Excluded:
        """What lists, decisions and dates took out."""
        return self.left[number].excluded

    def searched(self, number: int) -> int:
        """How many contents pass the scene filter."""
        return self.sights[number].searched

    def hidden(self, number: int) -> int:
        """How many do not."""
        return self.sights[number].left_out

    def hidden_nearer(self, number: int, distance: float) -> int:
        """How many of those that do not are strictly nearer to the query than a distance."""
        return sights.count_hidden_nearer(
            self.opened.connection,
            self.opened.shelf,
            self.sights[number],
            self.queries[number].vector,
            distance,
        )

    def scene_counts(self, number: int) -> tuple[dict[int, int], int]:
        """How many contents have each scene, by its position; and how many have none."""
        counting = self.left[number].counting
        counts, without = self.opened.shelf.scene_counts(self.opened.connection, counting)
        return dict(enumerate(counts.tolist())), without

    def left_out(self, number: int) -> list[int]:
        """The image ids of what lists and decisions took out."""
        shelf, left = self.opened.shelf, self.left[number].counting
        placed = shelf.counting(self.opened.connection, self.asked.places)
        return [] if left is placed else shelf.ids(np.flatnonzero(placed & ~left))

    def recall(self) -> MeasuredRecall:
        """How an approximate look does on stored vectors."""
        shelf, connection = self.opened.shelf, self.opened.connection
        path = self.asked.request.index
        if path is not None:
            index = shelf.index(connection, path, self.asked.model.info).info
            total = index.queries * sights.RECALL_AT
            found = round(index.recall * total)
            return MeasuredRecall(found, total, index.queries, sights.RECALL_AT)
        found, total = sights.recall(connection, shelf)
        return MeasuredRecall(found, total, sights.RECALL_QUERIES, sights.RECALL_AT)


def look(
    opened: Opened,
    asked: Asked,
    queries: Sequence[Query],
    filters: Sequence[tuple[Mode, tuple[str, ...]]],
    said: Sequence[excluded.Verdicts],
) -> OnShelf:
    """Look at a database for queries, each with its scene filter and what was judged for it."""
    shelf, connection = opened.shelf, opened.connection
    vectors = [query.vector for query in queries]
    shelf.open(connection, None if asked.request.approximate else vectors[0])
    placed = shelf.counting(connection, asked.places)
    left = excluded.left(connection, shelf, asked.request, placed, queries, said)
    counting = [each.counting for each in left]
    masks = [
        _passing(opened, asked, counts, mode, scenes, query.sha256)
        for query, counts, (mode, scenes) in zip(queries, counting, filters, strict=True)
    ]
    looked, kinds = _look(opened, asked, vectors, counting, masks)
    rows = [
        sights.near_rows(shelf, each, vector, asked.wanted)
        for each, vector in zip(looked, vectors, strict=True)
    ]
    return OnShelf(
        opened, asked, queries, kinds, _nearest(opened, asked, vectors, rows), looked, left
    )


def _passing(
    opened: Opened, asked: Asked, counting: Mask, mode: Mode, scenes: Sequence[str], sha256: str
) -> Mask:
    if mode == "off" or asked.scene_model is None or opened.shelf.scene_model_id is None:
        return counting
    position = {name: at for at, name in enumerate(asked.scene_model.info.scenes)}
    own = gallery.id_of(opened.connection, sha256)
    chosen = [position[name] for name in scenes]
    passing = opened.shelf.passing(opened.connection, mode, chosen, own)
    return counting if passing is None else passing & counting


def _look(
    opened: Opened,
    asked: Asked,
    vectors: Sequence[Half],
    counting: Sequence[Mask],
    masks: Sequence[Mask],
) -> tuple[list[Sight], list[SearchKind]]:
    shelf, connection = opened.shelf, opened.connection
    exact: SearchKind = "bounded" if shelf.packed else "exhaustive"
    if asked.request.index is not None:
        return _look_indexed(opened, asked, asked.request.index, vectors, counting, masks, exact)
    if asked.request.approximate and shelf.packed > sights.CANDIDATES:
        shelf.load(connection)
        looked = [
            sights.by_bits(connection, shelf, vector, counts, mask)
            for vector, counts, mask in zip(vectors, counting, masks, strict=True)
        ]
        return looked, ["approximate"] * len(looked)
    if len(vectors) > 1 and len(shelf) >= sights.FEWEST_FOR_BATCH and shelf.load(connection):
        looked = sights.scan_many(connection, shelf, vectors, counting, masks, asked.wanted)
        return looked, [exact] * len(looked)
    looked = [
        sights.scan(connection, shelf, vector, counts, mask, asked.wanted)
        for vector, counts, mask in zip(vectors, counting, masks, strict=True)
    ]
    return looked, [exact] * len(looked)


def _look_indexed(
    opened: Opened,
    asked: Asked,
    path: Path,
    vectors: Sequence[Half],
    counting: Sequence[Mask],
    masks: Sequence[Mask],
    exact: SearchKind,
) -> tuple[list[Sight], list[SearchKind]]:
    """Look through an index; where a filter leaves too few of its candidates, at every row."""
    from image_similarity.search import indexed

    shelf, connection = opened.shelf, opened.connection
    index = shelf.index(connection, path, asked.model.info)
    looked, kinds = list[Sight](), list[SearchKind]()
    for vector, counts, mask in zip(vectors, counting, masks, strict=True):
        seen = indexed.look(connection, shelf, index, vector, counts, mask, asked.wanted)
        kinds.append(exact if seen is None else "approximate")
        looked.append(seen or sights.scan(connection, shelf, vector, counts, mask, asked.wanted))
    return looked, kinds


def _nearest(
    opened: Opened, asked: Asked, vectors: Sequence[Half], rows: Sequence[Rows]
) -> list[list[tuple[int, float]]]:
    """Image ids with exact distances for each query; the stored vectors are read once for all of them."""
    together = np.unique(np.concatenate(rows)) if len(rows) > 1 else rows[0]
    stored = opened.shelf.vectors(opened.connection, together)
    wanted = asked.wanted
    found = []
    for vector, own in zip(vectors, rows, strict=True):
        those = stored[np.searchsorted(together, own)] if len(rows) > 1 else stored
        near = bounded.nearest(those, vector, wanted.count, wanted.furthest)
        ids = opened.shelf.ids(own[np.array([at for at, _ in near], dtype=np.intp)])
        found.append([(id_, far) for id_, (_, far) in zip(ids, near, strict=True)])
    return found
