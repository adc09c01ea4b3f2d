"""Turns: what one thread does at a time, while few others wait for it."""

from __future__ import annotations

import threading

from image_similarity.web.problems import Refused

# Of the forty threads that answer: the others are left for pictures and decisions.
MOST_WAITING = 16


class Turn:
    """A lock that some may wait for; whoever comes beyond them is told to come back, and keeps no thread.

    Raises:
        Refused: On entering, where too many wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._counting:
            if self._inside > MOST_WAITING:
                raise Refused(503, "busy", "many searches wait", "try again in a moment")
            self._inside += 1
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
        with self._counting:
            self._inside -= 1
