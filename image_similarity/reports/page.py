"""Parts of the pages that reports write: their templates, styles and scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from image_similarity.reports.text import visible


def part(name: str) -> str:
    """Give the text of a style or script."""
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")


def template(name: str, **filters: Callable[[Any], object]) -> Any:
    """Give a template that escapes what it is given; `visible` shows what does not print, `filters` are its others."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("image_similarity.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = lambda value: visible(str(value))
    environment.filters.update(filters)
    return environment.get_template(name)
