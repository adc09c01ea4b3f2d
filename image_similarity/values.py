"""The frozen records that cross rooms: what a picture, a place, a model, a hit and a run are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Stage = Literal["walk", "stat", "read", "decode", "embed"]
RunStatus = Literal["running", "done", "partial", "interrupted", "failed"]
SearchKind = Literal["exhaustive", "bounded", "approximate"]
ExplainMethod = Literal["matched points", "occlusion"]

# The architecture on record of a model whose vectors came from elsewhere: its network is not here.
IMPORTED = "imported"

# A reference table counts pairs at every hundredth of distance, from 0.00 to 2.00.
DISTANCE_STEPS = 200
# And its tail has a score for every tenth of a power of ten, from 1 to 10^-5.
TAIL_STEPS = 51


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a model wants its picture: from EXIF-oriented RGB to a uint8 array of shape (size, size, 3).

    `fit` "squash" resizes the whole frame to size x size; "crop" resizes the short side to `resize` and cuts the
    centre out; "within", for no network, reduces the long side to `size` if it is longer, and keeps the shape. A JPEG
    may be decoded at a reduced scale as long as both sides stay at least `decode_scale` times the side that the resize
    aims at; 0 always decodes in full. `mean` and `std` (RGB, for values in [0, 1]) are applied by the encoder, on its
    device.
    """

    size: int
    fit: Literal["squash", "crop", "within"] = "squash"
    resize: int | None = None
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    decode_scale: int = 2
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def decode_side(self) -> int:
        """The side in pixels below which a reduced-scale decoder must not go; 0 means decode in full."""
        return self.decode_scale * (self.resize or self.size)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is recorded of a model with every vector: two models with one fingerprint give comparable vectors.

    `dim` is None for a model that only classifies scenes; `scenes` is empty for one that only embeds. Vectors are
    L2-normalised when `normalisation` is "l2". `scene_mass` is the probability mass of the `auto` filter.
    """

    name: str
    fingerprint: str
    architecture: str
    weights_sha256: str
    preprocess: Preprocess
    dim: int | None
    metric: str = "euclidean"
    normalisation: str = "l2"
    numeric_class: str = "f32"
    scenes: tuple[str, ...] = ()
    scene_top_k: int = 5
    scene_mass: float = 0.95
    licence: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Digests:
    """The three hashes of a file's bytes, lower-case hexadecimal, taken from the same read that is decoded."""

    sha256: str
    sha1: str
    md5: str


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What the decoder learned of a picture; width and height in pixels after EXIF orientation."""

    width: int
    height: int
    format: str
    mime: str
    partial: bool = False
    exif: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be taken, and why. `path` is relative to the source, in text form.

    `sha256` is that of its bytes, where they could be read.
    """

    path: str
    stage: Stage
    error: str
    message: str
    source: str = ""
    size: int | None = None
    mtime_ns: int | None = None
    run_id: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file left out by a rule (not a picture, excluded, a special file); `kind` says what it seemed to be."""

    path: str
    rule: str
    kind: str
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class SceneScore:
    """A scene label with its probability in [0, 1]."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a content was found: a source, its root folder, and the path below it in text form.

    Times are those of the file system before the file was opened, `atime_ns` as far as it was read from the database.
    """

    source: str
    root: str
    path: str
    first_seen: str
    mtime_ns: int | None = None
    gone_since: str | None = None
    atime_ns: int | None = None

    @property
    def full_path(self) -> str:
        """The path on disk, in text form."""
        return f"{self.root.rstrip('/')}/{self.path}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What an examiner said of a content, or of a query and a hit; it holds for identical content wherever it lies.

    `kind` is "tag", "note", "category", or "verdict" of a pair, whose `value` is "relevant" or "irrelevant" and whose
    query is `query_sha256`. `name` is what `review` calls it by: "m7", of a pair "p7". `withdrawn_at` is None while
    it stands. `place` is where the content lies, "source:path"; in lists of decisions only.
    """

    name: str
    kind: str
    value: str
    sha256: str
    at: str
    actor: str
    query_sha256: str = ""
    withdrawn_at: str | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class KnownHash:
    """A list of known files that holds one of the hashes of a content.

    `algorithm` is "sha256", "sha1" or "md5", the strongest that the list has of it; other files can be made with the
    MD5, and at some cost with the SHA-1, of a given one. `category` is the list's own word; empty if it has none.
    """

    list: str
    algorithm: str
    category: str = ""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One content, with every place that holds or held it; the first place is the one to show.

    `decisions` are those that stand, oldest first; `known` are the hash lists that hold it.
    """

    sha256: str
    sha1: str
    md5: str
    size: int
    width: int
    height: int
    format: str
    mime: str
    partial: bool
    exif: Mapping[str, Any]
    places: tuple[Place, ...] = ()
    scenes: tuple[SceneScore, ...] = ()
    decisions: tuple[Decision, ...] = ()
    known: tuple[KnownHash, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that stand, in alphabetical order."""
        return tuple(sorted(each.value for each in self.decisions if each.kind == "tag"))

    @property
    def category(self) -> str:
        """The examiner's category, or an empty text."""
        return next((each.value for each in self.decisions if each.kind == "category"), "")


