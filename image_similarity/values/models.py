"""What a model is, and what its distances are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from image_similarity.values.pictures import Failure
    from image_similarity.values.searches import MeasuredRecall


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
    aims at; 0 always decodes in full. The interpolation "deepranking-skimage-v1" is that of scikit-image (blurred, then
    bilinear), for "squash" only. `mean` and `std` (RGB, for values in [0, 1]) are applied by the encoder, on its
    device.
    """

    size: int
    fit: Literal["squash", "crop", "within"] = "squash"
    resize: int | None = None
    interpolation: Literal["bicubic", "bilinear", "deepranking-skimage-v1"] = "bicubic"
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

    def similarity(self, distance: float) -> float | None:
        """The cosine of two vectors at a Euclidean distance; None for vectors of any length."""
        return 1.0 - distance * distance / 2.0 if self.normalisation == "l2" else None


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
class ServerIndex:
    """An index of a model's vectors that a server keeps, and what it is worth; see `search.server_index`.

    `links` and `effort` are pgvector's m and ef_construction; building took `seconds`. `recall` was measured with
    stored vectors against the exact search, without filters.
    """

    name: str
    model: str
    fingerprint: str
    vectors: int
    dim: int
    links: int
    effort: int
    seconds: float
    size_bytes: int
    recall: MeasuredRecall


@dataclass(frozen=True, slots=True)
class ReductionInfo:
    """A reduction of a model's vectors, as a derived model, and what it loses; see `analysis.reduce`.

    Of `pictures` with a vector it was `learned_on` so many, and `held_aside` were others; `epochs` is the one that was
    kept, 0 where there are none. The errors are shares of the variance that are lost when vectors are restored.
    `recall` is the share of the ten nearest that stay, over `queries` held aside among `gallery` pictures.
    """

    path: str
    model: str
    fingerprint: str
    kind: Literal["pca", "autoencoder"]
    base: str
    base_fingerprint: str
    base_dim: int
    dim: int
    whitened: bool
    seed: int
    pictures: int
    learned_on: int
    held_aside: int
    epochs: int = 0
    error_learned: float = 0.0
    error_held_aside: float = 0.0
    recall: float = 0.0
    queries: int = 0
    gallery: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CodebookInfo:
    """What a codebook of visual words is of; see `analysis.codebook`.

    It describes the maps of `base` at `layer`, of so many `cells` (rows, columns), by `words` words in `dims`
    dimensions, which keep a share of `explained` of the variance. It was learned from `features` local features of
    `pictures` pictures. `changed` pictures no longer lie as they were indexed, `failures` could not be read.
    """

    path: str
    model: str
    fingerprint: str
    base: str
    layer: str
    cells: tuple[int, int]
    words: int
    dims: int
    explained: float
    norm: str
    pictures: int
    features: int
    changed: int
    failures: tuple[Failure, ...]
    size_bytes: int
