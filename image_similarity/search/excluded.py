"""What hash lists, decisions and dates take out of a search, before anything is ranked or counted.

Such pictures do not exist for the search: they are no hits, and the scene filter does not count them as hidden. What a
database's hash lists and tags say holds for its own pictures; a verdict holds for the content in every database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from image_similarity.search.query import Query
from image_similarity.search.request import SearchRequest
from image_similarity.search.shelf import Mask, Shelf
from image_similarity.store import gallery, hash_lists, marks
from image_similarity.values import Digests, Excluded, HashList, KnownHash

if TYPE_CHECKING:
    from sqlalchemy import Connection

# The contents that were judged for a query, by SHA-256: "relevant" or "irrelevant".
Verdicts = Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Left:
    """What is left of one database for one query: the rows that exist (N,), and what was taken out."""

    counting: Mask
    excluded: Excluded


def verdicts(
    connections: Sequence[Connection], queries: Sequence[Query], *, as_one: bool = False
) -> list[Verdicts]:
    """What was said of each query and stored contents in any database; where two disagree, "irrelevant" holds.

    With `as_one` all queries have what was said of any.
    """
    found: list[Verdicts] = []
    said: dict[str, str] = {}
    for query in queries:
        said = said if as_one else {}
        for connection in connections:
            for sha256, verdict in marks.verdicts(connection, query.sha256).items():
                if said.get(sha256) != "irrelevant":
                    said[sha256] = verdict
        found.append(said)
    return found


def left(
    connection: Connection,
    shelf: Shelf,
    request: SearchRequest,
    counting: Mask,
    queries: Sequence[Query],
    said: Sequence[Verdicts],
) -> list[Left]:
    """Take out of the rows that count what a request does not want; what stays is the same mask if nothing goes.

    Args:
        connection: Open.
        shelf: Opened for it.
        request: What all queries have in common.
        counting: Which rows (N,) have a place that counts.
        queries: The queries.
        said: What `verdicts` gave for each.
    """
    lists = hash_lists.lists(connection)
    if request.tags:
        tagged = connection.execute(marks.tagged(request.tags)).scalars().all()
        counting = counting & shelf.rows_with(tagged)
    undated = 0
    if request.taken_from is not None or request.taken_to is not None:
        taken = shelf.taken(connection, request.taken_from, request.taken_to)
        undated = int(np.count_nonzero(counting & taken.undated))
        counting = counting & taken.within
    hidden_known = 0
    if request.known != "mark" and (lists or request.known == "only"):
        known = shelf.known(connection, lists)
        kept = counting & (known if request.known == "only" else ~known)
        hidden_known = int(np.count_nonzero(counting & known)) if request.known == "hide" else 0
        counting = kept
    own = query_known(connection, queries) if lists else {}
    found = []
    for number, judged in enumerate(said):
        those, hidden = counting, 0
        judged_out = irrelevant(judged)
        if judged_out and not request.include_irrelevant:
            out = shelf.rows_with([*gallery.ids_of(connection, judged_out).values()]) & counting
            those, hidden = counting & ~out, int(np.count_nonzero(out))
        excluded = account(
            request,
            lists,
            hidden_known=hidden_known,
            hidden_irrelevant=hidden,
            hidden_undated=undated,
            query_known=own.get(number, ()),
        )
        found.append(Left(those, excluded))
    return found


def irrelevant(judged: Verdicts) -> list[str]:
    """The contents that were judged irrelevant."""
    return [sha256 for sha256, verdict in judged.items() if verdict == "irrelevant"]


def account(
    request: SearchRequest,
    lists: Sequence[HashList],
    *,
    hidden_known: int,
    hidden_irrelevant: int,
    hidden_undated: int,
    query_known: tuple[KnownHash, ...],
) -> Excluded:
    """What a request took out of one database, whose hash lists these are, in its own words and in numbers."""
    return Excluded(
        known=request.known,
        lists=tuple(each.name for each in lists),
        hidden_known=hidden_known,
        hidden_irrelevant=hidden_irrelevant,
        query_known=query_known,
        tags=request.tags,
        taken_from=request.taken_from,
        taken_to=request.taken_to,
        hidden_undated=hidden_undated,
    )


def of_all(found: Sequence[Excluded]) -> Excluded:
    """What was taken out for several queries that were answered as one; it differs in what holds the queries."""
    known = tuple(dict.fromkeys(each for one in found for each in one.query_known))
    return replace(found[0], query_known=known)


def together(found: Sequence[Excluded]) -> Excluded:
    """What was taken out of several databases for one query."""
    first = found[0]
    if len(found) == 1:
        return first
    return replace(
        first,
        lists=tuple(dict.fromkeys(name for each in found for name in each.lists)),
        hidden_known=sum(each.hidden_known for each in found),
        hidden_irrelevant=sum(each.hidden_irrelevant for each in found),
        hidden_undated=sum(each.hidden_undated for each in found),
        query_known=tuple(dict.fromkeys(known for each in found for known in each.query_known)),
    )


def query_known(
    connection: Connection, queries: Sequence[Query]
) -> dict[int, tuple[KnownHash, ...]]:
    """The lists that hold the queries themselves, by their numbers."""
    return hash_lists.known(
        connection,
        {
            number: query.digests or Digests(query.sha256, "", "")
            for number, query in enumerate(queries)
        },
    )
