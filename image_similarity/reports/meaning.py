"""What a distance means, in words: written once, for the table, the contact sheet and the other programs.

These words never say how sure a hit is. They say how often other pictures come as close, and, where a user has
calibrated, how many times likelier the distance is under one proposition than under the other.
"""

from __future__ import annotations

import math

from image_similarity.values import (
    AsClose,
    Calibration,
    DistanceTable,
    Fusion,
    Hit,
    LikelihoodRatio,
    SearchResult,
    Share,
    Strength,
)

# Below this a number expected is not said: the reference pairs do not reach so far.
_FEWEST_SAID = 0.001


def search_text(result: SearchResult) -> str:
    """Return how the pictures were compared, and of an approximate search how often it was right on them."""
    if result.recall is None:
        return result.search
    recall = result.recall
    found = (
        f"found {recall.found} of the {recall.total} nearest of {recall.queries} stored pictures"
    )
    among = "" if recall.vectors is None else f", measured among {recall.vectors:,}"
    return f"{result.search} ({found}{among})"


def index_text(result: SearchResult) -> str:
    """Return what the index did that was asked for: nothing where a filter left too few of its candidates."""
    if result.index is None:
        return ""
    where = f"index: {result.index.path}, built {result.index.made_at}"
    unused = ", not used: the filters leave too few pictures, so all of these were compared"
    return where if result.search == "approximate" else where + unused


def nearer_text(result: SearchResult) -> str:
    """Return how many of the hidden pictures would have been hits, but for the scene filter."""
    return missed_text(
        result.filter.hidden_nearer,
        kind=result.search,
        fused=result.fusion is not None,
        by_inliers=result.geometry is not None and result.geometry.by_inliers,
    )


def missed_text(nearer: int | None, *, kind: str, fused: bool, by_inliers: bool) -> str:
    """Return the same of what a row says; an approximate search may overlook some, of several the greatest counts."""
    if by_inliers:
        # Nobody matched them with the query, so their ranks are not known.
        border = "been among the nearest, which were checked"
    elif fused:
        border = "stood among the nearest to a query"
    else:
        border = "ranked above the last hit"
    least = "at least " if kind == "approximate" or fused else ""
    return f"{least}{nearer} of those would have {border}"


def as_close_text(found: AsClose) -> str:
    """Return how many pairs of different pictures came as close, unrelated ones and such of one scene."""
    return (
        f"{_share(found.unrelated)} unrelated pairs came as close {_interval(found.unrelated)}; "
        f"{_share(found.same_scene)} pairs of one scene {_interval(found.same_scene)}"
    )


def ratio_text(ratio: LikelihoodRatio) -> str:
    """Return a likelihood ratio as a number or, below 1, as a fraction."""
    size = _rounded(10 ** abs(ratio.log10), exact=ratio.at_bound)
    number = f"1/{size}" if ratio.log10 < 0 and size != "1" else size
    if ratio.at_bound:
        return f"LR {number}, the bound: the calibration supports none more extreme"
    return f"LR about {number}"


def reference_text(table: DistanceTable, model: str) -> str:
    """Return what the reference table of a model was made on and how it is read."""
    return reference_line(table_text(table), model)


def reference_line(pairs: str, model: str) -> str:
    """Return how reference pairs are read, that `table_text` told of."""
    return (
        f"reference pairs of {model}: {pairs}. Unrelated are two pictures of different scenes; in brackets "
        "is the 95 % interval. They say how often different pictures come as close, not whether a hit shows the same: "
        "the more pictures are searched, the more unrelated ones come close"
    )


def table_text(table: DistanceTable) -> str:
    """Return which pairs a reference table counts, in short."""
    unrelated, same_scene = table.unrelated[-1], table.same_scene[-1]
    return f"{unrelated:,} unrelated ones, {same_scene:,} of one scene; {table.made_on}"


def fusion_text(fusion: Fusion) -> str:
    """Return how several queries became one list, and what was left out of it for its likeness to others."""
    several = "1 query" if len(fusion.queries) == 1 else f"{len(fusion.queries)} queries"
    text = (
        f"ranked by reciprocal rank fusion of {several}: each one's {fusion.depth} nearest, a picture's score is the "
        f"sum of 1/({fusion.constant} + rank); the distance is that to the nearest query"
    )
    if fusion.against:
        text += (
            f". Left out {fusion.left_out} above the last hit that are nearer to a picture to rule out "
            f"({', '.join(label for label, _ in fusion.against)}) than to every query"
        )
    return text


