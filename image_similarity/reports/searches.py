"""A search as a report tells of it, from a result at hand or from the rows of a hits file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from image_similarity.reports import beside, meaning, taken_out
from image_similarity.reports.about import Pair
from image_similarity.reports.rows import Row, hit_rows, search_row
from image_similarity.values import (
    AsClose,
    ImageRecord,
    LikelihoodRatio,
    Place,
    SearchResult,
    Share,
)

# What became of pictures of hash lists; that they were marked only is nothing to say of a search.
_KNOWN = {"hide": "left out", "only": "searched alone"}


@dataclass(frozen=True, slots=True)
class Search:
    """A query, what is to be said of the search, and its hits as rows; `strength` explains statements of strength."""

    query: str
    sha256: str
    pairs: tuple[Pair, ...]
    strength: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture of a report, with the hits that it is (none in a selection), and the database that holds it."""

    image: ImageRecord
    hits: tuple[Row, ...] = ()
    database: str = ""


def from_result(result: SearchResult, absolute: Callable[[Place], str]) -> Search:
    """Return a search from its result; near duplicates stand behind the hits. `absolute` says where a place lies."""
    scenes = ", ".join(f"{each.name} ({each.probability:.2f})" for each in result.query_scenes)
    scene_model = result.scene_model
    more = (
        ("Looked at of the query", result.query_made),
        ("Scenes of the query", scenes),
        (
            "Scene model",
            f"{scene_model.name}, fingerprint {scene_model.fingerprint}" if scene_model else "",
        ),
        ("Index", meaning.index_text(result)),
    )
    also = filter(
        None,
        [
            meaning.cut_text(result),
            meaning.fusion_text(result.fusion) if result.fusion else "",
            *beside.lines(result),
            *taken_out.lines(result),
        ],
    )
    pairs = _pairs(search_row(result), meaning.search_text(result), meaning.nearer_text(result))
    return Search(
        result.query,
        result.sha256,
        (*pairs, *(pair for pair in more if pair[1]), *(("Also", line) for line in also)),
        tuple(meaning.legend(result)),
        (*hit_rows(result, absolute), *beside.near_rows(result, absolute)),
    )


def from_rows(rows: Sequence[Row]) -> list[Search]:
    """Return the searches that rows come from, which lie together by query."""
    found = []
    for (query, sha256), group in groupby(rows, lambda row: (row["query"], row["query_sha256"])):
        hits = tuple(group)
        first = hits[0]
        kind = str(first["search"] or "not stated")
        how = kind if first["recall"] is None else f"{kind} (recall on a sample {first['recall']})"
        nearer = meaning.missed_text(
            first["hidden_nearer"],
            kind=kind,
            fused=first["fused_score"] is not None,
            by_inliers=first["distance_rank"] is not None,
        )
        strength = dict.fromkeys(
            [
                *(
                    meaning.reference_line(row["reference"], row["model"])
                    for row in hits
                    if row["reference"]
                ),
                *(row["calibration"] for row in hits if row["calibration"]),
            ]
        )
        pairs = _pairs(first, how, nearer)
        more = (
            ("Looked at of the query", str(first["query_made"] or "")),
            ("Only pictures", _only(first)),
            ("Hidden without a date", str(first["hidden_undated"] or "")),
            ("Left out", _ruled_out(first)),
            ("Known files", _KNOWN.get(str(first["known_searched"]), "")),
            ("Hidden as known", str(first["hidden_known"] or "")),
            ("Hidden as irrelevant", str(first["hidden_irrelevant"] or "")),
        )
        pairs = (*pairs, *(pair for pair in more if pair[1]))
        found.append(Search(query, sha256, pairs, tuple(strength), hits))
    return found


