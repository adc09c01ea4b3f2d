"""From what queries see of some databases to ranked hits, and to what the scene filter did."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from image_similarity.pictures.names import on_disk, to_text
from image_similarity.ranking import bounded
from image_similarity.ranking.bounded import Half, Rows
from image_similarity.ranking.scenes import likely_scenes
from image_similarity.search import cohort, excluded
from image_similarity.search import sight as sights
from image_similarity.search.choice import Chosen
from image_similarity.search.meaning import Meaning
from image_similarity.search.query import Query
from image_similarity.search.request import MODES, SearchRequest
from image_similarity.search.shelf import Mask, Mode, Shelf
from image_similarity.search.sight import Sight, Wanted
from image_similarity.store import as_of, gallery
from image_similarity.store.catalog import Catalog
from image_similarity.values import (
    AnnInfo,
    Basis,
    Hit,
    ImageRecord,
    MeasuredRecall,
    ModelInfo,
    NearHit,
    Place,
    SceneCounts,
    SceneFilter,
    SearchKind,
    SearchResult,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Opened:
    """A database with a connection inside a transaction that ends with the block that uses it."""

    catalog: Catalog
    shelf: Shelf
    connection: Connection


@dataclass(frozen=True, slots=True)
class Asked:
    """What all queries of a search have in common."""

    request: SearchRequest
    places: gallery.PlaceFilter
    model: Chosen
    scene_model: Chosen | None
    meaning: Meaning

    @property
    def wanted(self) -> Wanted:
        """One more than k: the query's own place, which is left out, may be all that its content has."""
        return Wanted(self.request.k + 1, self.request.max_distance)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What queries see of one database: a sight of each, how it was had, the rows near to it with exact distances."""

    opened: Opened
    kinds: Sequence[SearchKind]
    sights: Sequence[Sight]
    near: Sequence[list[tuple[int, float]]]
    left: Sequence[excluded.Left]


def answer_all(
    databases: Sequence[Opened], asked: Asked, queries: Sequence[Query], *, as_one: bool = False
) -> list[SearchResult]:
    """Answer queries; several at once are compared in one product.

    With `as_one` what was judged for one of them is judged for all.
    """
    filters = [_searched_scenes(asked, query) for query in queries]
    connections = [opened.connection for opened in databases]
    said = excluded.verdicts(connections, queries, as_one=as_one)
    seen = [_see(opened, asked, queries, filters, said) for opened in databases]
    index = _index(databases, asked)
    recall = _recall(seen, index) if any("approximate" in each.kinds for each in seen) else None
    hits = [_hits(each, asked, queries, said) for each in seen]
    results = [
        _result(
            seen,
            asked,
            number,
            query,
            filters[number],
            [each[number] for each in hits],
            recall,
            index,
        )
        for number, query in enumerate(queries)
    ]
    if not asked.request.strength:
        return results
    sample = cohort.draw(databases, asked)
    return [
        cohort.strengthen(result, query, sample, asked)
        for result, query in zip(results, queries, strict=True)
    ]


def _searched_scenes(asked: Asked, query: Query) -> tuple[Mode, tuple[str, ...]]:
    """Which scenes are searched for this query."""
    wanted = asked.request.scene
    if asked.scene_model is None or "off" in wanted:
        return "off", ()
    if "hard" in wanted:
        return "hard", tuple(score.name for score in query.scenes[:1])
    names = tuple(name for name in wanted if name not in MODES)
    if "auto" not in wanted:
        return "named", names
    likely = likely_scenes(query.scenes, asked.scene_model.info.scene_mass)
    return "auto", tuple(dict.fromkeys([*likely, *names]))


def _see(
    opened: Opened,
    asked: Asked,
    queries: Sequence[Query],
    filters: Sequence[tuple[Mode, tuple[str, ...]]],
    said: Sequence[excluded.Verdicts],
) -> _Seen:
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
    return _Seen(opened, kinds, looked, _nearest(opened, asked, vectors, rows), left)


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
    """Rows with exact distances for each query; the stored vectors are read once for all of them."""
    together = np.unique(np.concatenate(rows)) if len(rows) > 1 else rows[0]
    stored = opened.shelf.vectors(opened.connection, together)
    wanted = asked.wanted
    found = []
    for vector, own in zip(vectors, rows, strict=True):
        those = stored[np.searchsorted(together, own)] if len(rows) > 1 else stored
        near = bounded.nearest(those, vector, wanted.count, wanted.furthest)
        found.append([(int(own[at]), distance) for at, distance in near])
    return found


def _index(databases: Sequence[Opened], asked: Asked) -> AnnInfo | None:
    """What is known of the index that was asked for, in the one database that it is of."""
    path = asked.request.index
    if path is None:
        return None
    (opened,) = databases
    return opened.shelf.index(opened.connection, path, asked.model.info).info


def _recall(seen: Sequence[_Seen], index: AnnInfo | None) -> MeasuredRecall:
    if index is not None:
        total = index.queries * sights.RECALL_AT
        found = round(index.recall * total)
        return MeasuredRecall(found, total, index.queries, sights.RECALL_AT)
    tried = [
        sights.recall(each.opened.connection, each.opened.shelf)
        for each in seen
        if "approximate" in each.kinds
    ]
    found, total = (sum(numbers) for numbers in zip(*tried, strict=True))
    return MeasuredRecall(found, total, sights.RECALL_QUERIES * len(tried), sights.RECALL_AT)


def _hits(
    seen: _Seen, asked: Asked, queries: Sequence[Query], said: Sequence[excluded.Verdicts]
) -> list[list[Hit]]:
    """For each query the places, with exact distances, of all contents of one database that can be among the nearest.

    Records are read once for all queries.
    """
    opened = seen.opened
    rows = np.array(sorted({row for near in seen.near for row, _ in near}), dtype=np.intp)
    ids = dict(zip(rows.tolist(), opened.shelf.ids(rows), strict=True))
    records = gallery.records(
        opened.connection,
        ids.values(),
        scene_model=opened.shelf.scene_model_id,
        places=asked.places,
    )
    return [
        list(
            _hits_of(
                query,
                [(records[ids[row]], far) for row, far in near],
                str(opened.catalog.path),
                judged,
                asked.model.info,
            )
        )
        for query, near, judged in zip(queries, seen.near, said, strict=True)
    ]


def _hits_of(
    query: Query,
    near: Sequence[tuple[ImageRecord, float]],
    database: str,
    judged: excluded.Verdicts,
    model: ModelInfo,
) -> Iterator[Hit]:
    own = _own_place((record for record, _ in near), query.own_path)
    for record, distance in near:
        for place in record.places:
            if place is not own:
                yield Hit(
                    rank=0,
                    distance=distance,
                    similarity=model.similarity(distance),
                    identical=record.sha256 == query.sha256,
                    place=place,
                    image=record,
                    database=database,
                    verdict=judged.get(record.sha256, ""),
                )


def _own_place(records: Iterable[ImageRecord], own_path: str | None) -> Place | None:
    """The place that is the query itself; of disks that were mounted in turn at one folder, the latest."""
    own = [
        place
        for record in records
        for place in record.places
        if own_path is not None and on_disk(place) == own_path
    ]
    return max(own, key=lambda place: (place.gone_since is None, place.first_seen), default=None)


def _result(
    seen: Sequence[_Seen],
    asked: Asked,
    number: int,
    query: Query,
    filter_: tuple[Mode, tuple[str, ...]],
    found: Sequence[Sequence[Hit]],
    recall: MeasuredRecall | None,
    index: AnnInfo | None,
) -> SearchResult:
    request = asked.request
    kind = _kind(each.kinds[number] for each in seen)
    ranked = sorted((hit for hits in found for hit in hits), key=hit_order)
    hits = tuple(
        asked.meaning.explain(replace(hit, rank=rank))
        for rank, hit in enumerate(ranked[: request.k], start=1)
    )
    return SearchResult(
        query=to_text(query.label),
        sha256=query.sha256,
        model=asked.model.info,
        scene_model=asked.scene_model.info if asked.scene_model else None,
        query_scenes=query.scenes,
        stored=query.was_stored,
        k=request.k,
        max_distance=request.max_distance,
        search=kind,
        filter=_scene_filter(seen, number, query, filter_, _border(request, hits)),
        hits=hits,
        distances=asked.meaning.table,
        calibration=request.calibration,
        recall=recall if kind == "approximate" else None,
        index=index,
        query_made=query.made,
        excluded=excluded.together([each.left[number].excluded for each in seen]),
        basis=_basis(seen, number, query, asked.places) if request.with_basis else None,
        scene_counts=_scene_counts(seen, number, asked) if request.with_scene_counts else None,
    )


def _scene_counts(seen: Sequence[_Seen], number: int, asked: Asked) -> SceneCounts:
    """What the scene filter may choose from, in all databases together."""
    names = asked.scene_model.info.scenes if asked.scene_model else ()
    counts, unlabelled = np.zeros(len(names), dtype=np.int64), 0
    for each in seen:
        opened = each.opened
        here, without = opened.shelf.scene_counts(opened.connection, each.left[number].counting)
        counts[: len(here)] += here[: len(counts)]
        unlabelled += without
    found = [(name, count) for name, count in zip(names, counts.tolist(), strict=True) if count]
    return SceneCounts(tuple(sorted(found, key=lambda each: (-each[1], each[0]))), unlabelled)


def _basis(seen: Sequence[_Seen], number: int, query: Query, places: gallery.PlaceFilter) -> Basis:
    """What the answer was computed from; the states are those of the transactions that it was read in."""
    return Basis(
        vector=query.vector.astype("<f2").tobytes(),
        own_path=None if query.own_path is None else to_text(query.own_path),
        moments=tuple(
            (str(each.opened.catalog.path), as_of.now(each.opened.connection)) for each in seen
        ),
        excluded=tuple(tuple(_left_out(each, places, number)) for each in seen),
    )


def _left_out(seen: _Seen, places: gallery.PlaceFilter, number: int) -> list[str]:
    """The SHA-256 of the contents that hash lists and decisions took out for one query."""
    shelf, connection = seen.opened.shelf, seen.opened.connection
    placed, left = shelf.counting(connection, places), seen.left[number].counting
    if left is placed:
        return []
    return gallery.hashes_of(connection, shelf.ids(np.flatnonzero(placed & ~left)))


def _scene_filter(
    seen: Sequence[_Seen],
    number: int,
    query: Query,
    filter_: tuple[Mode, tuple[str, ...]],
    border: float,
) -> SceneFilter:
    """What the filter did in all databases together."""
    nearer = sum(
        sights.count_hidden_nearer(
            each.opened.connection,
            each.opened.shelf,
            each.sights[number],
            query.vector,
            border,
        )
        for each in seen
    )
    return SceneFilter(
        mode=filter_[0],
        scenes=filter_[1],
        searched=sum(each.sights[number].searched for each in seen),
        hidden=sum(each.sights[number].left_out for each in seen),
        hidden_nearer=nearer,
    )


def hit_order(hit: Hit | NearHit) -> tuple[float, str, str, str, str]:
    """By what hits are ordered: nearest first; of equally near ones always in the same order."""
    return hit.distance, hit.image.sha256, hit.place.path, hit.place.source, hit.database


def _kind(kinds: Iterable[SearchKind]) -> SearchKind:
    """The least of what the databases were searched by."""
    order: tuple[SearchKind, ...] = ("exhaustive", "bounded", "approximate")
    return max(kinds, key=order.index, default="exhaustive")


def _border(request: SearchRequest, hits: Sequence[Hit]) -> float:
    """The distance below which a hidden picture would have taken a hit's place, or filled a free one."""
    if len(hits) == request.k:
        return hits[-1].distance
    furthest = request.max_distance
    # Just above: a picture at the maximum distance itself is a hit.
    return math.inf if furthest is None else math.nextafter(furthest, math.inf)
