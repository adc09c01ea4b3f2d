"""Several queries, one list: reciprocal rank fusion, without pictures that are more like one that was ruled out.

A picture's score is the sum, over the lists of all queries, of 1/(60 + its rank): Cormack, Clarke and Buettcher,
"Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009. Ranks are comparable
where distances are not: one query of a plain wall lies near to everything. A picture counts once, wherever it lies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from image_similarity.errors import ImageUnreadable, InvalidSetting
from image_similarity.pictures.names import on_disk, to_text
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.read import Contents, Left, read_file
from image_similarity.ranking.exhaustive import Half, exact_distance
from image_similarity.ranking.scenes import likely_scenes
from image_similarity.search import answer, excluded
from image_similarity.search.choice import Shared
from image_similarity.search.query import Query
from image_similarity.search.request import SearchRequest
from image_similarity.search.searcher import Searcher, queries_below
from image_similarity.store.catalog import Catalog
from image_similarity.values import Failure, FusedRank, Fusion, Hit, SearchResult

# The constant of the paper, chosen there on other data; it keeps one first rank from outweighing two good ones.
CONSTANT = 60
# How many of each query's nearest are ranked: ten times the hits asked for, within these.
LEAST_DEPTH, MOST_DEPTH = 100, 1_000
# Of more queries only the first are named in a line; `Fusion` has them all.
_NAMED = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """A content in the fused list: its places, as hits of the query that ranks it best."""

    score: float
    best_rank: int
    query: int
    hits: tuple[Hit, ...]


def search_fused(
    catalogs: Sequence[Catalog],
    pictures: Sequence[Path],
    request: SearchRequest,
    *,
    against: Sequence[Path] = (),
    stored: Sequence[str] = (),
    stored_against: Sequence[str] = (),
    shared: Shared | None = None,
) -> tuple[SearchResult, list[Failure]]:
    """Rank the pictures of some databases by what several queries say of them together.

    All queries search the same scenes: with "auto" those that any of them likely shows. The places of the queries
    themselves are left out, and what was judged irrelevant for any of them. A hit's distance is that to the nearest
    query.

    Args:
        catalogs: The databases.
        pictures: The queries; of a folder each picture below it. A `sha256` in the request is one more.
        request: What is asked; its `region` is of every query.
        against: Pictures that hits must not be like: a hit is left out if it is nearer to one of them than to every
            query.
        stored: Further queries, contents that a database holds, by SHA-256.
        stored_against: Likewise.
        shared: What other threads that search have in common with this one.

    Returns:
        The answer, and the pictures of folders that could not be read.

    Raises:
        InvalidSetting: What is asked for does not go with several queries, or there is none.
        ImageUnreadable: A picture cannot be read, or none of a folder.
        And whatever `search` raises.
    """
    _check(request)
    depth = max(request.k, min(MOST_DEPTH, max(LEAST_DEPTH, 10 * request.k)))
    inner = replace(request, query=None, sha256=None, k=depth)
    searcher = Searcher(catalogs, inner, shared)
    queries, failures = _queries(searcher, pictures)
    named = [*stored, *([] if request.sha256 is None else [request.sha256])]
    queries += map(searcher.query_of_stored, named)
    whole = (
        searcher
        if request.region is None
        else Searcher(catalogs, replace(inner, region=None), shared)
    )
    ruled_out, more = _queries(whole, against)
    ruled_out += map(whole.query_of_stored, stored_against)
    if not queries:
        raise ImageUnreadable(
            "no query picture could be read", hint="give pictures, or a folder that holds some"
        )
    if (against or stored_against) and not ruled_out:
        raise ImageUnreadable(
            "no picture to rule out could be read",
            hint="give pictures, or a folder that holds some",
        )
    own = {query.own_path for query in queries}
    # The same content given twice would count twice.
    queries = list({query.sha256: query for query in reversed(queries)}.values())[::-1]
    searcher = Searcher(catalogs, replace(inner, scene=_scenes(searcher, queries)), shared)
    results = searcher.answer_queries(queries, as_one=True)
    ranked = _fuse([_contents(result.hits, own) for result in results])
    hits, left_out = _chosen(searcher, ranked, queries, ruled_out, request.k)
    fusion = Fusion(
        queries=tuple(map(_named, queries)),
        against=tuple(map(_named, ruled_out)),
        depth=depth,
        constant=CONSTANT,
        left_out=left_out,
    )
    return _result(results, queries, request, hits, fusion), failures + more


def _check(request: SearchRequest) -> None:
    """Refuse what says something of one query, or of a distance to one."""
    request.check()
    if "hard" in request.scene:
        raise InvalidSetting(
            "--scene hard knows one query's scene, not that of several",
            hint="fuse with --scene auto, off or the names of scenes",
        )
    asked = {
        "a strength": request.strength,
        "a calibration": request.calibration is not None,
        "near duplicates": request.near,
        "a geometric check": request.verify,
        "a manifest": request.with_basis,
    }
    for what, wanted in asked.items():
        if wanted:
            raise InvalidSetting(
                f"{what} is of one query, not of a fused list",
                hint="ask for it with each query by itself",
            )


def _queries(searcher: Searcher, pictures: Iterable[Path]) -> tuple[list[Query], list[Failure]]:
    queries, failures = list[Query](), list[Failure]()
    for path in pictures:
        if path.is_dir():
            for found in queries_below(searcher, path):
                if isinstance(found, Failure):
                    failures.append(found)
                else:
                    queries.append(found)
            continue
        try:
            queries.append(searcher.query_of(path, _contents_of(path)))
        except PictureError as error:
            raise ImageUnreadable(
                f"cannot read {path}: {error.message}", hint="a query must be a picture"
            ) from error
    return queries, failures


def _contents_of(path: Path) -> Contents:
    contents = read_file(str(path))
    if isinstance(contents, Left):
        raise ImageUnreadable(f"{path} is no picture ({contents.kind.rule})")
    return contents


def _scenes(searcher: Searcher, queries: Sequence[Query]) -> tuple[str, ...]:
    """What to ask of each query so that all search the same scenes: "auto" with those of the others by name."""
    wanted = searcher.request.scene
    if searcher.scene_model is None or "auto" not in wanted:
        return wanted
    mass = searcher.scene_model.info.scene_mass
    named = [name for query in queries for name in likely_scenes(query.scenes, mass)]
    return tuple(dict.fromkeys([*wanted, *named]))


def _contents(hits: Iterable[Hit], own: Collection[str | None]) -> dict[str, list[Hit]]:
    """The hits of one query by content, nearest first, without the places of any query."""
    found: dict[str, list[Hit]] = {}
    for hit in hits:
        if on_disk(hit.place) not in own:
            found.setdefault(hit.image.sha256, []).append(hit)
    return found


def _fuse(lists: Sequence[Mapping[str, Sequence[Hit]]]) -> list[_Ranked]:
    """All contents of some lists, best score first; ties by best rank, then by SHA-256."""
    standing: dict[str, list[tuple[int, int]]] = {}
    for query, contents in enumerate(lists):
        for rank, sha256 in enumerate(contents, start=1):
            standing.setdefault(sha256, []).append((rank, query))
    ranked = {
        sha256: _Ranked(
            sum(1.0 / (CONSTANT + rank) for rank, _ in ranks),
            *min(ranks),
            tuple(lists[min(ranks)[1]][sha256]),
        )
        for sha256, ranks in standing.items()
    }
    order = sorted(ranked, key=lambda each: (-ranked[each].score, ranked[each].best_rank, each))
    return [ranked[sha256] for sha256 in order]


def _chosen(
    searcher: Searcher,
    ranked: Iterable[_Ranked],
    queries: Sequence[Query],
    against: Sequence[Query],
    k: int,
) -> tuple[list[Hit], int]:
    """The first k places, and how many contents above the last of them were left out."""
    hits, left_out = list[Hit](), 0
    same = {query.sha256 for query in queries}
    with searcher.vectors() as vector_of:
        for each in ranked:
            sha256 = each.hits[0].image.sha256
            vector = vector_of(sha256)
            distance = _nearest(vector, queries)
            if against and _nearest(vector, against) < distance:
                left_out += 1
                continue
            for hit in each.hits:
                hits.append(
                    replace(
                        hit,
                        rank=len(hits) + 1,
                        distance=distance,
                        similarity=searcher.model.info.similarity(distance),
                        identical=sha256 in same,
                        as_close=None,
                        fused=FusedRank(each.score, each.best_rank, each.query + 1),
                    )
                )
                if len(hits) == k:
                    return hits, left_out
    return hits, left_out


def _nearest(vector: Half, queries: Iterable[Query]) -> float:
    return min(exact_distance(vector, query.vector) for query in queries)


def _named(query: Query) -> tuple[str, str]:
    return to_text(query.label), query.sha256


def _result(
    results: Sequence[SearchResult],
    queries: Sequence[Query],
    request: SearchRequest,
    hits: Sequence[Hit],
    fusion: Fusion,
) -> SearchResult:
    """The answers of all queries as one; what is counted is that of the query that counts most of it."""
    first = results[0]
    filters = [result.filter for result in results]
    return replace(
        first,
        query=" + ".join(label for label, _ in fusion.queries[:_NAMED])
        + (f" + {len(queries) - _NAMED} more" if len(queries) > _NAMED else ""),
        sha256=" + ".join(sha256 for _, sha256 in fusion.queries),
        stored=all(query.was_stored for query in queries),
        query_scenes=first.query_scenes if len(queries) == 1 else (),
        k=request.k,
        search=answer.least(result.search for result in results),
        recall=next((result.recall for result in results if result.recall), None),
        filter=replace(
            first.filter,
            scenes=tuple(dict.fromkeys(name for each in filters for name in each.scenes)),
            searched=max(each.searched for each in filters),
            hidden=min(each.hidden for each in filters),
            hidden_nearer=max(each.hidden_nearer for each in filters),
        ),
        hits=tuple(hits),
        distances=None,
        excluded=excluded.of_all([result.excluded for result in results]),
        fusion=fusion,
    )
