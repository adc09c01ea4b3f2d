"""The last answers to searches, so that their hits can be read page by page."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from image_similarity.values import SearchResult
from image_similarity.web.problems import Refused

# Each holds up to 1,000 hits with their records, some megabytes.
MOST_KEPT = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked and answered; `not_recorded` says why it is not in the audit chain of a numbered case."""

    id: str
    asked: Mapping[str, Any]
    result: SearchResult
    recorded: bool
    not_recorded: str


class Answers:
    """The last answers, for many threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Answer] = OrderedDict()

    def keep(self, answer: Answer) -> None:
        """Keep an answer; the one that was not read for longest goes."""
        with self._lock:
            self._kept[answer.id] = answer
            self._kept.move_to_end(answer.id)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def get(self, id_: str) -> Answer:
        """An answer that was kept.

        Raises:
            Refused: It is not, or not any more.
        """
        with self._lock:
            answer = self._kept.get(id_)
            if answer is None:
                raise Refused(404, "forgotten", "this answer is not kept any more", "search again")
            self._kept.move_to_end(id_)
            return answer


def id_of(asked: Mapping[str, Any], result: SearchResult) -> str:
    """The name of an answer: the same request with the same hits has the same.

    Where the case has changed it is another: pages of two answers must not be read as one, or a hit could be missed.
    """
    hits = [
        [hit.image.sha256, hit.place.source, hit.place.path, hit.distance] for hit in result.hits
    ]
    text = json.dumps([asked, hits], sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
