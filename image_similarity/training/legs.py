"""A training in legs: each goes on where the last one stopped, within a time that is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from image_similarity.training.checkpoint import save_checkpoint
from image_similarity.training.loop import StepReport, Trainer
from image_similarity.whole_file import writing

# What an abrupt end may cost.
SECONDS_BETWEEN_CHECKPOINTS = 120.0


def run_leg(
    trainer: Trainer,
    checkpoint: Path,
    *,
    until: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[StepReport], None] = lambda report: None,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Train until `stop` says so, step `until` or the plan's end; return the hours of all legs so far.

    A checkpoint is written every two minutes and at the end of the leg, beside it the seconds spent.
    What is learned does not depend on where a leg ends: the schedule goes by steps, not by time.
    """
    earlier, began = seconds_spent(checkpoint), clock()
    saved = began

    def save() -> None:
        save_checkpoint(checkpoint, trainer)
        with writing(_clock_file(checkpoint)) as file:
            file.write(str(earlier + clock() - began).encode())

    def after_step(report: StepReport) -> None:
        nonlocal saved
        on_step(report)
        if clock() - saved >= SECONDS_BETWEEN_CHECKPOINTS:
            save()
            saved = clock()

    trainer.run(until=until, stop=stop, on_step=after_step)
    save()
    return (earlier + clock() - began) / 3600


def seconds_spent(checkpoint: Path) -> float:
    """Return the seconds that the legs up to a checkpoint took; 0 without a checkpoint."""
    file = _clock_file(checkpoint)
    return float(file.read_text()) if checkpoint.exists() and file.exists() else 0.0


def _clock_file(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".seconds")
