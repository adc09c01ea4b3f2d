"""Waiting for a turn."""

from __future__ import annotations

import threading

import pytest

from image_similarity.web.problems import Refused
from image_similarity.web.turns import MOST_WAITING, Turn


def test_some_wait_for_their_turn_and_whoever_comes_beyond_them_is_told_to_come_back() -> None:
    turn, done = Turn(), []

    def work(number: int) -> None:
        with turn:
            done.append(number)

    threads = [threading.Thread(target=work, args=(each,)) for each in range(MOST_WAITING)]
    with turn:
        for thread in threads:
            thread.start()
        refused = None
        while refused is None:
            # Until the last of them waits there is room, and to wait here would be for ever.
            if turn._inside > MOST_WAITING:
                with pytest.raises(Refused) as refused, turn:
                    pass
        assert refused.value.status == 503
        assert done == []
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(MOST_WAITING))
    with turn:
        pass
