"""Where everything stands on the pages of a contact sheet: the query, its hits, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from image_similarity import __version__
from image_similarity.errors import InvalidSetting
from image_similarity.reports.about import CAUTION, About
from image_similarity.reports.lettering import fitting, font, leading, wrapped
from image_similarity.reports.rows import Row
from image_similarity.reports.searches import Search
from image_similarity.reports.text import visible
from image_similarity.reports.tiles import Look
from image_similarity.values import CaseFacts

MARGIN, GAP = 36, 18
TITLE, TEXT, SMALL = 22, 15, 13
# Below a tile: rank and distance, scene, path, hash.
_CELL_LINES = 4
# Narrower columns hold neither a distance beside its rank nor the digits of a hash.
_NARROWEST = 120
# So many pixels beside the query hold its SHA-256 on one line: a hash that is shortened proves nothing.
_BESIDE = 660
# The sides of a sheet of A4.
_A4 = 297 / 210
# Some programs open no taller picture.
_TALLEST = 20_000
# 3 bytes each: 300 MB while a page is drawn.
_MOST_PIXELS = 100_000_000
_DIGITS = 12
TILES, COLUMNS = (48, 512), (1, 20)

Ink = Literal["ink", "quiet", "query", "identical"]

_LOOKS = {
    "blur": "Pictures are blurred on purpose.",
    "grey": "Pictures are shown without colours on purpose.",
    "reveal": "",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in pixels of its page; `full` is all that it stands for, where `drawn` is shortened."""

    left: int
    top: int
    size: int
    drawn: str
    full: str
    ink: Ink = "ink"


@dataclass(frozen=True, slots=True)
class Frame:
    """The square that a picture stands in: 0 is the query, 1 and more the hits in the order of their ranks."""

    left: int
    top: int
    side: int
    picture: int
    ink: Ink = "quiet"


