"""A contact sheet as PNG or PDF: drawn page by page, with one small picture in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from image_similarity import __version__
from image_similarity.reports import pdf, target, tiles
from image_similarity.reports.lettering import font
from image_similarity.reports.sheet_layout import MARGIN, Form, Frame, Ink, Page
from image_similarity.reports.text import visible
from image_similarity.reports.tiles import Tile

# Stands in the first bytes of each file, so that one may replace another, and nothing else.
MARK = "image_similarity sheet of neighbours"

_PAPER, _BED, _RULE = (255, 255, 255), (243, 243, 243), (200, 200, 200)
_INKS: dict[Ink, tuple[int, int, int]] = {
    "ink": (24, 24, 24),
    "quiet": (96, 96, 96),
    "query": (0, 84, 166),
    "identical": (176, 32, 0),
}
# How far the border of a marked picture stands out.
_BORDER = 3

# Gives the small picture of a frame; see `Frame.picture`.
TileOf = Callable[[int], Tile]


def draw(page: Page, form: Form, tile_of: TileOf) -> Image.Image:
    """Return a page as an RGB image; each tile is asked for when it is drawn, and not kept."""
    paper = Image.new("RGB", (page.width, page.height), _PAPER)
    pen = ImageDraw.Draw(paper)
    for top in page.rules:
        pen.line([(MARGIN, top), (page.width - MARGIN, top)], fill=_RULE)
    for frame in page.frames:
        _place(paper, pen, frame, tiles.image(tile_of(frame.picture), frame.side, form.look))
    for line in page.lines:
        pen.text((line.left, line.top), line.drawn, fill=_INKS[line.ink], font=font(line.size))
    return paper


def write_png(path: Path, page: Page, image: Image.Image) -> None:
    """Write a page as PNG, readable by its owner only, whole or not at all; its text stands in the file in full.

    Raises:
        OSError: It cannot be written; the error names the file.
    """
    info = PngInfo()
    info.add_text("Software", f"{MARK}, version {__version__}")
    info.add_itxt("Description", page.text)
    with target.writing_bytes(path) as file:
        image.save(file, "PNG", pnginfo=info)


def write_pdf(path: Path, pages: Iterable[tuple[Page, Image.Image]]) -> None:
    """Write pages as PDF, each when it comes, readable by its owner only; there whole or not at all.

    Raises:
        OSError: It cannot be written; the error names the file.
    """
    with target.writing_bytes(path) as file:
        document = pdf.Document(file, f"{MARK}, version {__version__}")
        for page, image in pages:
            said = [(each.left, each.top, each.size, visible(each.full)) for each in page.lines]
            document.add(image, said)
        document.close()


def _place(paper: Image.Image, pen: ImageDraw.ImageDraw, frame: Frame, image: Image.Image) -> None:
    """Put a picture into the middle of its frame."""
    right, bottom = frame.left + frame.side - 1, frame.top + frame.side - 1
    pen.rectangle([frame.left, frame.top, right, bottom], fill=_BED)
    left = frame.left + (frame.side - image.width) // 2
    top = frame.top + (frame.side - image.height) // 2
    paper.paste(image, (left, top))
    if frame.ink != "quiet":
        pen.rectangle(
            [frame.left - _BORDER, frame.top - _BORDER, right + _BORDER, bottom + _BORDER],
            outline=_INKS[frame.ink],
            width=_BORDER,
        )
