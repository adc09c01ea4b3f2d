"""Search results as rows, one a hit, for other programs: JSON Lines and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TextIO

from image_similarity.reports.text import cell
from image_similarity.values import Hit, Place, SearchResult, Share

Row = Mapping[str, Any]

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
)


def hit_rows(result: SearchResult, absolute: Callable[[Place], str]) -> Iterator[Row]:
    """Give one row of `COLUMNS` for each hit; `absolute` says where a place lies on disk."""
    for hit in result.hits:
        yield _hit_row(result, hit, absolute(hit.place))


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
        writer.writerow([_csv_value(row[column]) for column in columns])


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


def _hit_row(result: SearchResult, hit: Hit, path: str) -> Row:
    scene = hit.scene
    return {
        "query": result.query,
        "query_sha256": result.sha256,
        "rank": hit.rank,
        "distance": hit.distance,
        "similarity": hit.similarity,
        "path": path,
        "relative_path": hit.place.path,
        "source": hit.place.source,
        "database": hit.database,
        "sha256": hit.image.sha256,
        "scene": scene.name if scene else None,
        "scene_probability": scene.probability if scene else None,
        "identical": hit.identical,
        "partial": hit.image.partial,
        "gone": hit.place.gone_since is not None,
        "model": result.model.name,
        "model_fingerprint": result.model.fingerprint,
        "search": result.search,
        "scenes_searched": list(result.filter.scenes),
        "hidden": result.filter.hidden,
        "hidden_nearer": result.filter.hidden_nearer,
        "scene_filter": result.filter.mode,
        **_share("unrelated", hit.as_close.unrelated if hit.as_close else None),
        **_share("same_scene", hit.as_close.same_scene if hit.as_close else None),
        "log10_lr": hit.ratio.log10 if hit.ratio else None,
        "log10_lr_at_bound": hit.ratio.at_bound if hit.ratio else None,
        "recall": result.recall.share if result.recall else None,
    }


def _share(kind: str, share: Share | None) -> Row:
    return {
        f"{kind}_as_close": share.count if share else None,
        f"{kind}_pairs": share.pairs if share else None,
        f"{kind}_interval": [share.low, share.high] if share else None,
    }


def _csv_value(value: object) -> object:
    if isinstance(value, list):
        value = ";".join(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return cell(value)
