"""Whether the process that began a run still lives."""

from __future__ import annotations

import os
import subprocess
import sys

from image_similarity.store import processes


def test_this_process_is_alive() -> None:
    assert processes.is_alive(os.getpid(), processes.started(os.getpid()))


def test_a_process_that_ended_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not processes.is_alive(child.pid, None)


def test_a_number_that_was_given_to_another_process_is_not_taken_for_the_first() -> None:
    """In a container every run may have the same small number."""
    if processes.started(os.getpid()) is None:
        return
    assert not processes.is_alive(os.getpid(), "another boot:12345")
