"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from types import FrameType, TracebackType
from typing import Any

_MESSAGE = "finishing the batch; press Ctrl-C again to stop now"


class Stop:
    """A context in which signals set a flag; called, it says whether one came.

    Attributes:
        heeded: whether it was asked and said so; a signal that came when all was done stopped nothing.

    Example:
        ```
        with Stop() as stop:
            report = case.index(folder, stop=stop)
        ```
    """

    def __init__(self, *, as_json: bool = False) -> None:
        # As JSON the message is an event among the others; else it begins below the progress bar.
        text = json.dumps({"event": "notice", "text": _MESSAGE}) if as_json else f"\n{_MESSAGE}"
        self._message = f"{text}\n".encode("ascii")
        self._received: int | None = None
        self.heeded = False
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Return whether the work should end after its current batch."""
        self.heeded = self._received is not None
        return self.heeded

    @property
    def exit_code(self) -> int:
        """The exit code of a run that was stopped: 128 and the signal's number, as shells have it."""
        return 128 + (self._received or signal.SIGINT)

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Only the main thread may set handlers; elsewhere the flag stays down.
            with contextlib.suppress(ValueError):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            raise KeyboardInterrupt
        self._received = number
        # Not print: the signal may come while the progress bar is inside a write to the same buffer.
        with contextlib.suppress(OSError):
            os.write(2, self._message)