def expected_text(strength: Strength, hit: Hit) -> str:
    """Return about how many unrelated pictures are expected to come as close as a hit."""
    expected = hit.expected_false or 0.0
    if expected < _FEWEST_SAID:
        number = f"fewer than {_FEWEST_SAID:g}"
    else:
        number = f"{'about' if strength.cohort else 'at most'} {_short(expected)}"
    return f"{number} unrelated expected as close among the {strength.searched:,} pictures searched"


def strength_text(result: SearchResult) -> str:
    """Return what the expected numbers of unrelated pictures were scaled from, and to; nothing without any."""
    strength, table = result.strength, result.distances
    if strength is None or table is None:
        return ""
    if strength.cohort:
        scaled = f"by a cohort of {strength.cohort:,} of them, drawn at random"
    else:
        scaled = "by the upper end of the interval (a cohort needs 300 pictures of the case)"
    return (
        f"expected: the reference set R ({table.made_on}) scaled to the {strength.searched:,} pictures searched "
        f"(before the scene filter) {scaled}. R is not your case: the numbers hold as far as unrelated pictures of the "
        "case lie to each other as those of R do"
    )


def cut_text(result: SearchResult) -> str:
    """Return how many of the nearest pictures a limit on the unrelated ones expected left out, if any was set."""
    strength = result.strength
    if strength is None or strength.max_expected_false is None:
        return ""
    return (
        f"left out {strength.left_out} of the {len(result.hits) + strength.left_out} nearest: more than "
        f"{strength.max_expected_false:g} unrelated pictures are expected as close"
    )


def calibration_text(calibration: Calibration) -> str:
    """Return the two propositions of a likelihood ratio, what it was learned from and how well it did."""
    bound = _rounded(10**calibration.bound, exact=True)
    return (
        f"LR: how many times likelier the distance is if {calibration.same} than if {calibration.different}. "
        f"Learned from {calibration.groups} groups of {calibration.pictures} pictures "
        f"(SHA-256 of the list {calibration.groups_sha256[:12]}) on {calibration.made_at[:10]}, "
        f"kept between 1/{bound} and {bound}; C_llr {calibration.cllr:.2f} "
        f"({calibration.cllr_low:.2f} to {calibration.cllr_high:.2f}; 0 is perfect, 1 useless). "
        "It weighs this distance only; what else is known must be weighed with it"
    )


def legend(result: SearchResult) -> list[str]:
    """Return the lines that explain the meanings of hits, alike for all results of a search; none without meanings."""
    table, calibration = result.distances, result.calibration
    return [
        *([] if table is None else [reference_text(table, result.model.name)]),
        *([] if table is None or result.strength is None else [strength_text(result)]),
        *([] if calibration is None else [calibration_text(calibration)]),
    ]


def hit_lines(result: SearchResult) -> list[str]:
    """Return one line for each run of hits that mean the same, by their ranks: "hits 1-3: ..."."""
    runs: list[tuple[int, int, str]] = []
    for hit in result.hits:
        said = "; ".join(
            [
                *([] if hit.as_close is None else [as_close_text(hit.as_close)]),
                *([] if result.strength is None else [expected_text(result.strength, hit)]),
                *([] if hit.ratio is None else [ratio_text(hit.ratio)]),
            ]
        )
        if runs and runs[-1][2] == said:
            runs[-1] = (runs[-1][0], hit.rank, said)
        elif said:
            runs.append((hit.rank, hit.rank, said))
    return [
        f"hit {first}: {said}" if first == last else f"hits {first}-{last}: {said}"
        for first, last, said in runs
    ]


def _share(share: Share) -> str:
    return f"{share.count:,} of {share.pairs:,}"


def _interval(share: Share) -> str:
    """The interval in percent; "up to" where none was seen."""
    if share.count == 0:
        return f"(up to {_percent(share.high)} %)"
    return f"({_percent(share.low)} to {_percent(share.high)} %)"


def _short(value: float) -> str:
    """Two digits that count, never in powers of ten."""
    if value >= 10:
        return f"{round(value, 1 - math.floor(math.log10(value))):,.0f}"
    places = 1 - math.floor(math.log10(value))
    return f"{value:.{places}f}"


def _percent(value: float) -> str:
    """Two digits that count, never in powers of ten."""
    percent = value * 100
    places = 1 if percent >= 1 else 1 - math.floor(math.log10(percent)) if percent else 0
    text = f"{percent:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rounded(value: float, *, exact: bool = False) -> str:
    """A ratio of at least 1 to two digits, or to the next whole number."""
    if value < 10 and not exact:
        return f"{value:.1f}".rstrip("0").rstrip(".")
    digits = 0 if exact else len(str(int(value))) - 2
    return f"{round(value, -digits):,.0f}"
