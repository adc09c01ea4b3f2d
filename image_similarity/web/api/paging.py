"""Pages of a list that is at hand: a cursor names the last item of the page before, not how many there were.

So nothing is passed over where the list grew or shrank in between: either the item still stands, and the page goes on
behind it, or the cursor is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from image_similarity.web.problems import Refused

Item = TypeVar("Item")


def cut(
    items: Sequence[Item], name: Callable[[Item], str], cursor: str, limit: int
) -> tuple[Sequence[Item], str | None]:
    """Give a page of a list and the cursor of the next one; names are those of the items in this list, each once.

    Raises:
        Refused: The cursor names no item.
    """
    start = 0
    if cursor:
        start = 1 + next((at for at, item in enumerate(items) if _of(name(item)) == cursor), -1)
        if not start:
            raise Refused(
                422, "bad_cursor", "the list has no such place", "it may have changed: begin anew"
            )
    page = items[start : start + limit]
    is_last = start + limit >= len(items)
    return page, None if is_last else _of(name(page[-1]))


def _of(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
