"""The shapes of an answer to a search, and of its hits."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from image_similarity.reports import meaning, taken_out
from image_similarity.reports.text import visible
from image_similarity.values import Hit, NearHit, SearchResult, Share
from image_similarity.web.answers import Answer
from image_similarity.web.api.paging import cut
from image_similarity.web.api.shapes import Known, Page, Picture, Scene, known_shapes, picture_shape
from image_similarity.web.desk import Desk

# Near duplicates that are told with an answer.
_MOST_NEAR = 100


class Pairs(BaseModel):
    """How many of some reference pairs lie as close, with the 95 % interval of their share."""

    count: int
    pairs: int
    low: float
    high: float


class HitShape(Picture):
    """A ranked place of a picture; `as_close` and `expected_false` say nothing of how sure it is."""

    rank: int
    distance: float
    similarity: float | None
    identical: bool = Field(description="Of the same bytes as a query.")
    verdict: str = Field(
        description='Said of it for this query: "relevant", "irrelevant" or nothing.'
    )
    as_close: Pairs | None = Field(description="Unrelated pairs.")
    expected_false: float | None
    pdq_distance: int | None
    inliers: int | None
    not_checked: str
    best_rank: int | None = Field(description="Of several queries: its best rank, in one's list.")


class NearShape(Picture):
    """A near duplicate by PDQ, in bits of 256."""

    distance: int
    orientation: str
    identical: bool


class FilterShape(BaseModel):
    """What the scene filter did, in pictures."""

    mode: str
    scenes: list[str]
    searched: int
    hidden: int
    hidden_nearer: int = Field(
        description="Of these, those that would have ranked above the last hit."
    )
    nearer: str = Field(description="The same in words.")


class SceneFacet(BaseModel):
    """A scene of the case: the pictures that have it among their labels, and whether they were searched."""

    name: str
    count: int
    searched: bool


class ReferenceShape(BaseModel):
    """What distances are compared with: pairs of different pictures."""

    pairs: int
    made_on: str
    unrelated: list[int] = Field(description="Unrelated pairs at or below 0.00, 0.01, ... 2.00.")


class ExcludedShape(BaseModel):
    """What lists, decisions and dates took out, in pictures."""

    known: str
    lists: list[str]
    hidden_known: int
    hidden_irrelevant: int
    hidden_undated: int


class QueryShape(BaseModel):
    """A query, or a picture that hits must not be like."""

    sha256: str
    upload: bool
    name: str
    width: int
    height: int


class AnswerShape(BaseModel):
    """An answer: how it came about, and the first of its hits."""

    id: str
    queries: list[QueryShape]
    against: list[QueryShape]
    query_scenes: list[Scene]
    query_known: list[Known]
    made: str = Field(description="What of the query was looked at; empty for all of it.")
    model: str
    fingerprint: str
    search: str = Field(description='"exhaustive" and "bounded" are exact.')
    k: int
    max_distance: float | None
    furthest: float | None = Field(description="The greatest distance of a hit.")
    filter: FilterShape
    scenes: list[SceneFacet] = Field(description="Those that the other filters leave.")
    unlabelled: int = Field(description="Pictures without any scene, which are always searched.")
    reference: ReferenceShape | None
    cohort: int = Field(
        description="Pictures of the case that `expected_false` is scaled by; 0 says that it is an upper bound."
    )
    excluded: ExcludedShape
    words: list[str] = Field(description="What must be known of the answer beside its hits.")
    near: list[NearShape]
    recorded: bool = Field(description="Whether this search is in the audit chain.")
    not_recorded: str = Field(description="If it should be and is not, why.")
    hits: Page[HitShape]


def answer_shape(desk: Desk, answer: Answer, first: int) -> AnswerShape:
    """An answer with the first of its hits."""
    result, found = answer.result, answer.result.filter
    counts = result.scene_counts
    return AnswerShape(
        id=answer.id,
        queries=_queries(desk, answer.asked["queries"]),
        against=_queries(desk, answer.asked.get("against", [])),
        query_scenes=[
            Scene(name=each.name, probability=each.probability) for each in result.query_scenes
        ],
        query_known=known_shapes(result.excluded.query_known),
        made=visible(result.query_made),
        model=visible(result.model.name),
        fingerprint=result.model.fingerprint,
        search=result.search,
        k=result.k,
        max_distance=result.max_distance,
        furthest=max((hit.distance for hit in result.hits), default=None),
        filter=FilterShape(
            mode=found.mode,
            scenes=list(found.scenes),
            searched=found.searched,
            hidden=found.hidden,
            hidden_nearer=found.hidden_nearer,
            nearer=meaning.nearer_text(result),
        ),
        scenes=[
            SceneFacet(name=name, count=count, searched=found.mode == "off" or name in found.scenes)
            for name, count in (counts.scenes if counts else ())
        ],
        unlabelled=counts.unlabelled if counts else 0,
        reference=_reference(result),
        cohort=result.strength.cohort if result.strength else 0,
        excluded=_excluded(result),
        words=[visible(each) for each in _words(result)],
        near=[_near_shape(each) for each in (result.near.hits if result.near else ())[:_MOST_NEAR]],
        recorded=answer.recorded,
        not_recorded=visible(answer.not_recorded),
        hits=hit_page(result.hits, "", first),
    )


def hit_page(hits: Sequence[Hit], cursor: str, limit: int) -> Page[HitShape]:
    """A page of hits."""
    page, following = cut(hits, lambda hit: str(hit.rank), cursor, limit)
    return Page(items=[_hit_shape(each) for each in page], next=following, total=len(hits))


def _hit_shape(hit: Hit) -> HitShape:
    as_close = _pairs(hit.as_close.unrelated) if hit.as_close else None
    return HitShape(
        **dict(picture_shape(hit.image, hit.place)),
        rank=hit.rank,
        distance=hit.distance,
        similarity=hit.similarity,
        identical=hit.identical,
        verdict=hit.verdict,
        as_close=as_close,
        expected_false=hit.expected_false,
        pdq_distance=hit.pdq_distance,
        inliers=hit.inliers,
        not_checked=visible(hit.not_checked),
        best_rank=hit.fused.best_rank if hit.fused else None,
    )


def _pairs(share: Share) -> Pairs:
    return Pairs(count=share.count, pairs=share.pairs, low=share.low, high=share.high)


def _near_shape(hit: NearHit) -> NearShape:
    return NearShape(
        **dict(picture_shape(hit.image, hit.place)),
        distance=hit.distance,
        orientation=hit.orientation,
        identical=hit.identical,
    )


def _queries(desk: Desk, asked: Sequence[dict[str, str]]) -> list[QueryShape]:
    found = []
    for each in asked:
        if "upload" in each:
            sent = desk.uploads.get(each["upload"])
            found.append(
                QueryShape(
                    sha256=sent.sha256,
                    upload=True,
                    name=sent.name,
                    width=sent.width,
                    height=sent.height,
                )
            )
            continue
        shown = picture_shape(desk.case.image(each["sha256"]))
        found.append(
            QueryShape(
                sha256=shown.sha256,
                upload=False,
                name=shown.place,
                width=shown.width,
                height=shown.height,
            )
        )
    return found


def _reference(result: SearchResult) -> ReferenceShape | None:
    table = result.distances
    if table is None:
        return None
    return ReferenceShape(
        pairs=table.unrelated[-1], made_on=visible(table.made_on), unrelated=list(table.unrelated)
    )


def _excluded(result: SearchResult) -> ExcludedShape:
    found = result.excluded
    return ExcludedShape(
        known=found.known,
        lists=[visible(each) for each in found.lists],
        hidden_known=found.hidden_known,
        hidden_irrelevant=found.hidden_irrelevant,
        hidden_undated=found.hidden_undated,
    )


def _words(result: SearchResult) -> list[str]:
    from image_similarity.reports import beside

    return [
        *([f"search: {meaning.search_text(result)}"] if result.recall else []),
        *filter(None, [meaning.cut_text(result), meaning.strength_text(result)]),
        *([meaning.fusion_text(result.fusion)] if result.fusion else []),
        *beside.lines(result),
        *taken_out.lines(result),
    ]
