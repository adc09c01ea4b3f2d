"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal

import pytest

from image_similarity.cli.signals import Stop


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
