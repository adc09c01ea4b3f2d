"""A report as one HTML file that holds everything it shows, and needs no script and no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TextIO

from image_similarity import __version__
from image_similarity.reports import page
from image_similarity.reports.about import CAUTION, About, Pair, parts
from image_similarity.reports.rows import Row, notes, utc
from image_similarity.reports.searches import Entry, Search, signals, strength_text
from image_similarity.values import ImageRecord

PREVIEW_SIDE = 160

# By this a file is known as a report; see `target`.
MARK = "image_similarity contact sheet"

# Gives a small JPEG of a query or of a picture, as long as its file still is the content that was compared, else None.
Preview = Callable[[Search | ImageRecord], bytes | None]


@dataclass(frozen=True, slots=True)
class _Card:
    """A picture made ready for the template; `signals`, `marks`, `lines` and `details` are what is said of it."""

    number: int
    name: str
    image: ImageRecord
    preview: str | None
    signals: str
    marks: Sequence[str]
    lines: Sequence[str]
    details: Sequence[Pair]
    database: str


@dataclass(frozen=True, slots=True)
class _Section:
    """A query with its hits, or the pictures of a selection."""

    search: Search | None
    preview: str | None
    cards: Iterable[_Card]


def write(
    stream: TextIO,
    entries: Iterable[Entry],
    about: About,
    searches: Sequence[Search],
    *,
    preview: Preview,
) -> None:
    """Write the report; of searches one section each, to which the entries belong in the order of their rows.

    Args:
        stream: Where to.
        entries: The pictures; where there are searches each is one hit.
        about: What the report says beside them.
        searches: The searches, or none.
        preview: Gives the small pictures.
    """
    style = page.part("report.css")
    pieces = page.template("report.html", utc=utc).generate(
        about=about,
        parts=parts(about),
        caution=CAUTION,
        sections=_sections(iter(entries), searches, preview),
        generator=MARK,
        version=__version__,
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
    stream.writelines(pieces)


def _sections(
    entries: Iterator[Entry], searches: Sequence[Search], preview: Preview
) -> Iterator[_Section]:
    """One at a time: the small pictures of a large report need not be in memory together."""
    if not searches:
        yield _Section(None, None, _cards(entries, preview))
    for search in searches:
        cards = list(_cards(islice(entries, len(search.rows)), preview))
        same = (card.preview for card in cards if card.image.sha256 == search.sha256)
        yield _Section(search, _data_uri(preview(search)) or next(same, None), cards)


def _cards(entries: Iterable[Entry], preview: Preview) -> Iterator[_Card]:
    for number, entry in enumerate(entries, start=1):
        hit, image = next(iter(entry.hits), None), entry.image
        yield _Card(
            number,
            str(number) if hit is None else str(hit["rank"] or "near duplicate"),
            image,
            _data_uri(preview(image)),
            signals(hit) if hit else "",
            _marks(image, hit),
            strength_text(hit) if hit else [],
            _details(image),
            entry.database,
        )


def _marks(image: ImageRecord, hit: Row | None) -> list[str]:
    """What is special about a picture, one short text each; a further mark is one line here."""
    return [
        *(["identical"] if hit and hit["identical"] else []),
        *(["decoded in part"] if image.partial else []),
        *(f"{each.name} {each.probability:.2f}" for each in image.scenes[:1]),
        *([f"category {image.category}"] if image.category else []),
        *image.tags,
        *(f"known: {each.list}" for each in image.known),
    ]


def _details(image: ImageRecord) -> list[Pair]:
    """What is known of a content beside its marks; a further detail is one line here."""
    return [
        *(("Note", note) for note in notes(image)),
        ("Picture", f"{image.width} x {image.height}, {image.format}, {image.size} bytes"),
        *((name.replace("_", " "), str(value)) for name, value in sorted(image.exif.items())),
        ("SHA-256", image.sha256),
        *((("SHA-1", image.sha1),) if image.sha1 else ()),
        *((("MD5", image.md5),) if image.md5 else ()),
    ]


def _data_uri(jpeg: bytes | None) -> str | None:
    return (
        None if jpeg is None else "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    )
