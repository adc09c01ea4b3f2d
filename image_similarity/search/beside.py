"""What is said of a query's pictures beside the model's distance: near duplicates, and what a geometric check says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from image_similarity.events import Listener
from image_similarity.search.request import SearchRequest
from image_similarity.store.catalog import Catalog
from image_similarity.values import SearchResult

if TYPE_CHECKING:
    from image_similarity.search.near import NearFinder


class Beside:
    """Adds to results what a request asks for beside their ranking; most ask for nothing."""

    def __init__(
        self, catalogs: Sequence[Catalog], request: SearchRequest, on_event: Listener
    ) -> None:
        self._catalogs, self._request, self._on_event = catalogs, request, on_event
        self._near: NearFinder | None = None

    @property
    def ranked(self) -> SearchRequest:
        """What the ranking must be asked: as many hits as are to be ordered anew."""
        request = self._request
        return (
            replace(request, k=max(request.k, request.candidates))
            if request.by_inliers
            else request
        )

    def add(self, result: SearchResult, path: Path | None) -> SearchResult:
        """Give the result with all that is asked for; `path` is the query's, if it was given as a file.

        Raises:
            ExtraMissing, ImageUnreadable, InvalidSetting: See `near` and `geometry`.
        """
        request = self._request
        if request.verify:
            from image_similarity.search import geometry

            result = geometry.check(self._catalogs, request, result, path, on_event=self._on_event)
        if request.near:
            if self._near is None:
                from image_similarity.search.near import NearFinder

                self._near = NearFinder(self._catalogs, request)
            result = self._near.add(result, path)
        return result
