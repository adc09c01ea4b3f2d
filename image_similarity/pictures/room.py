"""Room for pixels: pictures that are decoded at one time are together no larger than the largest that is allowed.

Each thread of a run decodes, and a picture takes four bytes a pixel and more. Eight threads with a picture of 250
megapixels each would take eight times the memory that the limit of one picture promises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# The default limit of one picture, `--max-megapixels`.
MAX_PIXELS = 250_000_000

Take = Callable[[int], None]


class Room:
    """So many pixels at one time, for all threads; one who comes later does not overtake."""

    def __init__(self, pixels: int) -> None:
        self._size = pixels
        self._taken = 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def lease(self) -> Iterator[Take]:
        """Within it the function given takes room for so many pixels, and waits for it; all is given back at the end.

        A picture that is larger than the whole room gets all of it. Who holds some and takes more does not wait: two
        who wait for what the other holds would wait for ever.
        """
        held = 0

        def take(pixels: int) -> None:
            nonlocal held
            if held:
                with self._changed:
                    self._taken += pixels
            else:
                with self._turn, self._changed:
                    self._changed.wait_for(lambda: not self._taken or self._fits(pixels))
                    self._taken += pixels
            held += pixels

        try:
            yield take
        finally:
            with self._changed:
                self._taken -= held
                self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        return self._taken + pixels <= self._size


ROOM = Room(MAX_PIXELS)
