"""Rows for other programs, one a hit or one a place of a picture: JSON Lines and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

from image_similarity.reports import meaning
from image_similarity.reports.text import cell
from image_similarity.values import Hit, ImageRecord, Place, SearchResult, Share

Row = Mapping[str, Any]

# What is kept of a picture's EXIF; see `pictures.exif`.
EXIF = (
    "date_time_original",
    "make",
    "model",
    "lens",
    "software",
    "latitude",
    "longitude",
    "altitude",
)

# Part of the promise to other programs: columns are added at the end, never renamed.
COLUMNS = (
    "query",
    "query_sha256",
    "rank",
    "distance",
    "similarity",
    "path",
    "relative_path",
    "source",
    "database",
    "sha256",
    "scene",
    "scene_probability",
    "identical",
    "partial",
    "gone",
    "model",
    "model_fingerprint",
    "search",
    "scenes_searched",
    "hidden",
    "hidden_nearer",
    "scene_filter",
    "unrelated_as_close",
    "unrelated_pairs",
    "unrelated_interval",
    "same_scene_as_close",
    "same_scene_pairs",
    "same_scene_interval",
    "log10_lr",
    "log10_lr_at_bound",
    "recall",
    "k",
    "max_distance",
    "reference",
    "calibration",
    "searched",
    "expected_false",
    "expected_false_among",
    "fused_score",
    "fused_best_rank",
    "fused_query",
    "query_made",
    "found_by",
    "pdq_distance",
    "pdq_orientation",
    "inliers",
    "not_checked",
    "distance_rank",
    "verdict",
    "category",
    "tags",
    "notes",
    "known",
    "hidden_known",
    "hidden_irrelevant",
    "known_searched",
    "searched_tags",
    "taken_from",
    "taken_to",
    "hidden_undated",
    "ruled_out",
)

# Of a picture at one of its places.
FILE_COLUMNS = (
    "sha256",
    "sha1",
    "md5",
    "size",
    "width",
    "height",
    "format",
    "mime",
    "partial",
    "source",
    "root",
    "relative_path",
    "path",
    "first_seen",
    "modified",
    "accessed",
    "gone_since",
    "scene",
    "scene_probability",
    "category",
    "tags",
    "notes",
    "known",
    *(f"exif_{name}" for name in EXIF),
)

# Of a hit beside those.
SEARCH_COLUMNS = tuple(name for name in COLUMNS if name not in {*FILE_COLUMNS, "gone"})


def hit_rows(result: SearchResult, absolute: Callable[[Place], str]) -> Iterator[Row]:
    """Give one row of `COLUMNS` for each hit; `absolute` says where a place lies on disk."""
    for hit in result.hits:
        yield _hit_row(result, hit, absolute(hit.place))


def place_rows(image: ImageRecord) -> Iterator[Row]:
    """Give one row of `FILE_COLUMNS` for each place of a picture."""
    scene = image.scenes[0] if image.scenes else None
    for place in image.places:
        yield {
            "sha256": image.sha256,
            "sha1": image.sha1,
            "md5": image.md5,
            "size": image.size,
            "width": image.width,
            "height": image.height,
            "format": image.format,
            "mime": image.mime,
            "partial": image.partial,
            "source": place.source,
            "root": place.root,
            "relative_path": place.path,
            "path": place.full_path,
            "first_seen": place.first_seen,
            "modified": utc(place.mtime_ns),
            "accessed": utc(place.atime_ns),
            "gone_since": place.gone_since,
            "scene": scene.name if scene else None,
            "scene_probability": scene.probability if scene else None,
            "category": image.category,
            "tags": list(image.tags),
            "notes": notes(image),
            "known": known(image),
            **{f"exif_{name}": image.exif.get(name) for name in EXIF},
        }


def notes(image: ImageRecord) -> list[str]:
    """Return the examiner's notes on a picture, oldest first."""
    return [each.value for each in image.decisions if each.kind == "note"]


def known(image: ImageRecord) -> list[str]:
    """Return the hash lists that hold a picture, and by which hash."""
    return [f"{each.list} ({each.algorithm})" for each in image.known]


def utc(ns: int | None) -> str | None:
    """Return a file time, in nanoseconds since 1970, as ISO 8601 in UTC to the microsecond; None if it is no date."""
    if ns is None:
        return None
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
    except OverflowError:
        return None
    return moment.isoformat().replace("+00:00", "Z")