@dataclass(frozen=True, slots=True)
class PackedCodes:
    """Compact codes of n vectors, as the database keeps them beside the rows: what `ranking.codes.encode` gives.

    `codes` int8 (n, dim); `scales` and `errors` float32 (n,), of each row; `bits` uint8 (n, ceil(dim / 8)). What they
    mean is the encoder's affair; the database only keeps them.
    """

    codes: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    errors: npt.NDArray[np.float32]
    bits: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DistanceTable:
    """How near different pictures lie under one model: pairs at or below 0.00, 0.01, ... 2.00, the last being all.

    `unrelated` are pairs of pictures of two scenes, `same_scene` pairs of two pictures of one scene; each of the
    `pictures` stands in at most one pair of a kind. `made_on` says in words what the pictures are. `tail`, empty in
    older tables, is what `calibration.strength` scales to a case: rising scores.
    """

    fingerprint: str
    made_on: str
    pictures: int
    unrelated: tuple[int, ...]
    same_scene: tuple[int, ...]
    tail: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """A count of independent pairs, with the 95 % interval of its share, `low` and `high` in [0, 1]."""

    count: int
    pairs: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class AsClose:
    """How many pairs of different pictures came as close as a hit; never how sure the hit is."""

    unrelated: Share
    same_scene: Share


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns a distance of one model into a likelihood ratio, learned from groups that a user knows.

    log10 LR = `intercept` + `slope` x distance, kept within +-`bound`; `slope` is never positive. `same` and
    `different` are the two propositions in words. `cllr` is the cross-validated cost in bits (0 perfect, 1 useless)
    with its 95 % interval, `cllr_min` what it could be if only the order of the distances counted.
    """

    fingerprint: str
    model: str
    same: str
    different: str
    intercept: float
    slope: float
    bound: float
    groups: int
    pictures: int
    same_pairs: int
    different_pairs: int
    cllr: float
    cllr_low: float
    cllr_high: float
    cllr_min: float
    groups_sha256: str
    made_at: str
    version: str


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """The log10 of a likelihood ratio; `at_bound` where the groups it was learned from support no more extreme one."""

    log10: float
    at_bound: bool


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
    """One ranked place of a picture. Distance is Euclidean between unit vectors, in [0, 2]; similarity the cosine.

    `verdict` is what was said of it for this query: "relevant", "irrelevant" or nothing. `expected_false` is about how
    many unrelated pictures are expected to come as close (`Strength` says among how many). Of several queries that were
    fused the distance is that to the nearest one, and `fused` says how the hit was ranked.

    `pdq_distance` is the bits in which PDQ hashes differ, where near duplicates were asked for and both have one of
    quality. `inliers` are the local features that one geometry explains, where a geometric check was asked for;
    `not_checked` says why there are none. `distance_rank` is the rank by distance, where `rank` is one by inliers.
    """

    rank: int
    distance: float
    similarity: float
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
class Strength:
    """What the numbers of unrelated pictures expected as close as hits are scaled to; see `calibration.strength`.

    `searched` are the pictures that could have been hits if no scene were filtered, `cohort` those of them (0: none,
    and the numbers are upper bounds) that tell how near the query lies to all. `left_out` of the k nearest were no hits
    because more than `max_expected_false` unrelated ones are expected there.
    """

    searched: int
    cohort: int
    max_expected_false: float | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class AnnInfo:
    """What an approximate index is of, and what it is worth; see `search.ann`.

    It holds `vectors` vectors of the model with this `fingerprint`, the last of them that of the content `newest` (a
    SHA-256). `effort` is how many candidates a query keeps on its way. `recall` is recall@10 against the exact search,
    measured with `queries` stored vectors that were held aside while it was built.
    """

    path: str
    model: str
    fingerprint: str
    newest: str
    dim: int
    seed: int
    made_at: str
    version: str
    vectors: int = 0
    effort: int = 0
    recall: float = 0.0
    queries: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit chain: `number` counts from 1, `detail` is JSON text, digests are SHA-256 in hex."""

    number: int
    at: str
    actor: str
    action: str
    detail: str
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class KeptHead:
    """The head of an audit chain as it was kept elsewhere: the number, digest and time of the last entry then."""

    number: int
    digest: str
    at: str = ""
    database: str = ""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One difference that a check of the audit chain found.

    `kind` is "chain" (an entry was changed, removed or moved), "head" (the chain is not the one whose head was kept),
    "changed" or "missing" (a row that `entry` sealed), "unsealed" (a row that no entry tells of) or "record" (what
    stands beside the chain does not agree with it). `name` is by what a person knows the row: a SHA-256, a path.
    """

    kind: Literal["chain", "head", "changed", "missing", "unsealed", "record"]
    message: str
    entry: int | None = None
    table: str = ""
    row: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The account of a check of the audit chain: without findings it is internally consistent, no more.

    `rows` counts the sealed rows that were compared; `kept` is the head from elsewhere that the chain was held against,
    `open_runs` are runs whose end stands in no entry yet.
    """

    database: str
    entries: int
    rows: int
    head: AuditEntry | None
    kept: KeptHead | None
    open_runs: tuple[int, ...]
    findings: tuple[AuditFinding, ...]

    @property
    def consistent(self) -> bool:
        """Whether chain and rows agree, and with the kept head, if one was given."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What was said once of a case and stands on every report; empty where nothing was said."""

    number: str = ""
    examiner: str = ""
    exhibit: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Excluded:
    """What hash lists and decisions took out of a search, in pictures; these count as neither searched nor hidden.

    `known` is how pictures of hash lists were treated: "mark", "hide" (`hidden_known` of them, of the `lists`) or
    "only". `hidden_irrelevant` were judged irrelevant for this query. `query_known` are the lists that hold the query.
    `tags` are those of which a picture must have one to be searched.
    """

    known: Literal["mark", "hide", "only"] = "mark"
    lists: tuple[str, ...] = ()
    hidden_known: int = 0
    hidden_irrelevant: int = 0
    query_known: tuple[KnownHash, ...] = ()
    tags: tuple[str, ...] = ()


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
class MeasuredRecall:
    """How an approximate search did on the same pictures: of the `at` nearest to each of `queries` stored vectors.

    It found `found` of the `total` that the exact search found.
    """

    found: int
    total: int
    queries: int
    at: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.found / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A state of a database, told by what was there: what came later has greater ids, or a later run closed it.

    `run_id` is the last run, `run_open` whether it was still writing; `embeddings` and `files` are the greatest row ids
    of these tables, 0 of an empty one; `revision` is the schema's. The audit head is the number and the digest of the
    last entry of the chain, 0 and "" of a database that has none.
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


