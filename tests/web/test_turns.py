"""Waiting for a turn, also for that of an explanation."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from image_similarity.web import explaining as explaining_module
from image_similarity.web.explaining import Explaining
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


def test_few_wait_for_an_explanation_and_each_gives_its_place_back() -> None:
    explaining = Explaining(None, Turn())  # type: ignore[arg-type]
    asked = [threading.Event() for _ in range(explaining_module._MOST_WAITING)]
    gone = threading.Event()

    def wait(asks: threading.Event) -> None:
        def given_up() -> bool:
            asks.set()
            return gone.is_set()

        with pytest.raises(Refused):
            explain(given_up)

    def explain(given_up: Callable[[], bool]) -> None:
        explaining.explain("0" * 64, "1" * 64, method="auto", model=None, given_up=given_up)

    threads = [threading.Thread(target=wait, args=(each,)) for each in asked]
    with explaining._turn:
        for thread in threads:
            thread.start()
        assert all(each.wait(60) for each in asked)
        with pytest.raises(Refused) as refused:
            explain(lambda: False)
        assert refused.value.status == 503
        gone.set()
        for thread in threads:
            thread.join(60)
        with pytest.raises(Refused) as refused:
            explain(lambda: True)
        assert refused.value.code == "given_up", "there is a place again"
