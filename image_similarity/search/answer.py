"""From what queries see of some databases to ranked hits, and to what the scene filter did."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from image_similarity.pictures.names import on_disk, to_text
from image_similarity.ranking.scenes import likely_scenes
from image_similarity.search import cohort, excluded, in_server, on_shelf
from image_similarity.search.query import Query
from image_similarity.search.request import MODES, SearchRequest
from image_similarity.search.seen import Asked, Opened, Seen
from image_similarity.search.shelf import Mode
from image_similarity.store import as_of, gallery
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


def answer_all(
    databases: Sequence[Opened], asked: Asked, queries: Sequence[Query], *, as_one: bool = False
) -> list[SearchResult]:
    """Answer queries; several at once are compared in one product.

    With `as_one` what was judged for one of them is judged for all.
    """
    filters = [_searched_scenes(asked, query) for query in queries]
    connections = [opened.connection for opened in databases]
    said = excluded.verdicts(connections, queries, as_one=as_one)
    seen = [_look(opened, asked, queries, filters, said) for opened in databases]
    index = _index(databases, asked)
    recall = _recall(seen)
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


def _look(
    opened: Opened,
    asked: Asked,
    queries: Sequence[Query],
    filters: Sequence[tuple[Mode, tuple[str, ...]]],
    said: Sequence[excluded.Verdicts],
) -> Seen:
    look = in_server.look if asked.in_server(opened) else on_shelf.look
    return look(opened, asked, queries, filters, said)


def _index(databases: Sequence[Opened], asked: Asked) -> AnnInfo | None:
    """What is known of the index that was asked for, in the one database that it is of."""
    path = asked.request.index
    if path is None:
        return None
    (opened,) = databases
    return opened.shelf.index(opened.connection, path, asked.model.info).info


def _recall(seen: Sequence[Seen]) -> MeasuredRecall | None:
    """How the approximate looks do, together; None where all are exact."""
    tried = [each.recall() for each in seen if "approximate" in each.kinds]
    if not tried:
        return None
    if len(tried) == 1:
        return tried[0]
    found, total, queries = (
        sum(numbers)
        for numbers in zip(*((r.found, r.total, r.queries) for r in tried), strict=True)
    )
    return MeasuredRecall(found, total, queries, tried[0].at)


def _hits(
    seen: Seen, asked: Asked, queries: Sequence[Query], said: Sequence[excluded.Verdicts]
) -> list[list[Hit]]:
    """For each query the places, with exact distances, of all contents of one database that can be among the nearest.

    Records are read once for all queries.
    """
    opened = seen.opened
    ids = {image_id for near in seen.near for image_id, _ in near}
    records = gallery.records(
        opened.connection,
        sorted(ids),
        scene_model=opened.shelf.scene_model_id,
        places=asked.places,
    )
    return [
        list(
            _hits_of(
                query,
                [(records[image_id], far) for image_id, far in near],
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
    seen: Sequence[Seen],
    asked: Asked,
    number: int,
    query: Query,
    filter_: tuple[Mode, tuple[str, ...]],
    found: Sequence[Sequence[Hit]],
    recall: MeasuredRecall | None,
    index: AnnInfo | None,
) -> SearchResult:
    request = asked.request
    kind = least(each.kinds[number] for each in seen)
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
        filter=_scene_filter(seen, number, filter_, _border(request, hits)),
        hits=hits,
        distances=asked.meaning.table,
        calibration=request.calibration,
        recall=recall if kind == "approximate" else None,
        index=index,
        query_made=query.made,
        excluded=excluded.together([each.excluded(number) for each in seen]),
        basis=_basis(seen, number, query) if request.with_basis else None,
        scene_counts=_scene_counts(seen, number, asked) if request.with_scene_counts else None,
    )


def _scene_counts(seen: Sequence[Seen], number: int, asked: Asked) -> SceneCounts:
    """What the scene filter may choose from, in all databases together."""
    names = asked.scene_model.info.scenes if asked.scene_model else ()
    counts, unlabelled = Counter[int](), 0
    for each in seen:
        here, without = each.scene_counts(number)
        counts.update(here)
        unlabelled += without
    found = [(name, counts[at]) for at, name in enumerate(names) if counts[at]]
    return SceneCounts(tuple(sorted(found, key=lambda each: (-each[1], each[0]))), unlabelled)


def _basis(seen: Sequence[Seen], number: int, query: Query) -> Basis:
    """What the answer was computed from; the states are those of the transactions that it was read in."""
    return Basis(
        vector=query.vector.astype("<f2").tobytes(),
        own_path=None if query.own_path is None else to_text(query.own_path),
        moments=tuple(
            (str(each.opened.catalog.path), as_of.now(each.opened.connection)) for each in seen
        ),
        excluded=tuple(
            tuple(gallery.hashes_of(each.opened.connection, each.left_out(number))) for each in seen
        ),
    )


def _scene_filter(
    seen: Sequence[Seen],
    number: int,
    filter_: tuple[Mode, tuple[str, ...]],
    border: float,
) -> SceneFilter:
    """What the filter did in all databases together."""
    return SceneFilter(
        mode=filter_[0],
        scenes=filter_[1],
        searched=sum(each.searched(number) for each in seen),
        hidden=sum(each.hidden(number) for each in seen),
        hidden_nearer=sum(each.hidden_nearer(number, border) for each in seen),
    )


def hit_order(hit: Hit | NearHit) -> tuple[float, str, str, str, str]:
    """By what hits are ordered: nearest first; of equally near ones always in the same order."""
    return hit.distance, hit.image.sha256, hit.place.path, hit.place.source, hit.database


def least(kinds: Iterable[SearchKind]) -> SearchKind:
    """The least exact of the ways in which databases were searched, or queries answered."""
    order: tuple[SearchKind, ...] = ("exhaustive", "bounded", "approximate")
    return max(kinds, key=order.index, default="exhaustive")


def _border(request: SearchRequest, hits: Sequence[Hit]) -> float:
    """The distance below which a hidden picture would have taken a hit's place, or filled a free one."""
    if len(hits) == request.k:
        return hits[-1].distance
    furthest = request.max_distance
    # Just above: a picture at the maximum distance itself is a hit.
    return math.inf if furthest is None else math.nextafter(furthest, math.inf)
