"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from image_similarity.cli.signals import Stop
from tests.analysis.forty import make
from tests.cli.conftest import Run


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_asks_and_the_second_ends(
    number: signal.Signals, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with Stop() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        assert stop.exit_code == code
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert "finishing the batch; press Ctrl-C again to stop now" in capfd.readouterr().err


def test_afterwards_signals_mean_what_they_meant_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stop():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_asked_only_when_all_is_done_was_not_heeded() -> None:
    with Stop() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert not stop.heeded
        assert stop()
        assert stop.heeded


def test_a_command_that_is_stopped_before_its_first_run_says_so_by_its_exit_code(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, _, model = make(tmp_path, 12)
    analyse = ("analyse", "reduce", "pca", "-dp", database, "--dim", 3, "--no-store")
    assert run(*analyse, "-o", tmp_path / "small.safetensors").code == 0
    words = tmp_path / "words.safetensors"
    book = ("-dp", database, "-m", model, "-o", words, "--words", 4, "--dims", 2)
    assert run("analyse", "codebook", "build", *book).code == 0
    enter = Stop.__enter__

    def interrupted(stop: Stop) -> Stop:
        entered = enter(stop)
        signal.raise_signal(signal.SIGINT)
        return entered

    monkeypatch.setattr(Stop, "__enter__", interrupted)
    for command in (
        ("refresh",),
        ("analyse", "derive", tmp_path / "small.safetensors"),
        ("analyse", "codebook", "encode", words),
    ):
        outcome = run(*command, "-dp", database)
        assert (outcome.code, outcome.out) == (130, "")
