"""What a search answers, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_similarity.values.models import (
        AnnInfo,
        AsClose,
        Calibration,
        DistanceTable,
        LikelihoodRatio,
        ModelInfo,
        Strength,
    )
    from image_similarity.values.pictures import ImageRecord, KnownHash, Place, SceneScore

SearchKind = Literal["exhaustive", "bounded", "approximate"]
ExplainMethod = Literal["matched points", "occlusion"]


@dataclass(frozen=True, slots=True)
class FusedRank:
    """Where a hit stands by reciprocal rank fusion: its score; its best rank, in the list of which query (from 1)."""

    score: float
    best_rank: int
    query: int


@dataclass(frozen=True, slots=True)
class Fusion:
    """How several queries became one list: labels and SHA-256 of the queries and of those that hits must not be like.

    Each query's `depth` nearest were ranked; a picture's score is the sum of 1/(`constant` + rank). `left_out` counts
    the pictures above the last hit that are nearer to one of `against` than to every query.
    """

    queries: tuple[tuple[str, str], ...]
    against: tuple[tuple[str, str], ...]
    depth: int
    constant: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One ranked place of a picture.

    Distance is Euclidean between unit vectors, in [0, 2], and similarity the cosine. Of a model without normalisation
    distance is 0 or more, and similarity None.

    `verdict` is what was said of it for this query: "relevant", "irrelevant" or nothing. `expected_false` is about how
    many unrelated pictures are expected to come as close (`Strength` says among how many). Of several queries that were
    fused the distance is that to the nearest one, and `fused` says how the hit was ranked.

    `pdq_distance` is the bits in which PDQ hashes differ, where near duplicates were asked for and both have one of
    quality. `inliers` are the local features that one geometry explains, where a geometric check was asked for;
    `not_checked` says why there are none. `distance_rank` is the rank by distance, where `rank` is one by inliers.
    """

    rank: int
    distance: float
    similarity: float | None
    identical: bool
    place: Place
    image: ImageRecord
    database: str
    as_close: AsClose | None = None
    ratio: LikelihoodRatio | None = None
    verdict: str = ""
    expected_false: float | None = None
    fused: FusedRank | None = None
    pdq_distance: int | None = None
    inliers: int | None = None
    not_checked: str = ""
    distance_rank: int | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the picture."""
        return self.image.tags

    @property
    def category(self) -> str:
        """The examiner's category of the picture, or an empty text."""
        return self.image.category

    @property
    def known(self) -> tuple[KnownHash, ...]:
        """The hash lists that hold the picture."""
        return self.image.known

    @property
    def scene(self) -> SceneScore | None:
        """The most probable scene of the picture, if any was stored."""
        return self.image.scenes[0] if self.image.scenes else None


@dataclass(frozen=True, slots=True)
class Excluded:
    """What hash lists and decisions took out of a search, in pictures; these count as neither searched nor hidden.

    `known` is how pictures of hash lists were treated: "mark", "hide" (`hidden_known` of them, of the `lists`) or
    "only". `hidden_irrelevant` were judged irrelevant for this query. `query_known` are the lists that hold the query.
    `tags` are those of which a picture must have one to be searched. If `taken_from` or `taken_to` is set, only
    pictures taken then are; `hidden_undated` do not tell when they were taken.
    """

    known: Literal["mark", "hide", "only"] = "mark"
    lists: tuple[str, ...] = ()
    hidden_known: int = 0
    hidden_irrelevant: int = 0
    query_known: tuple[KnownHash, ...] = ()
    tags: tuple[str, ...] = ()
    taken_from: str | None = None
    taken_to: str | None = None
    hidden_undated: int = 0


@dataclass(frozen=True, slots=True)
class SceneFilter:
    """What a scene filter did: the scenes searched, what it hid, and what that cost.

    `hidden` counts the pictures left out; `hidden_nearer` those of them that would have ranked above the last hit, or
    among the candidates, where hits are ordered by inliers.
    """

    mode: Literal["auto", "hard", "off", "named"]
    scenes: tuple[str, ...]
    searched: int
    hidden: int
    hidden_nearer: int


@dataclass(frozen=True, slots=True)
class SceneCounts:
    """How many pictures have each scene among their labels, of all that every filter but that of scenes lets pass.

    `scenes` are name and count, the most frequent first, only those that occur; `unlabelled` pictures have none and are
    searched whatever the filter.
    """

    scenes: tuple[tuple[str, int], ...]
    unlabelled: int


@dataclass(frozen=True, slots=True)
class MeasuredRecall:
    """How an approximate search did on the same pictures: of the `at` nearest to each of `queries` stored vectors.

    It found `found` of the `total` that the exact search found. `vectors` is how many were searched then, where that
    was at another time; None where they are those that are searched now, and for several databases together.
    """

    found: int
    total: int
    queries: int
    at: int
    vectors: int | None = None

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.found / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A state of a database, told by what was there: what came later has greater ids, or a later run closed it.

    `run_id` is the last run, `run_open` whether any was still writing; `embeddings` and `files` are the greatest row
    ids of these tables, 0 of an empty one; `revision` is the schema's. The audit head is the number and the digest of
    the last entry of the chain, 0 and "" of a database that has none.
    """

    run_id: int
    run_open: bool
    embeddings: int
    files: int
    revision: str
    audit_number: int
    audit_digest: str


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer was computed from, for a manifest.

    `vector` is the query's, float16 little-endian; `own_path` where it lies on disk in text form, if it does: that
    place is left out. `moments` are the states of the databases, by path; `excluded`, of each of them, the SHA-256
    of contents that hash lists and decisions kept out.
    """

    vector: bytes
    own_path: str | None
    moments: tuple[tuple[str, Moment], ...]
    excluded: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class NearHit:
    """A near duplicate of a query at one place: PDQ hashes that differ in `distance` of 256 bits.

    `quality`, from 0 to 100, is that of its hash. `orientation` says what was done to it: "as it is" or a turn.
    """

    distance: int
    quality: int
    orientation: str
    identical: bool
    place: Place
    image: ImageRecord
    database: str