@dataclass(frozen=True, slots=True)
class Difference:
    """In what a replay differs from its manifest: `what` names a result, query or database, `rank` is the manifest's.

    "database": not the one of the manifest; "rows": other rows than were searched; "open": the same, where a run was
    writing at that time; "query": a stored query's vector is another; "distance", "missing", "added", "rank": of a
    result.
    """

    kind: Literal["database", "rows", "open", "query", "distance", "missing", "added", "rank"]
    rank: int | None
    what: str
    message: str
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One query of a manifest, ranked again: `confirmed` of its `results` stand where they stood, with equal distances.

    `missed` is what an approximate search did not find and an exhaustive one does; that is no difference.
    """

    query: str
    sha256: str
    search: SearchKind
    results: int
    confirmed: int
    differences: tuple[Difference, ...]
    missed: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A replay: its queries, and in what the databases differ from those of the manifest."""

    queries: tuple[Replayed, ...]
    databases: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Whether rows, order and distances are those of the manifest, to the last bit."""
        return not any(each.differences for each in self.queries) and all(
            each.kind == "open" for each in self.databases
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """A file that the program wrote of a case: what it is, where, when and by whom, as its audit entry says.

    `state` says what lies there now: "as written", "replaced" by a file of another entry, "changed" by something else,
    "gone", or "unreadable". `merge` is the entry by which the database was merged into this one whose entry it is; None
    for this one's own.
    """

    entry: int
    kind: str
    path: str
    sha256: str
    size: int
    at: str
    actor: str
    state: Literal["as written", "replaced", "changed", "gone", "unreadable"]
    merge: int | None = None


@dataclass(frozen=True, slots=True)
class TraceReport:
    """What the program wrote of a case beside its rows: files elsewhere, and thumbnails in the database."""

    files: tuple[Trace, ...]
    thumbnails: int
    thumbnail_bytes: int


@dataclass(frozen=True, slots=True)
class Mount:
    """How evidence was mounted during a run: where, whether read-only, and when access times are written.

    "off" never, "relative" seldom (relatime), "on" at every reading; on a read-only mount never, whatever it says.
    """

    point: str
    read_only: bool
    access_times: str


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
    similarity: float
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
        there = {each.name: each.probability for each in self.hit.scenes}
        both = [
            (each.name, each.probability, there[each.name])
            for each in self.query.scenes
            if each.name in there
        ]
        return tuple(sorted(both, key=lambda each: -each[1] * each[2]))


@dataclass(frozen=True, slots=True)
class RunReport:
    """The account of one run over one source.

    Every entry reached is in exactly one class:
    `seen == new + duplicate + unchanged + failed + sum(skipped.values())`. `new` are contents embedded in this run,
    `duplicate` are places of a content already known, `moved` counts those of `new`/`duplicate` places whose content
    vanished from another place of the source in the same run. `gone` are places that are no longer there (not seen).
    """

    run_id: int
    kind: str
    status: RunStatus
    source: str
    root: str
    models: tuple[str, ...]
    started_at: str
    finished_at: str | None
    seen: int = 0
    new: int = 0
    duplicate: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    moved: int = 0
    gone: int = 0
    partial: int = 0
    embedded: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    failures: tuple[Failure, ...] = ()
    mount: Mount | None = None

    @property
    def accounted(self) -> bool:
        """Whether every entry seen is in exactly one class."""
        return self.seen == self.new + self.duplicate + self.unchanged + self.failed + sum(
            self.skipped.values()
        )


@dataclass(frozen=True, slots=True)
class HashList:
    """A list of known files: its name and form, the SHA-256 of the file that it was read from, how many hashes."""

    name: str
    form: str
    file_sha256: str
    imported_at: str
    entries: int


@dataclass(frozen=True, slots=True)
class KnownPlace:
    """A place of the evidence whose content a hash list holds; see `KnownHash`.

    `place` is "source:path", `root` the folder of the source. `gone_since` is None while it is there. A file that could
    not be taken has a `failure`, the reason; its SHA-256 is of what was read.
    """

    list: str
    algorithm: str
    category: str
    sha256: str
    place: str
    root: str
    gone_since: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class HashListReport:
    """The account of an import: the list, and what of the file was not taken.

    Of a row with several hashes the strongest is taken. `rows` are those that hold a hash, `empty` those of the empty
    file, `repeated` hashes that the list has already, `malformed` the rows without a hash; `first_malformed` names
    the first of these and why. `pictures` of the database and `unreadable` ones, open failures, are in the list.
    """

    list: HashList
    rows: int
    repeated: int
    empty: int
    malformed: int
    first_malformed: str = ""
    pictures: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A folder that was indexed, by name, with the number of its live places, contents and open failures."""

    name: str
    root: str
    created_at: str
    files: int
    images: int
    failures: int
    gone: int


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """What a database is: schema revision, size in bytes, counts."""

    path: str
    revision: str
    head: str
    size: int
    images: int
    files: int
    gone: int
    failures: int
    skipped: Mapping[str, int]
    models: tuple[ModelInfo, ...]
    embeddings: Mapping[str, int]
    sources: tuple[Source, ...]
    last_run: RunReport | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference that a verification found.

    `kind` is "changed", "missing", "unreadable" or "record"; against the hashes of an acquisition "contradicted" (the
    record at this path has another hash), "gone" (recorded, and no longer there), "failed" or "unknown" (listed, but
    not taken as a picture, or never met), "unlisted" (recorded, but not on the list).
    """

    kind: Literal[
        "changed",
        "missing",
        "unreadable",
        "record",
        "contradicted",
        "gone",
        "failed",
        "unknown",
        "unlisted",
    ]
    path: str
    message: str
    source: str = ""
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The account of a verification; files are counted only when they were read again (`rehashed`).

    `since` are the times of the first and the last of the runs that first indexed a place among them.
    """

    rehashed: bool
    images: int
    embeddings: int
    files: int
    unchanged: int
    changed: int
    missing: int
    unreadable: int
    findings: tuple[Finding, ...]
    since: tuple[str, str] | None = None

    @property
    def clean(self) -> bool:
        """Whether nothing differs from what the database recorded."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class Selection:
    """Which contents a report holds: those that meet every choice made; of several values of a choice one suffices.

    `scenes` are most probable scenes; `sha256s` may be prefixes. Without a choice it is the whole case.
    """

    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    under: str | None = None
    scenes: tuple[str, ...] = ()
    sha256s: tuple[str, ...] = ()
    include_gone: bool = False


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of the evidence a database covers, and what not; every report says it.

    `failed` counts open failures by stage, `partial` the pictures decoded only in part, `several_frames` the pictures
    by format that may hold more frames or pages than the one that was looked at. `head` is the end of the audit chain.
    """

    facts: CaseFacts
    status: DatabaseStatus
    runs: tuple[RunReport, ...]
    failed: Mapping[str, int]
    partial: int
    several_frames: Mapping[str, int]
    head: AuditEntry | None


