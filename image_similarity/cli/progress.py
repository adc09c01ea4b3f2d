"""Where a run is, on stderr: a bar, lines, JSON events, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from image_similarity.cli.options import Talk
from image_similarity.events import Event, Failed, Finished, Listener, Notice, Progress, Started
from image_similarity.reports.rows import json_text, plain
from image_similarity.reports.text import visible
from image_similarity.values import Failure

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def listener(talk: Talk) -> Iterator[Listener]:
    """Give the listener that the options ask for; leaving the context removes the bar."""
    face: Any = {"bar": Bar, "lines": Lines, "json": Events, "off": Plain}[mode_of(talk)](talk)
    try:
        yield face
    finally:
        face.close()


def mode_of(talk: Talk) -> str:
    """Return how progress is shown: `bar`, `lines`, `json` or `off`."""
    return "off" if talk.quiet else talk.progress or ("bar" if sys.stderr.isatty() else "off")


def failure_line(failure: Failure) -> str:
    """Return a failure as one line."""
    place = f"{failure.source}:{failure.path}" if failure.source else failure.path
    return visible(f"{failure.stage:6}  {place}  {failure.error}: {failure.message}")


class Plain:
    """Says notices, and with -v failures; nothing of progress."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Notice(text) if not self._talk.quiet:
                self.write(f"Note: {visible(text)}")
            case Failed(failure) if self._talk.verbose:
                self.write(f"not taken: {failure_line(failure)}")
            case Started():
                self.start(event)
            case Progress():
                self.move(event)
            case Finished():
                self.close()

    def start(self, event: Started) -> None:
        """A run began."""

    def move(self, event: Progress) -> None:
        """A batch is stored."""

    def close(self) -> None:
        """The run is over; may come twice."""

    def write(self, text: str) -> None:
        """Write one line."""
        click.echo(text, err=True)


class Bar(Plain):
    """A bar with rate and time left."""

    _bar: Any = None
    _unit = "files"

    def start(self, event: Started) -> None:
        """Draw an empty bar."""
        from tqdm import tqdm

        self.close()
        self._unit = event.unit
        self._bar = tqdm(
            total=event.total,
            desc=visible(event.source),
            unit=f" {event.unit}",
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0.1,
        )

    def move(self, event: Progress) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.set_postfix(_counts(event, self._unit), refresh=False)
            self._bar.update(event.done - self._bar.n)

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
    """A line every few seconds, for logs."""

    def start(self, event: Started) -> None:
        """Say what is begun."""
        self._source, self._begun = visible(event.source), time.monotonic()
        self._said, self._unit = self._begun, event.unit
        self.write(f"{self._source}: {event.total} {event.unit}")

    def move(self, event: Progress) -> None:
        """Say where the run is, unless that was said a moment ago."""
        now = time.monotonic()
        if now - self._said < SECONDS_BETWEEN_LINES:
            return
        self._said = now
        rate = event.done / max(now - self._begun, 1e-6)
        left = (event.total - event.done) / rate if rate else 0.0
        counts = "".join(f"{n} {count}, " for n, count in _counts(event, self._unit).items())
        self.write(
            f"{self._source}: {event.done} of {event.total} {self._unit}, {counts}"
            f"{rate:.1f} a second, {left / 60:.1f} min left"
        )


class Events(Plain):
    """Every event as one JSON object a line, for other programs."""

    def __call__(self, event: Event) -> None:
        """Write the event, its kind first."""
        self.write(json_text({"event": type(event).__name__.lower(), **plain(event)}))


def _counts(event: Progress, unit: str) -> dict[str, int]:
    counts = {"embedded": event.embedded} if unit == "files" else {}
    return counts | {"failed": event.failed} if event.failed else counts
