"""Asking the case: what the page's questions become, so that pictures of the case and sent ones may stand together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    sent = {each: desk.uploads.get(each) for each in (*question.uploads, *question.uploads_against)}
    uploads = [sent[each].path for each in question.uploads]
    against = [sent[each].path for each in question.uploads_against]
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
    else:
        result = search_cases([desk.case], _of_one(request, uploads, stored), shared=desk.shared)
    named = [sha256 for _, sha256 in result.fusion.queries] if result.fusion else [result.sha256]
    if not {*question.stored, *question.uploads}.issuperset(named):
        raise Refused(409, "changed", "the query's file changed while it was searched with")
    return _as_sent(result, {str(each.path): each.name or key for key, each in sent.items()})


def _as_sent(result: SearchResult, names: Mapping[str, str]) -> SearchResult:
    """The result with the names that pictures were sent under, in place of where they lie while the page is up."""
    fusion, query = result.fusion, result.query
    for path, name in names.items():
        query = query.replace(path, name)
    if fusion is not None:
        queries, against = (
            tuple((names.get(label, label), sha256) for label, sha256 in those)
            for those in (fusion.queries, fusion.against)
        )
        fusion = replace(fusion, queries=queries, against=against)
    return replace(result, query=query, fusion=fusion)


def _of_one(request: SearchRequest, paths: Sequence[Path], stored: Sequence[str]) -> SearchRequest:
    return replace(request, query=paths[0]) if paths else replace(request, sha256=stored[0])


def _region(question: Question) -> Region | None:
    if question.crop is None and not question.hidden:
        return None
    crop = None if question.crop is None else read_box(question.crop)
    return Region(crop, tuple(map(read_box, question.hidden)))
