"""What is said of hash lists, decisions and dates in an answer: what they took out, and which hits they mark."""

from __future__ import annotations

from collections.abc import Iterator

from image_similarity.reports.text import count
from image_similarity.values import Decision, Hit, ImageRecord, KnownHash, SearchResult

ALGORITHMS = {"sha256": "SHA-256", "sha1": "SHA-1", "md5": "MD5"}


def lines(result: SearchResult) -> list[str]:
    """Return what a reader must know of the pictures that did not take part; nothing if all did."""
    return [*_lines(result)]


def _lines(result: SearchResult) -> Iterator[str]:
    found = result.excluded
    of_lists = f"hash list{'' if len(found.lists) == 1 else 's'} {', '.join(found.lists)}"
    if found.query_known:
        yield f"the query itself is in a hash list: {'; '.join(map(known_text, found.query_known))}"
    if found.tags:
        yield f"searched: only pictures tagged {' or '.join(found.tags)}"
    if found.taken_from or found.taken_to:
        yield f"searched: only pictures {taken_text(found.taken_from, found.taken_to)}"
        if found.hidden_undated:
            yield f"{count(found.hidden_undated, 'picture')} without a date, hidden"
    if found.known == "only":
        yield f"searched: only known pictures ({of_lists})"
    if found.known == "hide":
        lists = of_lists if found.lists else "there is no hash list"
        yield f"{count(found.hidden_known, 'picture')}, known, hidden ({lists}; --known mark shows them)"
    if found.hidden_irrelevant:
        yield (
            f"{count(found.hidden_irrelevant, 'picture')}, judged irrelevant for this query, hidden "
            "(review list shows them, --include-irrelevant brings them back)"
        )


def taken_text(first: str | None, last: str | None) -> str:
    """Return a range of dates: "taken from 2024-03 to 2024-05 (EXIF)"."""
    return f"taken{f' from {first}' if first else ''}{f' to {last}' if last else ''} (EXIF)"


def known_text(known: KnownHash) -> str:
    """Return a list that holds a picture, by which hash, and its category there: "NSRL by SHA-1, category 2"."""
    category = f", category {known.category}" if known.category else ""
    return f"{known.list} by {ALGORITHMS.get(known.algorithm, known.algorithm)}{category}"


def hit_marks(hit: Hit) -> list[str]:
    """Return what a table says of a hit: the verdict, the lists that hold it, the examiner's category and tags."""
    return [
        *([hit.verdict] if hit.verdict else []),
        *(f"known:{each.list}" for each in hit.known),
        *([f"category:{hit.category}"] if hit.category else []),
        *(f"tag:{each}" for each in hit.tags),
    ]


def details(image: ImageRecord) -> list[tuple[str, str]]:
    """Return all that lists and examiners say of a picture, as names and values."""
    return [
        *(("known", known_text(each)) for each in image.known),
        *((each.kind, f"{each.value}  ({said_text(each)})") for each in image.decisions),
    ]


def said_text(decision: Decision) -> str:
    """Return who decided it, and when: "m7, examiner@desk, 2026-11-21T12:00:00Z"."""
    return f"{decision.name}, {decision.actor}, {decision.at}"