@dataclass(frozen=True, slots=True)
class ReportWritten:
    """The account of a report: its files, how many `pictures` it holds of the `chosen`, and what else must be said."""

    paths: tuple[str, ...]
    pictures: int
    chosen: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgainstReport:
    """The account of a comparison with a list of hashes that was made when the evidence was acquired.

    Every entry is in exactly one class: `entries == confirmed + elsewhere + contradicted + gone + failed +
    sum(skipped) + unknown`. `confirmed` are recorded with that hash at that path (a list without paths: at any),
    `elsewhere` at another path only, `gone` at one where a later run no longer found it; `skipped` are files left out
    by a rule, by what they seemed to be. `unlisted` are recorded places of which neither the path nor the hash is on
    the list, `copies` those of which the hash is. `sources` are those whose paths could be told in the list's.
    """

    path: str
    sha256: str
    form: str
    hashes: tuple[str, ...]
    sources: tuple[str, ...]
    entries: int
    confirmed: int
    elsewhere: int
    contradicted: int
    gone: int
    failed: int
    skipped: Mapping[str, int]
    unknown: int
    unlisted: int
    copies: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether no entry contradicts what the database recorded."""
        return not self.contradicted


@dataclass(frozen=True, slots=True)
class RelinkReport:
    """The account of moving a source to another folder: of `files` recorded live, `read` were compared.

    `same + changed + missing + unreadable == read`. `proved` says whether they are the same; `moved` is false also
    where nothing was to be written (`dry_run`).
    """

    source: str
    old_root: str
    new_root: str
    files: int
    read: int
    same: int
    changed: int
    missing: int
    unreadable: int
    findings: tuple[Finding, ...]
    proved: bool
    dry_run: bool
    moved: bool


@dataclass(frozen=True, slots=True)
class MergeReport:
    """The account of a merge: what was taken from the other database, and what was not because both had it.

    `sources` pairs their names there with those here. `chain` is the number and digest of the head of the other audit
    chain, which is kept whole under our entry `entry`.
    """

    database: str
    other: str
    other_sha256: str
    entry: int
    chain: tuple[int, str] | None
    sources: tuple[tuple[str, str], ...]
    models: int
    runs: int
    pictures: int
    pictures_in_both: int
    places: int
    failures: int
    skipped: int
    vectors: int
    vectors_otherwise: int
    labels: int
    labels_otherwise: int
    pdq: int
    thumbnails: int
    decisions: int
    decisions_withdrawn: int
    hash_lists: int


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The account of the import of an earlier database: every row is in `run` or `repeated`: a path that came before.

    `labelled` contents got the scene type as their one label, with probability 1. `rescaled` embeddings were not of
    unit length before; `otherwise` are rows whose content came before with another embedding, of which the first was
    kept.
    """

    run: RunReport
    earlier: str
    earlier_sha256: str
    model: str
    fingerprint: str
    dim: int
    rows: int
    repeated: int
    labelled: int
    rescaled: int
    otherwise: int
