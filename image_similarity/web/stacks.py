"""Stacks: which pictures are copies of each other, kept in memory until what was indexed changes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from image_similarity.case import Case
from image_similarity.events import Event, Listener, ignore
from image_similarity.values import Duplicates
from image_similarity.web.jobs import Stop, Stopped

# Every pair is compared: so many hashes, in each orientation, take about a second.
_PAIRS_AT_ONCE = 2 * 10**8
_ORIENTATIONS = 8

State = tuple[tuple[int, str, int], ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A content in a stack: its distance to the first in bits of PDQ, and how it is turned to it."""

    sha256: str
    distance: int | None
    orientation: str


@dataclass(frozen=True, slots=True)
class KeptStack:
    """A stack without what is on record of its pictures, which may change while it is kept."""

    kind: str
    spread: int
    sources: frozenset[str]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The stacks of one state of the case, and among how many pictures; see `values.Duplicates`."""

    state: State
    stacks: tuple[KeptStack, ...]
    pictures: int
    hashed: int
    poor: int
    limit: int


class Stacks:
    """What was found, by what was asked: identical files, near duplicates, these also turned."""

    def __init__(self) -> None:
        self._found: dict[tuple[bool, bool], Found] = {}
        self._searching = threading.Lock()

    def get(self, case: Case, *, near: bool, turned: bool) -> tuple[Found | None, bool]:
        """Give the stacks and whether they are of the case as it is now; what takes long only if a job found it."""
        with self._searching:
            known, state = self._found.get((near, turned)), _state(case)
            if known is None or known.state != state:
                if near and not self._is_quick(case, turned=turned):
                    return known, False
                known = self._search(case, ignore, near=near, turned=turned)
            return known, True

    def work(
        self, case: Case, asked: Mapping[str, Any], on_event: Listener, stop: Stop
    ) -> Mapping[str, Any]:
        """The job: look for near duplicates, however long it takes."""

        def tell(event: Event) -> None:
            on_event(event)
            if stop():
                raise Stopped

        found = self._search(case, tell, near=True, turned=asked["turned"])
        return {"stacks": len(found.stacks)}

    def _is_quick(self, case: Case, *, turned: bool) -> bool:
        plain = self._found.get((False, False))
        if plain is None or plain.state != _state(case):
            plain = self._search(case, ignore, near=False, turned=False)
        pairs = (plain.hashed - plain.poor) ** 2 // 2 * (_ORIENTATIONS if turned else 1)
        return pairs <= _PAIRS_AT_ONCE

    def _search(self, case: Case, on_event: Listener, *, near: bool, turned: bool) -> Found:
        # Before the search: what changes meanwhile makes the result one of an earlier state.
        state = _state(case)
        found = _kept(case.duplicates(near=near, turned=turned, on_event=on_event), state)
        self._found[near, turned] = found
        return found


def _state(case: Case) -> State:
    """What changes whenever files are taken in or go: how far each run has come."""
    return tuple((run.run_id, run.status, run.seen) for run in case.runs())


def _kept(found: Duplicates, state: State) -> Found:
    stacks = tuple(
        KeptStack(
            kind=stack.kind,
            spread=stack.spread,
            sources=frozenset(
                place.source
                for member in stack.members
                for place in member.image.places
                if place.gone_since is None
            ),
            members=tuple(
                Member(each.image.sha256, each.distance, each.orientation) for each in stack.members
            ),
        )
        for stack in found.stacks
    )
    return Found(state, stacks, found.pictures, found.hashed, found.poor, found.limit)