@dataclass(frozen=True, slots=True)
class NearSearch:
    """What a search for near duplicates found; it looks past the scene filter.

    Of the `pictures` that the other filters leave, `hashed` have a PDQ hash and `poor` of these one without enough
    quality to be compared. `quality` is that of the query's hash; below `min_quality` nothing is compared.
    """

    quality: int
    min_quality: int
    limit: int
    turned: bool
    pictures: int
    hashed: int
    poor: int
    hits: tuple[NearHit, ...]


@dataclass(frozen=True, slots=True)
class GeometryCheck:
    """What a geometric check did: of the `candidates` nearest by distance, `checked` could be compared.

    The hits are the first by distance, or with `by_inliers` those with most inliers of all candidates. The query has
    `features` local features; with few there is nothing to match.
    """

    candidates: int
    checked: int
    by_inliers: bool
    features: int


@dataclass(frozen=True, slots=True)
class StackMember:
    """A picture in a stack of duplicates: its distance to the first, in bits of PDQ, and how it is turned to it."""

    image: ImageRecord
    quality: int | None = None
    distance: int | None = None
    orientation: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """Pictures that are copies: one content at several places, or contents whose PDQ hashes are near.

    `spread` is the greatest distance between two members, in bits; a chain may lead beyond the limit.
    """

    kind: Literal["identical", "near"]
    members: tuple[StackMember, ...]
    spread: int = 0


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The stacks of a database: identical ones, then near ones; in each, the member with most pixels first.

    Of the `pictures` `hashed` have a PDQ hash, `poor` of these one without enough quality to be compared.
    """

    stacks: tuple[Stack, ...]
    pictures: int
    hashed: int
    poor: int
    near: bool
    turned: bool
    limit: int
    min_quality: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query, with all that is needed to say how it came about.

    `search` is "exhaustive" (every vector was compared), "bounded" (all but those that a proven bound excludes; the
    same answer) or "approximate" (only likely ones; `recall` says how that did on these pictures). `index` is the
    one that was asked for; the search is not approximate all the same if a filter left too few of its candidates.
    `query_made` says what of the query picture was looked at ("crop 10,20,300,200"); empty for all of it.
    """

    query: str
    sha256: str
    model: ModelInfo
    scene_model: ModelInfo | None
    query_scenes: tuple[SceneScore, ...]
    stored: bool
    k: int
    max_distance: float | None
    search: SearchKind
    filter: SceneFilter
    hits: tuple[Hit, ...]
    distances: DistanceTable | None = None
    calibration: Calibration | None = None
    recall: MeasuredRecall | None = None
    index: AnnInfo | None = None
    basis: Basis | None = None
    query_made: str = ""
    excluded: Excluded = Excluded()
    strength: Strength | None = None
    fusion: Fusion | None = None
    near: NearSearch | None = None
    geometry: GeometryCheck | None = None
    scene_counts: SceneCounts | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two contents, by their SHA-256, have in common, measured as a search would.

    `pdq_distance` is in bits of 256, `pdq_quality` the lower of both; None where hashes are neither stored nor could be
    made, `pdq_note` saying why.
    """

    query: str
    hit: str
    model: ModelInfo
    distance: float
    similarity: float | None
    identical: bool
    as_close: AsClose | None
    reference: str
    query_scenes: tuple[SceneScore, ...]
    hit_scenes: tuple[SceneScore, ...]
    pdq_distance: int | None
    pdq_quality: int | None
    pdq_note: str

    @property
    def shared_scenes(self) -> tuple[tuple[str, float, float], ...]:
        """Scenes that both may show: the name, its probability for the query and for the hit; the likeliest first."""
        return _shared(self.query_scenes, self.hit_scenes)


@dataclass(frozen=True, slots=True)
class ExplainedPicture:
    """One of two pictures that are explained; width and height after EXIF orientation.

    `heat`, rows of columns, says by how much the distance to the other rises when that part of it is hidden.
    """

    label: str
    sha256: str
    width: int
    height: int
    indexed: bool
    scenes: tuple[SceneScore, ...]
    heat: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why two pictures came out as similar, as far as it can be seen.

    `points` are pairs of places that one geometry explains: x and y in the query, x and y in the hit, as shares of
    width and height. Without them, `note` saying why, there are heat maps by occlusion. `pdq_distance` is in bits of
    256, None where PDQ is not installed; `pdq_quality` the lower of both.
    """

    query: ExplainedPicture
    hit: ExplainedPicture
    model: ModelInfo
    distance: float
    similarity: float | None
    identical: bool
    pdq_distance: int | None
    pdq_quality: int | None
    as_close: AsClose | None
    reference: str
    method: ExplainMethod
    geometry: str
    points: tuple[tuple[float, float, float, float], ...] = ()
    note: str = ""

    @property
    def shared_scenes(self) -> tuple[tuple[str, float, float], ...]:
        """Scenes that both may show: the name, its probability for the query and for the hit; the likeliest first."""
        return _shared(self.query.scenes, self.hit.scenes)


def _shared(
    ones: Iterable[SceneScore], others: Iterable[SceneScore]
) -> tuple[tuple[str, float, float], ...]:
    """The scenes that two pictures both may show, with the probability for each, the likeliest first."""
    there = {each.name: each.probability for each in others}
    both = [(each.name, each.probability, there[each.name]) for each in ones if each.name in there]
    return tuple(sorted(both, key=lambda each: -each[1] * each[2]))
