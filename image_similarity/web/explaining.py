"""Why two pictures are alike: found on demand, for one who asks at a time, and given up where nobody waits any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from image_similarity.case import Case, sharing
from image_similarity.errors import UnknownImage
from image_similarity.events import Event
from image_similarity.values import Explanation
from image_similarity.web.problems import Refused

# A heat map takes some seconds; whoever has waited so long had better ask again.
_SECONDS_WAITING = 60
# Of the forty threads that answer; the others are left for all else.
_MOST_WAITING = 8
# Between two looks whether somebody still waits for the answer.
_SECONDS_LOOKED = 0.5


class Explaining:
    """Explanations of a case, one at a time: each takes a processor and the memory of a network."""

    def __init__(self, case: Case, searching: AbstractContextManager[object]) -> None:
        self._case = case
        self._shared = sharing(searching)
        self._turn = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)

    def explain(
        self,
        query: str | Path,
        hit: str,
        *,
        method: str,
        model: str | None,
        given_up: Callable[[], bool],
    ) -> Explanation:
        """Say why two pictures came out as similar; `given_up` is asked between the steps.

        Raises:
            Refused: Another is not done yet, or nobody waits for this one any more.
            Whatever `Case.explain` raises.
        """

        def check(event: Event | None = None) -> None:
            if given_up():
                raise Refused(409, "given_up", "nobody waits for this any more")

        self._wait(check)
        try:
            # A file of that name in the current folder would be taken for the picture that is meant.
            for each in (query, hit):
                if isinstance(each, str) and Path(each).exists():
                    raise UnknownImage(f"a file is called {each} here")
            return self._case.explain(
                query, hit, method=method, model=model, shared=self._shared, on_event=check
            )
        finally:
            self._turn.release()

    def _wait(self, check: Callable[[], None]) -> None:
        if self._waiting.acquire(blocking=False):
            try:
                for _ in range(int(_SECONDS_WAITING / _SECONDS_LOOKED)):
                    if self._turn.acquire(timeout=_SECONDS_LOOKED):
                        return
                    check()
            finally:
                self._waiting.release()
        raise Refused(503, "busy", "another explanation is being made", "try again in a moment")