def write_jsonl(rows: Iterator[Row], stream: TextIO) -> None:
    """Write one JSON object a line, in ASCII: names that are no valid text survive as escapes."""
    for row in rows:
        stream.write(json_text(row) + "\n")


def write_csv(
    rows: Iterator[Row], stream: TextIO, columns: Sequence[str], *, header: bool = True
) -> None:
    """Write rows as CSV, safe to open in a spreadsheet; lists are joined by semicolons."""
    writer = csv.writer(stream, lineterminator="\n")
    if header:
        writer.writerow(columns)
    for row in rows:
        writer.writerow([csv_value(row[column]) for column in columns])


def json_text(value: object) -> str:
    """Return a value, also one of our records, as one line of ASCII JSON."""
    return json.dumps(plain(value), ensure_ascii=True, allow_nan=False, default=str)


def plain(value: Any) -> Any:
    """Return records as dictionaries and tuples as lists, at every depth."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None  # JSON knows no such number
    return value


def search_row(result: SearchResult) -> dict[str, Any]:
    """Return the columns that are alike for all hits of a result."""
    return {
        "query": result.query,
        "query_sha256": result.sha256,
        "model": result.model.name,
        "model_fingerprint": result.model.fingerprint,
        "search": result.search,
        "scenes_searched": list(result.filter.scenes),
        "hidden": result.filter.hidden,
        "hidden_nearer": result.filter.hidden_nearer,
        "scene_filter": result.filter.mode,
        "recall": result.recall.share if result.recall else None,
        "k": result.k,
        "max_distance": result.max_distance,
        "searched": result.filter.searched,
        "hidden_known": result.excluded.hidden_known,
        "hidden_irrelevant": result.excluded.hidden_irrelevant,
        "known_searched": result.excluded.known,
        "searched_tags": list(result.excluded.tags),
        "taken_from": result.excluded.taken_from,
        "taken_to": result.excluded.taken_to,
        "hidden_undated": result.excluded.hidden_undated,
        "ruled_out": [sha256 for _, sha256 in result.fusion.against] if result.fusion else [],
    }


def _hit_row(result: SearchResult, hit: Hit, path: str) -> Row:
    scene, table, calibration = hit.scene, result.distances, result.calibration
    row = {
        **search_row(result),
        "rank": hit.rank,
        "distance": hit.distance,
        "similarity": hit.similarity,
        "path": path,
        "relative_path": hit.place.path,
        "source": hit.place.source,
        "database": hit.database,
        "sha256": hit.image.sha256,
        "verdict": hit.verdict,
        "category": hit.category,
        "tags": list(hit.tags),
        "notes": notes(hit.image),
        "known": known(hit.image),
        "scene": scene.name if scene else None,
        "scene_probability": scene.probability if scene else None,
        "identical": hit.identical,
        "partial": hit.image.partial,
        "gone": hit.place.gone_since is not None,
        **_share("unrelated", hit.as_close.unrelated if hit.as_close else None),
        **_share("same_scene", hit.as_close.same_scene if hit.as_close else None),
        "log10_lr": hit.ratio.log10 if hit.ratio else None,
        "log10_lr_at_bound": hit.ratio.at_bound if hit.ratio else None,
        "reference": meaning.table_text(table) if table and hit.as_close else None,
        "calibration": meaning.calibration_text(calibration) if calibration and hit.ratio else None,
        "expected_false": hit.expected_false,
        "expected_false_among": result.strength.searched if result.strength else None,
        "fused_score": hit.fused.score if hit.fused else None,
        "fused_best_rank": hit.fused.best_rank if hit.fused else None,
        "fused_query": hit.fused.query if hit.fused else None,
        "query_made": result.query_made or None,
        "found_by": "embedding",
        "pdq_distance": hit.pdq_distance,
        "pdq_orientation": None,
        "inliers": hit.inliers,
        "not_checked": hit.not_checked or None,
        "distance_rank": hit.distance_rank,
    }
    return {column: row[column] for column in COLUMNS}


def _share(kind: str, share: Share | None) -> Row:
    return {
        f"{kind}_as_close": share.count if share else None,
        f"{kind}_pairs": share.pairs if share else None,
        f"{kind}_interval": [share.low, share.high] if share else None,
    }


def csv_value(value: object) -> object:
    """Return a value as a CSV cell, safe to open in a spreadsheet; a list is joined by semicolons."""
    if isinstance(value, list):
        value = ";".join(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return cell(value)
