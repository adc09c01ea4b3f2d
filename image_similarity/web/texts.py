"""The texts of the page: one file, `texts.json`, for templates and scripts alike."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).parent / "texts.json"


@functools.cache
def texts() -> Mapping[str, str]:
    """All texts by their names: "library.title"."""
    found: dict[str, str] = json.loads(FILE.read_text("utf-8"))
    return found


def text(name: str, **values: object) -> str:
    """A text with its `{values}` filled in.

    Raises:
        KeyError: There is no such text, or it wants a value that was not given.
    """
    return texts()[name].format(**values)
