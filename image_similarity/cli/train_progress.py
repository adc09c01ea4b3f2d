"""Where a training is, on stderr: a bar with loss, rate and time left, lines, JSON events, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from image_similarity.cli.options import Talk
from image_similarity.cli.progress import SECONDS_BETWEEN_LINES, failure_line, mode_of
from image_similarity.events import Failed, Notice
from image_similarity.reports.rows import json_text, plain
from image_similarity.reports.text import visible
from image_similarity.training.recipe import Advance, Epoch, Event, Listener

FAILURES_SHOWN = 20


@contextmanager
def listener(talk: Talk) -> Iterator[Listener]:
    """Give the listener that the options ask for; leaving the context removes the bar."""
    face = {"bar": Bar, "lines": Lines, "json": Events, "off": Plain}[mode_of(talk)](talk)
    try:
        yield face
    finally:
        face.close()


class Plain:
    """Says notices and which files could not be taken; nothing of progress."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._failures = 0

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Notice(text) if not self._talk.quiet:
                self.write(f"Note: {visible(text)}")
            case Failed(failure):
                self._failures += 1
                if self._talk.verbose or self._failures <= FAILURES_SHOWN:
                    self.write(f"not taken: {failure_line(failure)}")
                elif self._failures == FAILURES_SHOWN + 1:
                    self.write("not taken: more; -v lists them all")
            case Advance():
                self.move(event)
            case Epoch():
                self.validated(event)

    def move(self, event: Advance) -> None:
        """Some pictures more are through."""

    def validated(self, epoch: Epoch) -> None:
        """An epoch has its figures."""

    def close(self) -> None:
        """The training is over; may come twice."""

    def write(self, text: str) -> None:
        """Write one line."""
        click.echo(text, err=True)


class Bar(Plain):
    """A bar for each stage, with rate and time left, and while it learns the loss."""

    _bar: Any = None
    _stage = ""

    def move(self, event: Advance) -> None:
        """Move the bar, or begin the next one."""
        from tqdm import tqdm

        if event.stage != self._stage:
            self.close()
            # A resumed training begins in the middle, which must not look like speed.
            self._bar = tqdm(
                total=event.total,
                initial=event.done if event.stage == "training" else 0,
                desc=event.stage,
                unit=" pictures",
                file=sys.stderr,
                dynamic_ncols=True,
                smoothing=0.1,
            )
            self._stage = event.stage
        if event.loss is not None:
            self._bar.set_postfix(loss=f"{event.loss:.4f}", refresh=False)
        self._bar.update(event.done - self._bar.n)

    def validated(self, epoch: Epoch) -> None:
        """Write the figures above the bar."""
        self.write(_epoch_line(epoch))

    def close(self) -> None:
        """Leave the bar as it stands, and go to the next line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def write(self, text: str) -> None:
        """Write a line above the bar."""
        if self._bar is None:
            super().write(text)
        else:
            self._bar.write(text, file=sys.stderr)


class Lines(Plain):
    """A line every few seconds and after each epoch, for logs."""

    _stage = ""

    def move(self, event: Advance) -> None:
        """Say where the training is, unless that was said a moment ago."""
        now = time.monotonic()
        if event.stage != self._stage:
            self._stage, self._begun, self._said, self._first = event.stage, now, now, event.done
        if now - self._said < SECONDS_BETWEEN_LINES:
            return
        self._said = now
        rate = (event.done - self._first) / max(now - self._begun, 1e-6)
        left = (event.total - event.done) / rate if rate else 0.0
        loss = "" if event.loss is None else f"loss {event.loss:.4f}, "
        self.write(
            f"{event.stage}: {event.done} of {event.total} pictures, {loss}{rate:.1f} a second, "
            f"{left / 60:.1f} min left"
        )

    def validated(self, epoch: Epoch) -> None:
        """Say the figures."""
        self.write(_epoch_line(epoch))


class Events(Plain):
    """Every event as one JSON object a line, for other programs."""

    def __call__(self, event: Event) -> None:
        """Write the event, its kind first."""
        self.write(json_text({"event": type(event).__name__.lower(), **plain(event)}))


def _epoch_line(epoch: Epoch) -> str:
    figures = epoch.figures
    return (
        f"epoch {epoch.number}: loss {epoch.loss:.4f}, recall@1 {figures.recall_at_1:.4f}, "
        f"MAP@R {figures.map_at_r:.4f}"
    )
