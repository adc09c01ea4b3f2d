"""How a case is looked through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_similarity.case.base import OpenedCase

if TYPE_CHECKING:
    from image_similarity.values import Choice, Facets, Listing, Order


class Browsing(OpenedCase):
    """Everything that a case holds, page by page, and how many there are of what."""

    def browse(
        self,
        choice: Choice | None = None,
        *,
        order: Order = "path",
        after: str | None = None,
        limit: int = 100,
    ) -> Listing:
        """A page of the contents that meet a choice; pages go on where they stopped while a run adds pictures.

        What this needs of every content is kept in memory, some 50 bytes each, until the database changes.

        Args:
            choice: Which contents; all that still lie somewhere by default.
            order: "path": by source and path of the place that is shown; "taken": by when the camera says, undated ones
                last; "added": the newest in the database first.
            after: `following` of the page before, with the same order.
            limit: How many contents at most.

        Raises:
            UnknownSource, UnknownScene: The database knows no such name.
            InvalidSetting: A date, an order or a cursor is none.
        """
        from image_similarity.store import browse
        from image_similarity.values import Choice

        return browse.page(self._catalog, choice or Choice(), order, after, limit)

    def facets(self, choice: Choice | None = None) -> Facets:
        """How many contents that meet a choice have which scene, source, tag, hash list, category and date.

        Raises:
            UnknownSource, UnknownScene, InvalidSetting: As in `browse`.
        """
        from image_similarity.store import browse
        from image_similarity.values import Choice

        return browse.facets(self._catalog, choice or Choice())
