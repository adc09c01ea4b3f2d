"""A contact sheet: one HTML file that holds everything it shows, and needs no script and no network."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from image_similarity import __version__
from image_similarity.errors import UsageError
from image_similarity.reports import meaning
from image_similarity.reports.text import visible
from image_similarity.values import Hit, SearchResult

PREVIEW_SIDE = 160

# A file may be replaced only if it says at its beginning that it is one of these.
_GENERATOR = "image_similarity contact sheet"
_BEGINNING = 1024

# Gives a small JPEG of a query or a hit, as long as its file still is the content that was compared, else None.
Preview = Callable[[SearchResult | Hit], bytes | None]


@dataclass(frozen=True, slots=True)
class _Section:
    """A query with its hits, made ready for the template."""

    result: SearchResult
    preview: str | None
    hits: Sequence[tuple[Hit, str | None]]


def refuse_existing(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that exists, unless it is an earlier contact sheet that may be replaced.

    Raises:
        UsageError.
    """
    if not os.path.lexists(target):
        if not os.access(target.absolute().parent, os.W_OK):
            raise UsageError(f"The folder of {target} does not exist or cannot be written to")
        return
    if not overwrite:
        raise UsageError(
            f"{target} exists already", hint="Choose another name; --force replaces a report."
        )
    if not _is_contact_sheet(target):
        raise UsageError(f"{target} is not a contact sheet of this program and is not replaced")


def write(
    results: Sequence[SearchResult],
    target: Path,
    *,
    settings: Mapping[str, str],
    preview: Preview,
    overwrite: bool = False,
) -> None:
    """Write the contact sheet of some results, readable by its owner only; it is there whole or not at all.

    Args:
        results: The queries with their hits, in the order of the sheet.
        target: The file.
        settings: What was asked for, shown as it is.
        preview: Gives the small pictures.
        overwrite: Replace an earlier contact sheet.

    Raises:
        UsageError: The target exists and may not be replaced.
    """
    refuse_existing(target, overwrite=overwrite)
    pieces = _template().generate(
        sections=_sections(results, preview),
        settings=settings,
        legend=meaning.legend(results[0]) if results else [],
        generator=_GENERATOR,
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        style=_style(),
        style_hash=base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode(),
    )
    # mkstemp gives 0600; a report shows what its reader's colleagues need not see.
    handle, name = tempfile.mkstemp(dir=target.absolute().parent, prefix=".", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _sections(results: Sequence[SearchResult], preview: Preview) -> Iterator[_Section]:
    """One at a time: the small pictures of a large sheet need not be in memory together."""
    for result in results:
        hits = [(hit, _data_uri(preview(hit))) for hit in result.hits]
        same = (image for hit, image in hits if hit.image.sha256 == result.sha256)
        yield _Section(result, _data_uri(preview(result)) or next(same, None), hits)


def _data_uri(jpeg: bytes | None) -> str | None:
    return (
        None if jpeg is None else "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    )


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("image_similarity.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = lambda value: visible(str(value))
    environment.filters["how"] = meaning.search_text
    environment.filters["nearer"] = meaning.nearer_text
    environment.filters["as_close"] = meaning.as_close_text
    environment.filters["ratio"] = meaning.ratio_text
    return environment.get_template("contact_sheet.html")


def _style() -> str:
    return (Path(__file__).parent / "templates" / "contact_sheet.css").read_text("utf-8")


def _is_contact_sheet(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return _GENERATOR.encode() in file.read(_BEGINNING)
