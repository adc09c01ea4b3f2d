"""HEIF is decoded in processes of their own: a damaged file can end such a process, never the run.

Fuzzing found files of a few changed bytes on which pi_heif 1.4 with libheif 1.23 and libde265 1.1 crashes or writes
beyond its memory. No `except` holds that. The processes are kept and used again; one that ended is replaced.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from image_similarity.pictures.picture_error import PictureError

# -P: the folder of the script must not be searched for modules; names there would hide others.
COMMAND = [sys.executable, "-P", str(Path(__file__).with_name("heif_worker.py"))]
# A picture of the greatest size allowed takes some ten seconds; a decoder that takes longer hangs.
SECONDS = 120.0

_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)

_idle: list[_Worker] = []
_lock = threading.Lock()


def is_heif(data: bytes) -> bool:
    """Whether the bytes are HEIF and not AVIF, which shares the container and is decoded by Pillow."""
    if data[4:8] != b"ftyp" or data[8:12] not in _BRANDS:
        return False
    brands = data[16 : min(int.from_bytes(data[:4], "big"), 256)]
    return b"avif" not in brands or b"heic" in brands


def open_heif(data: bytes, *, max_pixels: int) -> tuple[Image.Image, str]:
    """Return the primary picture, upright, with EXIF and ICC profile in `info`, and its MIME type.

    Raises:
        PictureError: stage "decode", also if the decoder crashed or hung.
    """
    facts, parts = _ask(data, max_pixels)
    if "error" in facts:
        raise PictureError("decode", facts["error"], facts["message"])
    exif, profile, pixels = parts
    size = (facts["width"], facts["height"])
    image = Image.frombytes(facts["mode"], size, pixels, "raw", facts["mode"], facts["stride"])
    image.info = {"exif": exif} if exif else {}
    if profile:
        image.info["icc_profile"] = profile
    return image, str(facts["mime"])


def _ask(data: bytes, max_pixels: int) -> tuple[dict[str, Any], list[bytes]]:
    """One request, tried again in a fresh process: a crash may be the late effect of the file before."""
    with _lock:
        worker = _idle.pop() if _idle else None
    for _ in range(2):
        try:
            worker = worker or _Worker()
        except OSError as error:
            message = f"the HEIF decoder did not start: {error.strerror}"
            raise PictureError("decode", type(error).__name__, message) from error
        reply = worker.ask(data, max_pixels)
        if reply is not None:
            with _lock:
                _idle.append(worker)
            return reply
        worker.close()
        worker = None
    raise PictureError("decode", "DecoderCrashed", "the HEIF decoder crashed or hung on this file")


class _Worker:
    """One process that decodes HEIF."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._parent = os.getpid()

    def ask(self, data: bytes, max_pixels: int) -> tuple[dict[str, Any], list[bytes]] | None:
        """The reply, or None if the process ended or had to be ended."""
        source, target = self._process.stdout, self._process.stdin
        if source is None or target is None:
            return None
        clock = threading.Timer(SECONDS, self._process.kill)
        clock.daemon = True
        clock.start()
        try:
            target.write(struct.pack("<QQ", len(data), max_pixels))
            target.write(data)
            target.flush()
            (size,) = struct.unpack("<I", source.read(4))
            facts = json.loads(source.read(size))
            parts = [source.read(size) for size in facts["parts"]]
            whole = [len(part) for part in parts] == facts["parts"]
        except (OSError, ValueError, struct.error):
            return None
        finally:
            clock.cancel()
        return (facts, parts) if whole else None

    def close(self) -> None:
        """End the process, whatever it is doing."""
        # After a fork the process belongs to the parent.
        if os.getpid() != self._parent:
            return
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()


@atexit.register
def close() -> None:
    """End the processes that wait for work."""
    with _lock:
        workers = _idle[:]
        _idle.clear()
    for worker in workers:
        worker.close()
