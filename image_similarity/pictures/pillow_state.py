"""What Pillow keeps for the whole process, kept here per thread: the pixel limit and the tolerance of damaged files.

Pillow reads `Image.MAX_IMAGE_PIXELS` and `ImageFile.LOAD_TRUNCATED_IMAGES` while it works. Setting them around a call
would change what another thread decodes at that moment: a damaged picture would pass as whole. So both are replaced,
once, by objects that answer for the thread that asks. Outside of `decoding` they answer as Pillow does by default,
only without its warning.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import Image, ImageFile, _imaging

# Pillow's own threshold for refusing a picture.
_PILLOW_LIMIT = 2 * (1024**3 // 4 // 3)


class _PixelLimit(threading.local):
    """Stands for MAX_IMAGE_PIXELS, which Pillow uses as `pixels > 2 * limit` and `pixels > limit`."""

    pixels = _PILLOW_LIMIT

    def __rmul__(self, factor: int) -> _PixelLimit:
        return self

    def __lt__(self, pixels: int) -> bool:
        return pixels > self.pixels

    def __str__(self) -> str:
        return str(self.pixels)


class _Tolerance(threading.local):
    """Stands for LOAD_TRUNCATED_IMAGES, which Pillow only asks for its truth."""

    on = False

    def __bool__(self) -> bool:
        return self.on


_limit = _PixelLimit()
_tolerance = _Tolerance()


@contextmanager
def decoding(*, max_pixels: int, tolerant: bool) -> Iterator[None]:
    """Within it, this thread's Pillow refuses more than `max_pixels` and, if `tolerant`, takes damaged files."""
    _install()
    before = _limit.pixels, _tolerance.on
    _limit.pixels, _tolerance.on = max_pixels, tolerant
    try:
        yield
    finally:
        _limit.pixels, _tolerance.on = before


def _install() -> None:
    """Put the objects in place; again for every picture, because another library may have set plain values."""
    Image.MAX_IMAGE_PIXELS = _limit  # type: ignore[assignment]
    ImageFile.LOAD_TRUNCATED_IMAGES = _tolerance  # type: ignore[assignment]


def _silence_libtiff() -> None:
    """Make libtiff keep its messages: it prints them to stderr, file by file and without a name.

    What matters of them comes back as an exception anyway. Pillow offers no switch. Its own binary leads to the
    libtiff that it uses; where that is linked in without a name (Windows), the messages stay.
    """
    with suppress(OSError, AttributeError):
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


# A logger without any handler prints errors to stderr; with this one they go where an application sends them.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# Pillow warns of odd metadata on stderr, file by file and without its name. `catch_warnings` is of no use in threads.
warnings.filterwarnings("ignore", module=r"(PIL|pi_heif)\b")
_install()
_silence_libtiff()
