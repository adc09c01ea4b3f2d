"""How far every vector can be from a query: bounds that are proven, and what follows from them.

A vector x is known by its code x' with |x - x'| <= e (`codes.py`), the query q by its own code q' with |q - q'| <= f.
By the triangle inequality the distance of x and q differs from that of x' and q' by at most e + f. Whoever's lower
bound is above the k-th smallest upper bound is not among the k nearest; the others are looked at more closely, in the
end by their stored vectors. So the answer is that of comparing everything, whatever the vectors are.

Floating point is part of the bound. With u = 2^-24, X = |x'| and Q = |q'|, the squared distance
X^2 + Q^2 - 2 s t m (m a whole number, the dot product of the codes; s and t their scales) is computed in float32 by at
most six operations on terms that add up to at most (X + Q)^2, so it errs by less than 8 u (X + Q)^2, and its root by
less than sqrt(8 u) (X + Q) < 7e-4 (X + Q). `ROUNDING` is a little more, which covers the roundings of root, sums and
comparisons (a few u (X + Q)).

For vectors as stored, float16, a product in float32 by whatever BLAS errs by at most d u / (1 - d u) of |x| |q| for d
dimensions (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), so the squared distance by less than
2 (d + 8) u (X + Q)^2 as long as d u <= 1/8, that is for up to 2,000,000 dimensions. In float64 differences are exact
and only their squares' sum is rounded: by less than (d + 8) 2^-52 of itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from image_similarity.ranking import codes as coding
from image_similarity.ranking import exhaustive, kernels
from image_similarity.values import PackedCodes

Half = npt.NDArray[np.float16]
Rows = npt.NDArray[np.intp]

ROUNDING = 7.5e-4
# The k-th smallest of the smallest of each so many upper bounds is an upper bound of the k-th smallest of all, and is
# found ten times as fast.
GROUP = 512
# Numbers that are widened to float64 at once: 32 MiB.
_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True)
class Bounds:
    """The distance of each of n vectors from a query lies within `radius` of `centre`; both (n,), float32 or float64.

    Vectors that are not of numbers have an infinite centre: they are never near.
    """

    centre: npt.NDArray[np.floating]
    radius: npt.NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.centre)

    def at(self, rows: Rows) -> Bounds:
        """The bounds of some rows."""
        return Bounds(self.centre[rows], self.radius[rows])


@dataclass(frozen=True, slots=True)
class Coded:
    """Codes of n vectors with what every query needs of them: `reach` float32 (n,) is error plus rounding of each row.

    `squares` float32 (n,) are the squared lengths of the decoded vectors.
    """

    packed: PackedCodes
    squares: npt.NDArray[np.float32]
    reach: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CodedQuery:
    """A query, float16 (dim,), with its code: whole numbers int8 (dim,), scale, error and length."""

    vector: Half
    code: npt.NDArray[np.int8]
    scale: float
    error: float
    length: float


def coded(packed: PackedCodes) -> Coded:
    """Prepare codes for queries."""
    lengths = coding.norms(packed).astype(np.float64)
    return Coded(
        packed,
        squares=(lengths * lengths).astype(np.float32),
        reach=(packed.errors + ROUNDING * lengths).astype(np.float32),
    )


def coded_query(vector: Half) -> CodedQuery:
    """Encode a query, float16 (dim,); nothing is near to one that is not of numbers."""
    if not np.isfinite(vector).all():
        return CodedQuery(vector, np.zeros(len(vector), np.int8), 0.0, math.inf, 0.0)
    packed = coding.encode(vector[None])
    return CodedQuery(
        vector,
        packed.codes[0],
        float(packed.scales[0]),
        float(packed.errors[0]),
        float(coding.norms(packed)[0]),
    )


def bounds_of_codes(given: Coded, query: CodedQuery) -> Bounds:
    """Bound the distances of all codes from a query by one scan of them."""
    packed = given.packed
    count = len(packed.scales)
    if math.isinf(query.error):
        return Bounds(np.full(count, np.inf, np.float32), np.zeros(count, np.float32))
    centre = np.empty(count, dtype=np.float32)
    factor = np.float32(-2.0 * query.scale)
    square = np.float32(query.length * query.length)
    radius = given.reach + np.float32((query.error + ROUNDING * query.length) * (1 + 1e-6))

    def scan(start: int, stop: int) -> None:
        part = centre[start:stop]
        kernels.dot_products(packed.codes[start:stop], query.code, part)
        part *= packed.scales[start:stop]
        part *= factor
        part += given.squares[start:stop]
        part += square
        np.maximum(part, 0, out=part)
        np.sqrt(part, out=part)

    kernels.in_shares(count, scan)
    return Bounds(centre, radius)


def some(given: Coded, rows: Rows) -> Coded:
    """Give the codes of some rows."""
    packed = given.packed
    taken = PackedCodes(
        packed.codes[rows], packed.scales[rows], packed.errors[rows], packed.bits[rows]
    )
    return Coded(taken, given.squares[rows], given.reach[rows])


def bounds_of_decoded(given: PackedCodes, rows: Rows, query: Half) -> Bounds:
    """Bound the distances of some rows of codes from a query more closely: the query is not rounded, the sums float64.

    What remains is the error of each code.
    """

    def decoded(part: Rows) -> npt.NDArray[np.float64]:
        scales = given.scales[part].astype(np.float64)[:, None]
        wide: npt.NDArray[np.float64] = scales * given.codes[part]
        return wide

    found = _in_float64(rows, given.codes.shape[1], query, decoded)
    return Bounds(found.centre, found.radius + given.errors[rows])


def bounds_of_vectors(vectors: Half, query: Half) -> Bounds:
    """Bound the distances of stored vectors, float16 (n, dim), from a query (dim,), by a product in float32."""
    centre = np.sqrt(np.maximum(exhaustive.squared_distances(vectors, query), 0))
    error = product_error(vectors.shape[1])
    # X is at most the distance plus Q, and the distance at most centre + error (X + Q).
    radius = (centre + np.float32(2 * _length(query))) * np.float32(error / (1 - error))
    return _finite(centre, radius)


def product_error(dim: int) -> float:
    """How far, in lengths X + Q, a distance may be off that comes of a float32 product of so many dimensions."""
    return math.sqrt(2 * (dim + 8) * 2.0**-24)


def bounds_of_rows(vectors: Half, query: Half) -> Bounds:
    """Bound the distances of stored vectors, float16 (n, dim), from a query (dim,), in float64."""
    rows = np.arange(len(vectors))
    return _in_float64(rows, vectors.shape[1], query, lambda part: vectors[part].astype(np.float64))


def _in_float64(
    rows: Rows, dim: int, query: Half, decoded: Callable[[Rows], npt.NDArray[np.float64]]
) -> Bounds:
    wanted = query.astype(np.float64)
    centre = np.empty(len(rows), dtype=np.float64)
    step = max(1, _AT_ONCE // max(1, dim))
    for start in range(0, len(rows), step):
        difference = decoded(rows[start : start + step]) - wanted
        centre[start : start + step] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    # Each difference is rounded once, then squares are added: relative to the distance itself.
    return _finite(centre, centre * ((dim + 8) * 2.0**-52))


def _finite(centre: npt.NDArray[np.floating], radius: npt.NDArray[np.floating]) -> Bounds:
    sound = np.isfinite(centre) & np.isfinite(radius)
    return Bounds(np.where(sound, centre, np.inf), np.where(sound, radius, 0))


def _length(vector: Half) -> float:
    return float(np.linalg.norm(vector.astype(np.float64)))


# -- what follows from bounds -----------------------------------------------------------------------------------------


def within_reach(bounds: Bounds, count: int, furthest: float | None) -> Rows:
    """Give, ascending, the rows that can be among the `count` nearest and not beyond `furthest` (a distance)."""
    return possibly_within(bounds, limit_of(bounds, count, furthest))


def limit_of(bounds: Bounds, count: int, furthest: float | None) -> float:
    """Give a distance that none of the `count` nearest exceeds, at most `furthest`; infinite where fewer are known."""
    limit = math.inf if furthest is None else furthest
    if count < len(bounds):
        limit = min(limit, smallest_limit(bounds.centre + bounds.radius, count))
    return limit


def possibly_within(bounds: Bounds, distance: float) -> Rows:
    """Give, ascending, the rows that can be at a distance or nearer."""
    lower = bounds.centre - bounds.radius
    return np.flatnonzero((lower <= distance) & (bounds.centre < np.inf))


def smallest_limit(upper: npt.NDArray[np.floating], count: int) -> float:
    """Give a number that at least `count` of the values (n,), n >= count, do not exceed, close to the smallest such."""
    whole = len(upper) - len(upper) % GROUP
    if whole // GROUP >= 4 * count:
        upper = upper[:whole].reshape(-1, GROUP).min(axis=1)
    return float(np.partition(upper, count - 1)[count - 1])


def split_at(bounds: Bounds, distance: float) -> tuple[int, Rows]:
    """Give how many are surely nearer than a distance, and the rows of those that may or may not be."""
    sure = bounds.centre + bounds.radius < distance
    possible = bounds.centre - bounds.radius < distance
    return int(np.count_nonzero(sure)), np.flatnonzero(possible & ~sure & (bounds.centre < np.inf))


def count_nearer(vectors: Half, query: Half, distance: float) -> int:
    """Count stored vectors, float16 (n, dim), that are strictly nearer to a query than a distance, exactly."""
    sure, unsure = split_at(bounds_of_rows(vectors, query), distance)
    return sure + sum(exhaustive.exact_distance(vectors[row], query) < distance for row in unsure)


def nearest(
    vectors: Half, query: Half, count: int, furthest: float | None
) -> list[tuple[int, float]]:
    """Give rows of stored vectors, float16 (n, dim), with exact distances: the `count` nearest and all ties with them.

    Rows ascend; none is beyond `furthest`.
    """
    rows = within_reach(bounds_of_rows(vectors, query), count, furthest)
    found = exhaustive.exact_distances(vectors[rows], query).tolist()
    limit = math.inf if furthest is None else furthest
    return [
        (row, distance)
        for row, distance in zip(rows.tolist(), found, strict=True)
        if distance <= limit
    ]
