"""Parts of the pages that reports write: their templates, styles and scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from image_similarity.reports.text import visible


def part(name: str) -> str:
    """Give the text of a style or script."""
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")


def environment(package: str) -> Any:
    """Give what makes pages of the templates of a package: it escapes what it is given, and wants all that is named."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def template(name: str, **filters: Callable[[Any], object]) -> Any:
    """Give a template of a report; `visible` shows what does not print, `filters` are its others."""
    made = environment("image_similarity.reports")
    made.filters["visible"] = lambda value: visible(str(value))
    made.filters.update(filters)
    return made.get_template(name)