def strength_text(row: Row) -> list[str]:
    """Return what is said of the strength of a hit, in words."""
    said = []
    shares = [_share(row, kind) for kind in ("unrelated", "same_scene")]
    if shares[0] and shares[1]:
        said.append(meaning.as_close_text(AsClose(shares[0], shares[1])))
    if row["expected_false"] is not None:
        among = row["expected_false_among"]
        over = f" among the {among} pictures searched" if among is not None else ""
        said.append(f"{row['expected_false']:.2g} unrelated expected as close{over}")
    if row["log10_lr"] is not None:
        # A file may say anything; ten to the power of it must still be a number.
        log10 = max(-99.0, min(99.0, float(row["log10_lr"])))
        ratio = LikelihoodRatio(log10, bool(row["log10_lr_at_bound"]))
        said.append(meaning.ratio_text(ratio))
    return said


def signals(row: Row) -> str:
    """Return how near a hit is, by every measure that it has; a further measure is one line here."""
    turn = f" ({row['pdq_orientation']})" if row["pdq_orientation"] else ""
    said = (
        (row["distance"], f"distance {_number(row['distance'])}"),
        (row["similarity"], f"similarity {_number(row['similarity'])}"),
        (row["pdq_distance"], f"PDQ distance {row['pdq_distance']} of 256{turn}"),
        (row["inliers"], f"{row['inliers']} points agree with one geometry"),
        (row["distance_rank"], f"rank {row['distance_rank']} by distance"),
        (row["fused_query"], f"best rank {row['fused_best_rank']}, of query {row['fused_query']}"),
        (row["verdict"] or None, f"judged {row['verdict']}"),
    )
    return ", ".join(text for value, text in said if value is not None)


def hit_text(row: Row) -> str:
    """Return a hit in one line, for formats that hold no more than text."""
    return "; ".join(
        [
            f"{_which(row)} of the query {row['query']} (SHA-256 {row['query_sha256']})",
            signals(row),
            *(
                []
                if row["rank"] is None
                else [f"model {row['model']} ({row['model_fingerprint']})"]
            ),
            *(["identical bytes"] if row["identical"] else []),
            *strength_text(row),
            "a lead for examination, never a finding",
        ]
    )


def _which(row: Row) -> str:
    return "near duplicate" if row["rank"] is None else f"hit {row['rank']}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _pairs(row: Row, how: str, nearer: str) -> tuple[Pair, ...]:
    searched, hidden = row["searched"], row["hidden"]
    over = f" over {searched} pictures" if searched is not None else ""
    near = "" if row["max_distance"] is None else f", within distance {row['max_distance']:g}"
    if row["scene_filter"] == "off":
        scenes = "all; nothing left out"
    else:
        named = ", ".join(map(str, row["scenes_searched"] or ())) or "none"
        of = f" of {searched + hidden}" if searched is not None and hidden is not None else ""
        scenes = f"{named} ({row['scene_filter']}); left out {hidden}{of} pictures; {nearer}"
    return (
        ("SHA-256", row["query_sha256"]),
        ("Model", f"{row['model']}, fingerprint {row['model_fingerprint']}"),
        ("Search", f"{how}{over}, k {row['k']}{near}"),
        ("Scenes searched", scenes),
    )


def _only(row: Row) -> str:
    """Which pictures were searched, by tags and dates; nothing where these took none out."""
    first, last = row["taken_from"], row["taken_to"]
    tagged = " or ".join(map(str, row["searched_tags"] or ()))
    return "; ".join(
        [
            *([f"tagged {tagged}"] if tagged else []),
            *([taken_out.taken_text(first, last)] if first or last else []),
        ]
    )


def _ruled_out(row: Row) -> str:
    sha256s = ", ".join(map(str, row["ruled_out"] or ()))
    return f"what is nearer to {sha256s} than to every query" if sha256s else ""


def _share(row: Row, kind: str) -> Share | None:
    count, pairs = row[f"{kind}_as_close"], row[f"{kind}_pairs"]
    interval = row[f"{kind}_interval"]
    if count is None or pairs is None or not interval:
        return None
    low, high = interval
    return Share(count, pairs, low, high)
