"""Asking the case: what the page's questions become, so that pictures of the case and sent ones may stand together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from image_similarity.case import search_cases, search_cases_fused
from image_similarity.pictures.region import Region, read_box
from image_similarity.search import SearchRequest
from image_similarity.values import SearchResult
from image_similarity.web.desk import Desk
from image_similarity.web.problems import Refused


@dataclass(frozen=True, slots=True)
class Question:
    """Query pictures by their SHA-256, those of the case and those that were sent; and how to answer.

    `crop` and `hidden` are boxes as texts, of the one query. `settings` are those of a `SearchRequest`.
    """

    stored: Sequence[str] = ()
    uploads: Sequence[str] = ()
    stored_against: Sequence[str] = ()
    uploads_against: Sequence[str] = ()
    crop: str | None = None
    hidden: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def ask(desk: Desk, question: Question) -> SearchResult:
    """Answer a question; only the ranking itself waits for others.

    Raises:
        Refused: A picture that was sent is not kept any more, or a file changed while it was searched with.
        And whatever `search` raises.
    """
    region = _region(question)
    uploads = [desk.uploads.get(each).path for each in question.uploads]
    against = [desk.uploads.get(each).path for each in question.uploads_against]
    stored = list(question.stored)
    if region is not None and stored:
        # What is stored is the vector of the whole picture; a part of it is read from its file.
        uploads, stored = [desk.case.file_of(stored[0])], []
    request = SearchRequest(**question.settings, region=region, with_scene_counts=True)
    if len(uploads) + len(stored) > 1 or against or question.stored_against:
        result, _ = search_cases_fused(
            [desk.case],
            uploads,
            request,
            against=against,
            stored=stored,
            stored_against=question.stored_against,
            shared=desk.shared,
        )
        return result
    result = search_cases([desk.case], _of_one(request, uploads, stored), shared=desk.shared)
    if result.sha256 not in (*question.stored, *question.uploads):
        raise Refused(409, "changed", "the query's file changed while it was searched with")
    return result


def _of_one(request: SearchRequest, paths: Sequence[Path], stored: Sequence[str]) -> SearchRequest:
    from dataclasses import replace

    return replace(request, query=paths[0]) if paths else replace(request, sha256=stored[0])


def _region(question: Question) -> Region | None:
    if question.crop is None and not question.hidden:
        return None
    crop = None if question.crop is None else read_box(question.crop)
    return Region(crop, tuple(map(read_box, question.hidden)))
