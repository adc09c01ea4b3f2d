"""What stands beside the ranking, in words and rows: near duplicates by PDQ, and inliers of a geometric check."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from image_similarity.reports.rows import COLUMNS, Row, search_row
from image_similarity.reports.text import count
from image_similarity.values import Duplicates, GeometryCheck, Hit, NearSearch, Place, SearchResult

BITS = 256


def hit_cells(result: SearchResult, hit: Hit) -> dict[str, object]:
    """Return what a table of hits shows beside the distance, by heading; nothing unless it was asked for."""
    cells: dict[str, object] = {}
    if result.near is not None:
        cells["pdq"] = hit.pdq_distance
    if result.geometry is not None:
        cells["inliers"] = hit.inliers
        if result.geometry.by_inliers:
            cells["by distance"] = hit.distance_rank
    return cells


def lines(result: SearchResult) -> list[str]:
    """Return what a reader must know of them."""
    return [
        *([] if result.geometry is None else _geometry_lines(result, result.geometry)),
        *([] if result.near is None else [near_text(result.near)]),
    ]


def near_text(near: NearSearch) -> str:
    """Return what was compared for near duplicates, and what was not, as one line."""
    hashed = f"{near.hashed} of {count(near.pictures, 'picture')} have a PDQ hash"
    if not near.hashed:
        return f"near duplicates: none of {count(near.pictures, 'picture')} has a PDQ hash; {_MAKE_THEM}"
    if near.quality < near.min_quality:
        return (
            f"near duplicates: not searched, the query shows too little (quality {near.quality} of its PDQ hash, "
            f"at least {near.min_quality} are needed)"
        )
    places = len(near.hits)
    found = f"at {places} place{'' if places == 1 else 's'}" if places else "none"
    return (
        f"near duplicates: {found}, whatever the scene; at most {near.limit} of {BITS} bits of PDQ differ"
        f"{' in any of 8 orientations' if near.turned else ''}; {hashed}{_poor(near)}"
        f"{'' if near.hashed == near.pictures else f'; {_MAKE_THEM}'}"
    )


def duplicates_text(found: Duplicates) -> str:
    """Return what was compared for near duplicates in a database, and what was not, as one line."""
    if not found.near:
        hashed = f"{found.hashed} of {count(found.pictures, 'picture')} have a PDQ hash"
        return f"near duplicates: not asked for; --near shows them ({hashed})"
    missing = "" if found.hashed == found.pictures else f"; {_MAKE_THEM}"
    if not found.hashed:
        return (
            f"near duplicates: none of {count(found.pictures, 'picture')} has a PDQ hash{missing}"
        )
    return (
        f"near duplicates: at most {found.limit} of {BITS} bits of PDQ differ"
        f"{' in any of 8 orientations' if found.turned else ''}, from picture to picture: the ends of a chain may "
        f"differ in more; {found.hashed} of {count(found.pictures, 'picture')} have a PDQ hash{_poor(found)}{missing}"
    )


_MAKE_THEM = "`image-similarity refresh --pdq` makes those that are missing"


def _poor(found: NearSearch | Duplicates) -> str:
    if not found.poor:
        return ""
    return f", {found.poor} of them below quality {found.min_quality} and not compared"


def _geometry_lines(result: SearchResult, check: GeometryCheck) -> list[str]:
    order = "the most inliers first" if check.by_inliers else "their order is that of the distance"
    text = (
        f"geometric check: {check.checked} of the {check.candidates} nearest pictures compared with the query "
        f"({check.features} local features); {order}"
    )
    reasons: dict[str, list[int]] = {}
    for hit in result.hits:
        if hit.not_checked:
            reasons.setdefault(hit.not_checked, []).append(hit.rank)
    return [
        text,
        *(
            f"not compared: hit {', '.join(map(str, ranks))}: {reason}"
            for reason, ranks in reasons.items()
        ),
    ]


def near_rows(result: SearchResult, absolute: Callable[[Place], str]) -> Iterator[Row]:
    """Give one row of `COLUMNS` for each near duplicate: without rank and distance, for no model found it."""
    for hit in result.near.hits if result.near else ():
        scene = hit.image.scenes[0] if hit.image.scenes else None
        yield {
            **dict.fromkeys(COLUMNS),
            **search_row(result),
            "path": absolute(hit.place),
            "relative_path": hit.place.path,
            "source": hit.place.source,
            "database": hit.database,
            "sha256": hit.image.sha256,
            "scene": scene.name if scene else None,
            "scene_probability": scene.probability if scene else None,
            "identical": hit.identical,
            "partial": hit.image.partial,
            "gone": hit.place.gone_since is not None,
            "found_by": "pdq",
            "pdq_distance": hit.distance,
            "pdq_orientation": hit.orientation,
        }
