"""Calibrate a model on groups of pictures: which pairs are compared, the fit, and how good it is on groups unseen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from image_similarity import __version__
from image_similarity.calibration.groups import GroupList
from image_similarity.calibration.ratio import Flags, Floats, cllr, cllr_min, costs, fit
from image_similarity.errors import CalibrationRefused
from image_similarity.values import Calibration, ModelInfo

# Fewer do not bear a likelihood ratio worth stating: its bound is their number.
MIN_GROUPS = 200
FOLDS = 5
REPLICATES = 1_000
# A burst of hundreds of shots is one group; that many of its pictures say all that it can.
MAX_PER_GROUP = 20
# Pictures between which pairs of different groups are looked for, and how many pairs are kept.
MAX_PICTURES = 2_000
MAX_DIFFERENT = 100_000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grouped:
    """The pictures of a user's groups: stored vectors float16 (N, D), numbers of groups (N,), first scenes (N,)."""

    vectors: npt.NDArray[np.float16]
    groups: Ints
    scenes: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of pictures: distances (P,), the groups of both (P,), and weights that make each group count alike."""

    distances: Floats
    first: Ints
    second: Ints
    weights: Floats

    @property
    def same(self) -> Flags:
        """Whether each pair is of one group, bool (P,)."""
        flags: Flags = self.first == self.second
        return flags

    def where(self, rows: Flags) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.distances[rows], self.first[rows], self.second[rows], self.weights[rows])


def calibrate(
    grouped: Grouped, listed: GroupList, model: ModelInfo, *, same: str | None = None, seed: int = 1
) -> Calibration:
    """Learn how a model's distances turn into likelihood ratios, from groups of pictures.

    A pair of one group is compared with pairs of different groups that have the same likeliest scene, if at least
    200 groups have such a partner: easy pairs (a beach and a kitchen) would flatter. Otherwise with all pairs of
    different groups. C_llr is that of groups which the fit had not seen, its interval a bootstrap over groups.

    Args:
        grouped: the pictures.
        listed: the list that they come from.
        model: whose vectors they are.
        same: the first proposition, what a group stands for; "both pictures are of one group" unless given.
        seed: of all drawing.

    Raises:
        CalibrationRefused: Fewer than 200 groups have two pictures or more.
    """
    grouped, groups = _with_partners(grouped)
    if groups < MIN_GROUPS:
        raise CalibrationRefused(
            f"{listed.name} has {groups} groups of two or more pictures; {MIN_GROUPS} are needed",
            hint="likelihood ratios from fewer groups would not be worth stating",
        )
    random = np.random.default_rng(seed)
    pairs, same_scene = draw_pairs(grouped, random)
    line = fit(pairs.distances, pairs.same, pairs.weights, groups=groups)
    tested, cost = cross_validate(pairs, random)
    low, high = bootstrap(tested, cost, random)
    population = ", pictures of the same likeliest scene" if same_scene else ""
    return Calibration(
        fingerprint=model.fingerprint,
        model=model.name,
        same=same or f"both pictures are of one group of {listed.name}",
        different=f"they are of two different groups of {listed.name}{population}",
        intercept=line.intercept,
        slope=line.slope,
        bound=line.bound,
        groups=groups,
        pictures=len(grouped.groups),
        same_pairs=int(pairs.same.sum()),
        different_pairs=int((~pairs.same).sum()),
        cllr=cllr(cost, tested.same, tested.weights),
        cllr_low=low,
        cllr_high=high,
        cllr_min=cllr_min(tested.distances, tested.same, tested.weights),
        groups_sha256=listed.sha256,
        made_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        version=__version__,
    )


def _with_partners(grouped: Grouped) -> tuple[Grouped, int]:
    """Return the pictures of groups of two or more, groups numbered from 0, and the number of groups."""
    sizes = np.bincount(grouped.groups, minlength=1)
    rows = np.flatnonzero(sizes[grouped.groups] > 1)
    names, numbers = np.unique(grouped.groups[rows], return_inverse=True)
    scenes = [grouped.scenes[row] for row in rows.tolist()]
    return Grouped(grouped.vectors[rows], numbers.astype(np.int64), scenes), len(names)


def draw_pairs(grouped: Grouped, random: np.random.Generator) -> tuple[Pairs, bool]:
    """Return the pairs to compare, and whether those of different groups were kept to the same likeliest scene."""
    order = random.permutation(len(grouped.groups))
    members: dict[int, list[int]] = {}
    for row in order.tolist():
        members.setdefault(int(grouped.groups[row]), []).append(row)
    kept = [rows[:MAX_PER_GROUP] for rows in members.values()]
    together = np.array([pair for rows in kept for pair in itertools.combinations(rows, 2)])
    apart, same_scene = _different(grouped, random.permutation(np.concatenate(kept)), random)
    rows = np.concatenate([together, apart])
    vectors = grouped.vectors.astype(np.float64)
    first, second = grouped.groups[rows[:, 0]], grouped.groups[rows[:, 1]]
    pairs = np.sort(np.stack([first, second], axis=1), axis=1)
    _, place, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    return Pairs(
        distances=_distances(vectors, rows),
        first=first,
        second=second,
        weights=1 / counts[place.ravel()],
    ), same_scene


def _different(grouped: Grouped, rows: Ints, random: np.random.Generator) -> tuple[Ints, bool]:
    """Return pairs (P, 2) of pictures of different groups, hard ones where labels allow."""
    left, right = np.triu_indices(min(len(rows), MAX_PICTURES), k=1)
    pairs = np.stack([rows[left], rows[right]], axis=1)
    groups = grouped.groups[pairs]
    pairs = pairs[groups[:, 0] != groups[:, 1]]
    names = sorted({scene for scene in grouped.scenes if scene is not None})
    number = {name: place for place, name in enumerate(names)}
    # A picture without a label has the scene of no other.
    scenes = np.array(
        [number.get(scene or "", -1 - row) for row, scene in enumerate(grouped.scenes)]
    )[pairs]
    hard = pairs[scenes[:, 0] == scenes[:, 1]]
    enough = len(np.unique(grouped.groups[hard])) >= MIN_GROUPS
    return random.permutation(hard if enough else pairs)[:MAX_DIFFERENT], enough


def _distances(vectors: Floats, pairs: Ints) -> Floats:
    """Return the Euclidean distances of pairs (P, 2), in portions: P vectors at once may not fit into memory."""
    portions = np.array_split(pairs, len(pairs) // 10_000 + 1)
    return np.concatenate(
        [np.linalg.norm(vectors[part[:, 0]] - vectors[part[:, 1]], axis=1) for part in portions]
    )


def split(pairs: Pairs, random: np.random.Generator) -> Iterator[tuple[Flags, Flags]]:
    """Give for each fold which pairs to fit on and which to test on; no group has pairs in both.

    Pairs of a group in the fold with one outside are in neither.
    """
    groups = random.permutation(int(max(pairs.first.max(), pairs.second.max())) + 1)
    fold_of = np.empty_like(groups)
    fold_of[groups] = np.arange(len(groups)) % FOLDS
    first, second = fold_of[pairs.first], fold_of[pairs.second]
    for fold in range(FOLDS):
        yield (first != fold) & (second != fold), (first == fold) & (second == fold)


def cross_validate(pairs: Pairs, random: np.random.Generator) -> tuple[Pairs, Floats]:
    """Return the pairs that were tested, and what the ratio of each cost (P,), fitted on other groups.

    Raises:
        CalibrationRefused: No pair of different groups could be tested.
    """
    tested: list[npt.NDArray[np.intp]] = []
    found: list[Floats] = []
    for fitted, held_out in split(pairs, random):
        known, unseen = pairs.where(fitted), pairs.where(held_out)
        groups = len(np.unique(known.first[known.same]))
        line = fit(known.distances, known.same, known.weights, groups=groups)
        tested.append(np.flatnonzero(held_out))
        found.append(costs(line.log10_ratios(unseen.distances), unseen.same))
    rows = np.concatenate(tested)
    chosen = Pairs(
        pairs.distances[rows], pairs.first[rows], pairs.second[rows], pairs.weights[rows]
    )
    if chosen.same.all():
        raise CalibrationRefused(
            "too few pictures of different groups can be compared", hint="add groups to the list"
        )
    return chosen, np.concatenate(found)


def bootstrap(tested: Pairs, cost: Floats, random: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % interval of C_llr: groups are drawn with replacement, and their pairs with them."""
    groups = int(max(tested.first.max(), tested.second.max())) + 1
    same = tested.same
    found = []
    for _ in range(REPLICATES):
        times = random.multinomial(groups, np.full(groups, 1 / groups)).astype(np.float64)
        both = np.where(same, times[tested.first], times[tested.first] * times[tested.second])
        weights = tested.weights * both
        if weights[same].any() and weights[~same].any():
            found.append(cllr(cost, same, weights))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