@dataclass(frozen=True, slots=True)
class Page:
    """A page in pixels: its lines, its frames, and at which heights a rule is drawn."""

    width: int
    height: int
    lines: tuple[Line, ...]
    frames: tuple[Frame, ...]
    rules: tuple[int, ...]

    @property
    def text(self) -> str:
        """All that stands on the page, in the order of reading, nothing shortened."""
        return "\n".join(visible(line.full) for line in self.lines if line.full)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a sheet is of: a query with its hits, of how many queries it is which, and what is said beside them.

    `label` names the query, `scenes` are its own, `stored` whether the database holds it.
    """

    search: Search
    about: About
    label: str
    stored: bool
    number: int = 1
    of: int = 1


@dataclass(frozen=True, slots=True)
class Form:
    """How sheets are laid out: `columns` of tiles of `tile` pixels; `paged` breaks them into sheets of A4.

    Raises:
        InvalidSetting: Out of range.
    """

    columns: int = 5
    tile: int = 200
    look: Look = "blur"
    paged: bool = False

    def __post_init__(self) -> None:
        for name, value, (low, high) in (
            ("columns", self.columns, COLUMNS),
            ("tile", self.tile, TILES),
        ):
            if not low <= value <= high:
                raise InvalidSetting(f"--{name} {value}", hint=f"give {low} to {high}")

    @property
    def cell(self) -> int:
        """How wide a column is."""
        return max(self.tile, _NARROWEST)

    @property
    def width(self) -> int:
        """How wide a page is."""
        across = self.columns * self.cell + (self.columns - 1) * GAP
        return max(across, self.cell + GAP + _BESIDE) + 2 * MARGIN


def lay_out(sheet: Sheet, form: Form) -> list[Page]:
    """Return the pages of a sheet: one, or where it is paged as many as its hits need.

    Raises:
        InvalidSetting: One page would be too tall, or too large.
    """
    rows = sheet.search.rows
    small = _CELL_LINES - 1 + any(map(_marks, rows))
    row_height = form.tile + leading(font(TEXT)) + small * leading(font(SMALL)) + GAP
    pages: list[Page] = []
    waiting = list(enumerate(rows, start=1))
    while waiting or not pages:
        pen = _Pen(form.width)
        _head(pen, sheet, first=not pages)
        if not pages:
            _query(pen, sheet, form)
        foot = _foot(sheet, form)
        below = len(foot) * leading(font(SMALL)) + GAP + MARGIN
        tall = round(form.width * _A4) if form.paged else 0
        fits = max(1, (tall - pen.top - below) // row_height) if form.paged else len(rows)
        taken, waiting = waiting[: fits * form.columns], waiting[fits * form.columns :]
        _grid(pen, taken, form, row_height)
        if not rows:
            pen.write(["no picture found"], ink="quiet")
        height = max(tall, pen.top + below)
        if height > _TALLEST:
            raise InvalidSetting(
                f"{len(rows)} hits make a picture of {height:,} pixels; {_TALLEST:,} are the most",
                hint="give fewer hits (-k), more --columns, a smaller --tile, or write a PDF",
            )
        if form.width * height > _MOST_PIXELS:
            raise InvalidSetting(
                f"a page of {form.width:,} x {height:,} pixels; {_MOST_PIXELS:,} in all are the most",
                hint="give fewer --columns, or a smaller --tile",
            )
        pen.top = height - below
        pen.rule()
        pen.write(foot, size=SMALL, ink="quiet")
        pages.append(pen.page(height))
    return [_numbered(page, sheet, at, len(pages)) for at, page in enumerate(pages, start=1)]


class _Pen:
    """Writes lines one below the other."""

    def __init__(self, width: int) -> None:
        self.width, self.top = width, MARGIN
        self._lines: list[Line] = []
        self._frames: list[Frame] = []
        self._rules: list[int] = []

    def write(
        self, texts: Iterable[str], *, size: int = TEXT, ink: Ink = "ink", left: int = MARGIN
    ) -> None:
        """Write texts, each on as many lines as it needs."""
        face = font(size)
        for text in texts:
            for number, line in enumerate(wrapped([text], face, self.width - MARGIN - left)):
                # The first line stands for all of it: of a long word the others may be shortened.
                full = "" if number else text
                self._lines.append(Line(left, self.top, size, line, full, ink))
                self.top += leading(face)

    def at(self, line: Line) -> None:
        """Put a line where it says."""
        self._lines.append(line)

    def frame(self, frame: Frame) -> None:
        """Put a picture where its frame says."""
        self._frames.append(frame)

    def rule(self) -> None:
        """Draw a rule across the page."""
        self._rules.append(self.top)
        self.top += GAP

    def page(self, height: int) -> Page:
        """Return what was written."""
        return Page(self.width, height, tuple(self._lines), tuple(self._frames), tuple(self._rules))


def _head(pen: _Pen, sheet: Sheet, *, first: bool) -> None:
    pen.write(["Contact sheet" if first else "Contact sheet, continued"], size=TITLE)
    coverage = sheet.about.coverages[0]
    status = coverage.status
    pen.write(
        [
            _case(coverage.facts),
            f"Database: {status.path}; {status.images} contents at {status.files} places",
            *(f"{name}: {value}" for name, value in sheet.about.asked if first),
        ]
    )
    if not first:
        pen.write([f"Query: {sheet.label}, SHA-256 {sheet.search.sha256}"], ink="query")
    pen.top += GAP // 2
    pen.rule()


def _query(pen: _Pen, sheet: Sheet, form: Form) -> None:
    top, left = pen.top, MARGIN + form.cell + GAP
    pen.frame(Frame(MARGIN, top, form.tile, 0, "query"))
    pen.write(["Query"], size=TITLE, ink="query", left=left)
    said = [pair for pair in sheet.search.pairs if pair[0] != "SHA-256"]
    pen.write([sheet.label], left=left)
    pen.write(
        [
            f"SHA-256 {sheet.search.sha256}, {'already indexed' if sheet.stored else 'not indexed'}",
            *(f"{name}: {value}" for name, value in said),
        ],
        size=SMALL,
        left=left,
    )
    pen.top = max(pen.top, top + form.tile) + GAP
    pen.rule()


def _grid(pen: _Pen, hits: Sequence[tuple[int, Row]], form: Form, row_height: int) -> None:
    for at, (picture, row) in enumerate(hits):
        down, across = divmod(at, form.columns)
        left = MARGIN + across * (form.cell + GAP)
        top = pen.top + down * row_height
        pen.frame(
            Frame(left, top, form.tile, picture, "identical" if row["identical"] else "quiet")
        )
        _cell(pen, row, left, top + form.tile + 4, form.cell)
    pen.top += -(-len(hits) // form.columns) * row_height


def _cell(pen: _Pen, row: Row, left: int, top: int, width: int) -> None:
    """Rank and distance on one line, then what is known of the hit, each on a line of its own."""
    face = font(TEXT)
    rank, distance = str(row["rank"]), f"{row['distance']:.4f}"
    pen.at(Line(left, top, TEXT, rank, f"hit {rank}"))
    right = left + width - round(face.getlength(distance))
    pen.at(Line(right, top, TEXT, distance, f"distance {distance}"))
    face, top = font(SMALL), top + leading(face) - leading(font(SMALL))
    place = f"{row['source']}:{row['relative_path']}"
    said: list[tuple[str, str, Ink]] = [
        (_scene(row), _scene(row), "ink"),
        (place, f"{place} ({row['path']})", "ink"),
        (row["sha256"][:_DIGITS], f"SHA-256 {row['sha256']}", "quiet"),
    ]
    if marks := _marks(row):
        said.append((marks, marks, "identical"))
    for text, full, ink in said:
        top += leading(face)
        pen.at(Line(left, top, SMALL, fitting(text, face, width), full, ink))


def _scene(row: Row) -> str:
    if row["scene"] is None:
        return "-"
    return f"{row['scene']} ({row['scene_probability']:.2f})"


def _marks(row: Row) -> str:
    words = {"identical": row["identical"], "partial": row["partial"], "gone": row["gone"]}
    return ", ".join(
        [
            *(word for word, holds in words.items() if holds),
            *([f"judged {row['verdict']}"] if row["verdict"] else []),
        ]
    )


def _case(facts: CaseFacts) -> str:
    said = (("examiner", facts.examiner), ("exhibit", facts.exhibit))
    return "; ".join(
        [
            f"Case: {facts.number or 'number not stated'}",
            *(f"{name} {value}" for name, value in said if value),
        ]
    )


def _foot(sheet: Sheet, form: Form) -> list[str]:
    head = sheet.about.coverages[0].head
    chain = (
        "Audit head: no audit entries"
        if head is None
        else f"Audit head: entry {head.number} of {head.at}, SHA-256 {head.digest}"
    )
    texts = [
        f"{CAUTION} {_LOOKS[form.look]}".rstrip(),
        f"Written {sheet.about.written} by image_similarity {__version__}",
        chain,
    ]
    return list(wrapped(texts, font(SMALL), form.width - 2 * MARGIN))


def _numbered(page: Page, sheet: Sheet, at: int, pages: int) -> Page:
    """The page with its number in the upper right corner, where there are several."""
    said = [
        *([f"query {sheet.number} of {sheet.of}"] if sheet.of > 1 else []),
        *([f"page {at} of {pages}"] if pages > 1 else []),
    ]
    if not said:
        return page
    text, face = ", ".join(said), font(TEXT)
    left = page.width - MARGIN - round(face.getlength(text))
    lines = (*page.lines[:1], Line(left, MARGIN, TEXT, text, text, "quiet"), *page.lines[1:])
    return Page(page.width, page.height, lines, page.frames, page.rules)
